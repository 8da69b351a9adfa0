//! Repetition of tests that set a deadline. One step of such a test must reach the deadline, and the others must not; on a busy
//! machine the others need more time, so a test that fails is repeated with a longer deadline.

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
