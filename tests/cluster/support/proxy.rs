//! A proxy between the operator and the API server or a bridge. It records every request, and can
//! drop, refuse or delay any of them, or stop the world before or after one.
//!
//! The operator sends plain HTTP over loopback. The proxy forwards requests with the client of the
//! test.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{self, Method, Response, StatusCode, header, request::Parts},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::{cluster, wait};

/// A recorded request and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    /// The body; null if it is no JSON.
    pub(crate) body: Value,
    pub(crate) arrived: Instant,
    /// The answer, once there is one. A watch is answered when it begins.
    pub(crate) answer: Option<Answer>,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) at: Instant,
    pub(crate) status: u16,
    /// The body of the answer to a write; null otherwise.
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.split('&').any(|parameter| parameter == "watch=true")
    }

    /// Whether the request changes something. A question about rights, which is a POST, does not.
    pub(crate) fn writes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
            && !self.path.starts_with("/apis/authorization.k8s.io/")
    }

    /// Whether the request is about the lease of the leader.
    pub(crate) fn is_of_lease(&self) -> bool {
        self.resource() == "leases"
    }

    /// Whether the request changes visible state. Leases, events and token requests do not.
    pub(crate) fn matters(&self) -> bool {
        self.writes()
            && !matches!(self.resource(), "leases" | "events")
            && self.subresource() != "token"
    }

    /// Whether the request is for a bridge.
    pub(crate) fn is_of_market(&self) -> bool {
        self.path.starts_with("/v1/")
    }

    /// Returns the resource, such as `deployments`.
    pub(crate) fn resource(&self) -> &str {
        self.segment(0)
    }

    /// Returns the name of the object, empty for a collection.
    pub(crate) fn name(&self) -> &str {
        self.segment(1)
    }

    /// Returns the subresource, such as `status`; empty for the object itself.
    pub(crate) fn subresource(&self) -> &str {
        self.segment(2)
    }

    /// Returns a segment of the path, counted from the resource.
    fn segment(&self, number: usize) -> &str {
        let within = self.path.split_once("/namespaces/").map_or("", |(_, rest)| rest);
        within.split('/').nth(number + 1).unwrap_or_default()
    }

    /// Whether the answer had this status.
    pub(crate) fn met(&self, status: u16) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.status == status)
    }

    /// Returns the title, such as `PATCH deployments/api` or `POST /v1/drain`. It is the same in
    /// every run: a Job, whose name is random, has none here.
    pub(crate) fn title(&self) -> String {
        if self.is_of_market() {
            return format!("{} {}", self.method, self.path);
        }
        let name = if self.resource() == "jobs" { "" } else { self.name() };
        let parts = [self.resource(), name, self.subresource()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{} {}", self.method, parts.join("/"))
    }
}

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// Forwards it.
    Pass,
    /// Forwards it later.
    Late(Duration),
    /// Holds it until [`Proxy::resume`] and forwards it then.
    Held,
    /// Answers it as an API server would, with this status, and `Retry-After` in seconds.
    Refused(StatusCode, Option<u64>),
    /// Answers it with a `Status` of this code and message.
    Answered(u16, &'static str),
    /// Neither forwards nor answers it.
    Silent,
    /// Closes the connection instead of forwarding it.
    Lost,
    /// Forwards it, and closes the connection instead of answering.
    Unanswered,
    /// Stops the world before forwarding it: see [`Proxy::until_stopped`].
    StopsBefore,
    /// Stops the world after the API server's answer, which the operator never gets.
    StopsAfter,
}

type Rule = Box<dyn FnMut(&Request) -> Fate + Send>;
type Change = Box<dyn FnMut(&Request, &mut Value) + Send>;

struct Shared {
    requests: Mutex<Vec<Request>>,
    rule: Mutex<Rule>,
    change: Mutex<Option<Change>>,
    stopped: watch::Sender<bool>,
    held: watch::Sender<bool>,
}

/// A running proxy. Dropping it stops it.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    servers: JoinSet<()>,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends here")]
struct Ended;

impl Proxy {
    /// Starts a proxy that forwards everything.
    pub(crate) async fn start() -> Self {
        Self::to(cluster::config().await).await
    }

