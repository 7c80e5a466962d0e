//! Cleans up in the cluster when a value is dropped.

use std::fmt::Debug;

use tokio::runtime::{Handle, Runtime, RuntimeFlavor};

/// Waits for `work` on a thread with its own runtime: a drop cannot block on the runtime of the
/// test. Other tasks of the test, such as a proxy, keep running.
pub(crate) fn afterwards<E: Debug + Send + 'static>(
    what: &str,
    work: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    let thread = std::thread::spawn(move || Runtime::new().expect("a runtime").block_on(work));
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    let done = if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(|| thread.join())
    } else {
        thread.join()
    };
    if !matches!(done, Ok(Ok(()))) {
        eprintln!("{what} could not be deleted: {done:?}");
    }
}
