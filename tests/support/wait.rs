//! Waiting for answers that nothing announces.

use std::time::Duration;

/// How long anything may take before it is missing. It is for what hangs: a machine that stands still
/// for a minute, or a Job that is tried again after its time, is none of the test's business.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(10);

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until there is an answer, and returns it. Panics after [`TIMEOUT`], and says what was missing.
pub(crate) async fn poll<T, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    try_poll(ask).await.unwrap_or_else(|| panic!("waited {TIMEOUT:?} in vain: {what}"))
}

/// Asks until there is an answer, and returns it, or `None` after [`TIMEOUT`].
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
