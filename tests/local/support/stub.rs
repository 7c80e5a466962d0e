//! A server that sends scripted bytes and checks each request against the contract.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::contract::{document, validator};

/// The answer to one connection.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Reads the request, sends this, and closes the connection.
    Say(Bytes),
    /// Sends the first text, and then the second one until the client disconnects.
    Forever(Bytes, Bytes),
    /// Reads the request, sends this, and then hangs.
    Stall(Bytes),
    /// Reads the head only, sends this, and closes the connection.
    Early(Bytes),
    /// Sends this after the first byte and closes the connection.
    Unasked(Bytes),
}

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// Returns all values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Panics if the contract does not have this request.
    fn judge(&self) {
        let method = self.method.to_ascii_lowercase();
        let operation = &document()["paths"][&self.path][&method];
        assert!(operation.is_object(), "{self:?}");
        let [bearer] = self.header("authorization")[..] else { panic!("no token: {self:?}") };
        assert!(bearer.strip_prefix("Bearer ").is_some_and(|token| !token.is_empty()), "{self:?}");
        assert_eq!(self.header("host").len(), 1, "{self:?}");
        let epoch = self.header("torpor-epoch");
        if operation["parameters"].is_null() {
            assert!(epoch.is_empty(), "{self:?}");
        } else {
            let parameter = &operation["parameters"][0]["$ref"];
            assert_eq!(parameter, "#/components/parameters/Epoch");
            let schema = &document()["components"]["parameters"]["Epoch"]["schema"];
            let [epoch] = epoch[..] else { panic!("no epoch: {self:?}") };
            let epoch = serde_json::from_str(epoch).unwrap();
            assert!(jsonschema::is_valid(schema, &epoch), "{self:?}");
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        if let Some(schema) = schema.as_str() {
            assert_eq!(self.header("content-type"), ["application/json"], "{self:?}");
            assert!(self.body.len() <= 1024 * 1024);
            let validator = validator(schema.rsplit('/').next().unwrap());
            assert!(validator.is_valid(&self.json()), "{self:?}");
        } else {
            assert!(self.header("content-type").is_empty() && self.body.is_empty(), "{self:?}");
        }
    }
}

/// The server. Dropping it stops it and checks all requests against the contract.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    serving: JoinHandle<()>,
}

impl Stub {
    /// Starts a server that answers each connection with the next reply, and later ones with the
    /// last.
    pub(crate) async fn start(replies: &[Reply]) -> Self {
        Self::start_with(replies, None).await
    }

    pub(crate) async fn start_with(replies: &[Reply], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (mut replies, seen) = (replies.to_vec(), requests.clone());
        replies.reverse();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let reply = if replies.len() > 1 { replies.pop() } else { replies.last().cloned() };
                let (reply, seen, tls) = (reply.unwrap(), seen.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, reply, &seen).await,
                        // A client that refuses the certificate gets no answer.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, reply, &seen).await,
                            Err(_) => Some(()),
                        },
                    }
                });
            }
        });
        Self { address, requests, serving }
    }

    /// Returns the requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.serving.abort();
        if !std::thread::panicking() {
            self.requests().iter().for_each(Request::judge);
        }
    }
}

/// Serves one connection. Returns `None` if the client has disconnected.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    reply: Reply,
    seen: &Mutex<Vec<Request>>,
) -> Option<()> {
    match &reply {
        Reply::Unasked(_) => drop(stream.read_u8().await),
        Reply::Early(_) => drop(read(&mut stream, false).await?),
        _ => {
            let request = read(&mut stream, true).await?;
            seen.lock().unwrap().push(request);
        }
    }
    match reply {
        Reply::Say(text) | Reply::Early(text) | Reply::Unasked(text) => {
            stream.write_all(&text).await.ok()?;
            stream.shutdown().await.ok()
        }
        Reply::Stall(text) => {
            stream.write_all(&text).await.ok()?;
            stream.flush().await.ok()?;
            std::future::pending().await
        }
        Reply::Forever(first, then) => {
            stream.write_all(&first).await.ok()?;
            loop {
                stream.write_all(&then).await.ok()?;
            }
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, with_body: bool) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; if with_body { length } else { 0 }];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, path, headers, body })
}