    async fn to(mut config: Config) -> Self {
        // Errors of the API server are forwarded to the operator, without retries here.
        config.default_retry = false;
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            change: Mutex::default(),
            stopped: watch::Sender::new(false),
            held: watch::Sender::new(true),
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut proxy = Self { address, shared, servers: JoinSet::new() };
        proxy.address = proxy.before(config, address).await;
        proxy
    }

    /// Starts to forward for another server too. Both share the recorded requests and stop
    /// together.
    pub(crate) async fn before(&mut self, upstream: Config, listen: SocketAddr) -> SocketAddr {
        let upstream = Client::try_from(upstream).expect("a client can be made");
        let listener = TcpListener::bind(listen).await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        self.servers.spawn(serve(listener, upstream, self.shared.clone()));
        address
    }

    /// Writes a kubeconfig for this proxy.
    pub(crate) fn kubeconfig(&self, name: &str) -> PathBuf {
        let file =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.kubeconfig.json"));
        let content = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "proxy", "cluster": {"server": format!("http://{}", self.address)}},
            ],
            "users": [{"name": "operator", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
            "current-context": "proxy",
        });
        std::fs::write(&file, content.to_string()).expect("the kubeconfig is written");
        file
    }

    /// Sets the function that decides about each request.
    pub(crate) fn rule(&self, rule: impl FnMut(&Request) -> Fate + Send + 'static) {
        *lock(&self.shared.rule) = Box::new(rule);
    }

    /// Sets the function that changes the answers to reads.
    pub(crate) fn change_answers(&self, change: impl FnMut(&Request, &mut Value) + Send + 'static) {
        *lock(&self.shared.change) = Some(Box::new(change));
    }

    /// Stops the world at the request with this title and number, counted from 1.
    pub(crate) fn stop_at(&self, title: &str, number: usize, fate: Fate) {
        let (title, mut seen) = (title.to_owned(), 0);
        self.rule(move |request| {
            let meant = request.title() == title;
            seen += usize::from(meant);
            if meant && seen == number { fate } else { Fate::Pass }
        });
    }

    /// Waits until the world has stopped. The proxy then forwards and answers nothing, as if the
    /// operator had ended at that instant.
    pub(crate) async fn until_stopped(&self) {
        let mut stopped = self.shared.stopped.subscribe();
        stopped.wait_for(|stopped| *stopped).await.expect("the sender is held");
    }

    /// Waits until the world runs again.
    pub(crate) async fn until_going(&self) {
        let mut stopped = self.shared.stopped.subscribe();
        stopped.wait_for(|stopped| !*stopped).await.expect("the sender is held");
    }

    /// Whether the world is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.shared.stopped.borrow()
    }

    /// Forwards everything again. Waiting requests are lost.
    pub(crate) fn go_on(&self) {
        self.rule(|_| Fate::Pass);
        self.shared.stopped.send_replace(false);
    }

    /// Forwards the requests on hold, now and from now on.
    pub(crate) fn resume(&self) {
        self.shared.held.send_replace(false);
    }

    /// Returns the requests so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// Waits for a request for which `holds` is true, and returns it.
    pub(crate) async fn until_request(
        &self,
        what: &str,
        wanted: impl Fn(&Request) -> bool,
    ) -> Request {
        let seen = async {
            let mut checks = tokio::time::interval(Duration::from_millis(20));
            loop {
                checks.tick().await;
                if let Some(request) = self.requests().into_iter().find(&wanted) {
                    return request;
                }
            }
        };
        let seen = tokio::time::timeout(wait::TIMEOUT, seen).await;
        seen.unwrap_or_else(|_| panic!("waited in vain for {what}: {:#?}", self.requests()))
    }

    /// Forgets the requests so far.
    pub(crate) fn forget(&self) {
        lock(&self.shared.requests).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, upstream: Client, shared: Arc<Shared>) {
    // They end with the server.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("connections are accepted");
        let (upstream, shared) = (upstream.clone(), shared.clone());
        connections.spawn(async move {
            let service = service_fn(|request| handle(upstream.clone(), shared.clone(), request));
            // An error is one that was asked for, or the operator has ended.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn handle(
    upstream: Client,
    shared: Arc<Shared>,
    request: http::Request<Incoming>,
) -> Result<Response<Body>, Ended> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await.map_err(|_| Ended)?;
    let seen = Request {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        arrived: Instant::now(),
        answer: None,
    };
    shared.unless_stopped().await?;
    let fate = {
        let fate = lock(&shared.rule)(&seen);
        if fate == Fate::StopsBefore {
            shared.stopped.send_replace(true);
        }
        fate
    };
    let number = {
        let mut requests = lock(&shared.requests);
        requests.push(seen.clone());
        requests.len() - 1
    };
    shared.unless_stopped().await?;
    match fate {
        Fate::Lost => return Err(Ended),
        Fate::Refused(status, after) => {
            shared.answered(number, status, &[]);
            return Ok(refusal(status, after));
        }
        Fate::Answered(code, message) => {
            let status = StatusCode::from_u16(code).expect("a status code");
            shared.answered(number, status, &[]);
            return Ok(rejection(status, message));
        }
        Fate::Silent => std::future::pending().await,
        Fate::Late(long) => tokio::time::sleep(long).await,
        Fate::Held => {
            let mut held = shared.held.subscribe();
            drop(held.wait_for(|held| !*held).await);
        }
        _ => {}
    }
    if seen.is_watch() {
        let answer = forward(&upstream, parts, body).await?;
        shared.answered(number, answer.status(), &[]);
        return Ok(answer);
    }
    // A request in flight goes through even if its sender has gone.
    let (to, sent) = (shared.clone(), tokio::spawn(whole(upstream, parts, body)));
    let (mut head, mut body) = sent.await.map_err(|_| Ended)??;
    if !seen.writes()
        && let Some(change) = &mut *lock(&to.change)
        && let Ok(mut answer) = serde_json::from_slice(&body)
    {
        change(&seen, &mut answer);
        head.headers.remove(header::CONTENT_LENGTH);
        body = answer.to_string().into();
    }
    if fate == Fate::StopsAfter {
        to.stopped.send_replace(true);
    }
    let kept: &[u8] = if seen.writes() { &body } else { &[] };
    to.answered(number, head.status, kept);
    to.unless_stopped().await?;
    if fate == Fate::Unanswered {
        return Err(Ended);
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

/// Forwards a request and reads the whole answer.
async fn whole(
    upstream: Client,
    parts: Parts,
    body: Bytes,
) -> Result<(http::response::Parts, Bytes), Ended> {
    let (mut head, body) = forward(&upstream, parts, body).await?.into_parts();
    head.headers.remove(header::TRANSFER_ENCODING);
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Ended)?;
    Ok((head, body))
}

async fn forward(upstream: &Client, parts: Parts, body: Bytes) -> Result<Response<Body>, Ended> {
    let mut request = http::Request::builder()
        .method(parts.method)
        .uri(parts.uri.path_and_query().map_or_else(String::new, ToString::to_string));
    for (name, value) in &parts.headers {
        if !matches!(*name, header::HOST | header::CONNECTION | header::CONTENT_LENGTH) {
            request = request.header(name, value);
        }
    }
    let request = request.body(kube::client::Body::from(body.to_vec())).map_err(|_| Ended)?;
    upstream.send(request).await.map(|answer| answer.map(Body::new)).map_err(|_| Ended)
}

/// Returns an answer with a `Status`.
fn rejection(status: StatusCode, message: &str) -> Response<Body> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(),
        "reason": "", "message": message,
    });
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

/// Returns a plain text answer, such as that of a busy API server.
fn refusal(status: StatusCode, after: Option<u64>) -> Response<Body> {
    let mut answer = Response::new(Body::from(status.canonical_reason().unwrap_or_default()));
    *answer.status_mut() = status;
    if let Some(seconds) = after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

impl Shared {
    /// Waits while the world is stopped. Requests and answers of that time are dropped.
    async fn unless_stopped(&self) -> Result<(), Ended> {
        let mut stopped = self.stopped.subscribe();
        if !*stopped.borrow_and_update() {
            return Ok(());
        }
        drop(stopped.wait_for(|stopped| !*stopped).await);
        Err(Ended)
    }

    fn answered(&self, number: usize, status: StatusCode, body: &[u8]) {
        if let Some(request) = lock(&self.requests).get_mut(number) {
            let body = serde_json::from_slice(body).unwrap_or_default();
            request.answer = Some(Answer { at: Instant::now(), status: status.as_u16(), body });
        }
    }
}
