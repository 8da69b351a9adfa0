//! For tests whose subject is a deadline that other things must not reach: how short it can be depends on the machine, so one
//! that is too busy is given more time before the test counts as failed.

use std::time::Duration;

/// Runs `test` with a short time and, where it fails, with longer ones.
pub async fn at_any_speed<Test>(test: impl Fn(Duration) -> Test)
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
