//! Repetition of tests whose deadline must be reached by one step only. How short it can be depends on the load of the machine,
//! so a test that fails is repeated with longer deadlines.

use std::time::Duration;

/// Runs `test` with a short deadline and, if it fails, with longer deadlines.
pub async fn retry_with_longer_deadlines<Test>(test: impl Fn(Duration) -> Test)
where
    Test: Future<Output = ()> + Send + 'static,
{
    for deadline in [Duration::from_millis(300), Duration::from_secs(3)] {
        if tokio::spawn(test(deadline)).await.is_ok() {
            return;
        }
    }
    test(Duration::from_secs(30)).await;
}
