//! The admin server: `/healthz`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::{CONTENT_TYPE, Metrics};

/// The answer of `/readyz`. Clones share it.
///
/// A replica that waits for the lease is ready as well. Otherwise the rollout of a new version would never end:
/// the old leader stays until the new replica is ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<Answer>>);

#[derive(Debug, Default)]
struct Answer {
    /// Whether the process has started, and does not stop yet.
    runs: bool,
    /// A line for each thing that the operator needs in the cluster and does not have.
    missing: Vec<String>,
    /// A line about the other release that holds the Lease.
    foreign: Option<String>,
}

impl Readiness {
    /// Sets whether the process has started, and does not stop yet.
    pub(crate) fn set(&self, runs: bool) {
        self.locked().runs = runs;
    }

    /// Sets what is missing in the cluster.
    pub(crate) fn set_missing(&self, missing: Vec<String>) {
        self.locked().missing = missing;
    }

    /// Sets the line about another release that holds the Lease.
    pub(crate) fn set_foreign(&self, line: Option<String>) {
        self.locked().foreign = line;
    }

    /// Returns whether this line is among the missing things.
    pub(crate) fn misses(&self, line: &str) -> bool {
        self.locked().missing.iter().any(|missing| missing == line)
    }

    /// Returns why the process is not ready; none where it is.
    fn refusal(&self) -> Option<String> {
        let answer = self.locked();
        if !answer.runs {
            return Some("the operator is starting or stopping\n".to_owned());
        }
        let lines: Vec<_> = answer.missing.iter().chain(&answer.foreign).cloned().collect();
        (!lines.is_empty()).then(|| lines.join("\n") + "\n")
    }

    fn locked(&self) -> MutexGuard<'_, Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The admin server. It listens, and does not answer yet.
#[derive(Debug)]
pub(crate) struct Admin {
    listener: TcpListener,
    state: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    ready: Readiness,
    metrics: Arc<Metrics>,
}

impl Admin {
    /// Listens on an address. Port 0 selects a free port; the log shows it.
    pub(crate) async fn bind(
        address: SocketAddr,
        ready: Readiness,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        tracing::info!(%address, "admin server is listening");
        Ok(Self { listener, state: Shared { ready, metrics } })
    }

    /// Returns the address on which the server listens.
    #[cfg(test)]
    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Answers requests until `shutdown`. Requests that came before are still answered.
    pub(crate) async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let app = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self.state);
        axum::serve(self.listener, app).with_graceful_shutdown(shutdown).await
    }
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, String) {
    match shared.ready.refusal() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(refusal) => (StatusCode::SERVICE_UNAVAILABLE, refusal),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    match shared.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: torpor\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_admin_server_answers_and_stops() {
        let ready = Readiness::default();
        let metrics = Arc::new(Metrics::new());
        let admin = Admin::bind(([127, 0, 0, 1], 0).into(), ready.clone(), metrics).await.unwrap();
        let address = admin.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(admin.serve(async { stopped.await.unwrap_or_default() }));
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        ready.set(true);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        ready.set_missing(vec!["the operator may not list pods".to_owned()]);
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("the operator may not list pods\n"), "{answer}");
        ready.set_foreign(Some("another release holds the Lease".to_owned()));
        let answer = get(address, "/readyz").await;
        assert!(answer.ends_with("pods\nanother release holds the Lease\n"), "{answer}");
        ready.set_missing(Vec::new());
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        ready.set_foreign(None);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
