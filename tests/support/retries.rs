//! For tests of a deadline that the other steps of the test must not reach: how short it can be depends on the load of the
//! machine, so the test is repeated with longer deadlines before it fails.

use std::time::Duration;

/// Runs `test` with a short deadline and, if it fails, with longer ones.
pub async fn with_growing_deadline<Test>(test: impl Fn(Duration) -> Test)
where
    Test: Future<Output = ()> + Send + 'static,
{
    for time in [Duration::from_millis(300), Duration::from_secs(3)] {
        if tokio::spawn(test(time)).await.is_ok() {
            return;
        }
    }
    test(Duration::from_secs(30)).await;
}
