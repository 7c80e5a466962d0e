//! The signals that end a process. Process 1 of a container needs handlers of them: the kernel's default action does
//! not apply to it.

use tokio::signal::unix::{SignalKind, signal};

/// Installs handlers of SIGTERM and SIGINT. Returns a future that ends at the first signal. Fails where the system
/// does not permit a handler.
pub(crate) fn termination() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
