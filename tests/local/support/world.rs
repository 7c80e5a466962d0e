//! An object with deals, its server, and the client under test.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use serde_json::{Value, json};
use torpor::api::deals::SourceStatus;
use torpor::deals::client::{Account, Client, Error, Observation, Server};
use torpor::deals::problem::{ProblemType, TYPES};
use torpor::deals::types::Drain;
use torpor::hold::record::Holder;
use torpor::lease::Epoch;

use super::api_server::Api;
use super::stub::{Reply, Stub};

/// The path of the object's Service.
pub(crate) const SERVICE: &str = "/api/v1/namespaces/shop/services/market";

/// The object and the client that asks its market.
pub(crate) struct World {
    pub(crate) api: Arc<Api>,
    pub(crate) client: Client,
    pub(crate) holder: Holder,
    pub(crate) source: SourceStatus,
}

impl World {
    /// Creates a world whose Service leads to this address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let api = Api::new();
        api.put(SERVICE, service(address));
        let account = Account { namespace: "torpor-system".into(), name: "torpor".into() };
        let client = Client::new(api.client(), account);
        let source = SourceStatus {
            service: "market".to_owned(),
            port: address.port().into(),
            ca_config_map_ref: None,
            bridge: None,
        };
        Self { api, client, holder: holder("worker"), source }
    }

    /// Creates a world with a server that gives these answers.
    pub(crate) async fn answered(replies: &[Reply]) -> (Self, Stub) {
        let stub = Stub::start(replies).await;
        (Self::at(stub.address), stub)
    }

    pub(crate) fn server(&self) -> Server<'_> {
        Server { holder: &self.holder, source: &self.source }
    }

    pub(crate) async fn observe(&self) -> Result<Observation, Error> {
        self.client.observe(&self.server()).await
    }

    /// Sends some change: an announcement.
    pub(crate) async fn change(&self) -> Result<(), Error> {
        self.client.announce(&self.server(), Epoch(7), None).await
    }

    pub(crate) async fn drain(&self, drain: &Value) -> Result<(), Error> {
        let drain: Drain = serde_json::from_value(drain.clone()).unwrap();
        self.client.drain(&self.server(), Epoch(7), &drain).await
    }
}

/// Returns the holder for a MaintenanceWindow of this name.
pub(crate) fn holder(name: &str) -> Holder {
    let (kind, namespace) = ("MaintenanceWindow".to_owned(), "shop".to_owned());
    Holder { kind, namespace, name: name.to_owned() }
}

/// Returns a Service whose `ClusterIP` is this address.
pub(crate) fn service(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "market", "namespace": "shop"},
        "spec": {
            "type": "ClusterIP", "clusterIP": address.ip().to_string(),
            "ports": [{"name": "http", "port": address.port(), "protocol": "TCP"}],
        },
    })
}

/// Returns the commitments of a market.
pub(crate) fn commitments() -> Value {
    json!({
        "asOf": "2026-12-01T02:00:00Z", "complete": true,
        "deals": [{"id": "1", "term": "Fixed", "endsAt": "2026-12-01T10:00:00Z"}],
        "orders": [{"id": "a", "restore": "{}"}], "tasks": [{"id": "t"}],
    })
}

/// Returns an answer with a body.
pub(crate) fn says(status: u16, media_type: &str, body: &str) -> Bytes {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {media_type}\r\n");
    format!("{head}content-length: {length}\r\n\r\n{body}").into()
}

/// Returns an answer without a body.
pub(crate) fn bare(status: u16) -> Bytes {
    format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").into()
}

/// Returns an observation with this body.
pub(crate) fn tells(body: &Value) -> Bytes {
    says(200, "application/json", &body.to_string())
}

/// Returns a problem of the contract.
pub(crate) fn problem(kind: ProblemType, detail: &str) -> Bytes {
    let status = kind.status().as_u16();
    let body = json!({
        "type": format!("{TYPES}{}", kind.name()), "title": kind.title(), "status": status,
        "detail": detail,
    });
    says(status, "application/problem+json", &body.to_string())
}

/// Returns reason and text of the error. Checks that the text is short and printable.
pub(crate) fn failed<T: std::fmt::Debug>(result: Result<T, Error>) -> (String, String) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(text.chars().count() < 700, "{text}");
    assert!(!text.chars().any(char::is_control), "{text}");
    (error.reason().to_string(), text)
}
