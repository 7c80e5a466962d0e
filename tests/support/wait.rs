//! Polls for states that have no watch.

use std::time::Duration;

/// The time after which a wait fails. It only catches hangs: a machine that stalls for a minute, or
/// a Job that is retried after its deadline, must not fail a test.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(10);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Returns the first answer that is not `None`. Panics with `what` after [`TIMEOUT`].
pub(crate) async fn poll<T, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    try_poll(ask).await.unwrap_or_else(|| panic!("waited {TIMEOUT:?} in vain: {what}"))
}

/// Returns the first answer that is not `None`, or `None` after [`TIMEOUT`].
pub(crate) async fn try_poll<T, F>(mut ask: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(TIMEOUT, asked).await.ok()
}
