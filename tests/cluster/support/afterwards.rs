//! What is cleared away when a value is dropped, by requests to the cluster.

use std::fmt::Debug;

use tokio::runtime::{Handle, Runtime, RuntimeFlavor};

/// Waits for `work`, in a runtime and on a thread of its own: the test's runtime cannot be waited on in
/// a drop. Its other tasks, a proxy perhaps, go on meanwhile.
pub(super) fn afterwards<E: Debug + Send + 'static>(
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
