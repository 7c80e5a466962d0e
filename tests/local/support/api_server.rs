//! A stand-in for the API server in the process of the test: its objects, the requests that it got,
//! and the tokens that it issues.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// Answers a token request, by its number (from 1) and its audience.
type Give = dyn Fn(usize, &str) -> Result<String, u16> + Send;

/// The API server.
pub(crate) struct Api {
    objects: Mutex<HashMap<String, Value>>,
    requests: Mutex<Vec<(String, Value)>>,
    give: Mutex<Box<Give>>,
}

impl Api {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::default(),
            requests: Mutex::default(),
            give: Mutex::new(Box::new(|number, _| Ok(format!("secret-{number}")))),
        })
    }

    /// Returns a client of this API server.
    pub(crate) fn client(self: &Arc<Self>) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (status, answer) = api.answer(&format!("{} {}", head.method, head.uri), body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
            }
        });
        Client::new(service, "default")
    }

    /// Stores an object.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.objects.lock().unwrap().insert(format!("GET {path}"), object);
    }

    /// Removes an object.
    pub(crate) fn remove(&self, path: &str) {
        self.objects.lock().unwrap().remove(&format!("GET {path}")).unwrap();
    }

    /// Sets the answers to token requests from now on.
    pub(crate) fn gives(&self, give: impl Fn(usize, &str) -> Result<String, u16> + Send + 'static) {
        *self.give.lock().unwrap() = Box::new(give);
    }

    /// Returns the requests so far, such as `GET /api/v1/...`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(what, _)| what.clone()).collect()
    }

    /// Returns the audiences of the token requests, in order.
    pub(crate) fn audiences(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let bodies = requests.iter().filter(|(what, _)| what.ends_with("/token"));
        bodies.map(|(_, body)| body["spec"]["audiences"][0].as_str().unwrap().to_owned()).collect()
    }

    fn answer(&self, what: &str, body: Value) -> (u16, Value) {
        self.requests.lock().unwrap().push((what.to_owned(), body.clone()));
        if !what.ends_with("/token") {
            let object = self.objects.lock().unwrap().get(what).cloned();
            return object.map_or_else(|| no(404), |object| (200, object));
        }
        assert_eq!(what, "POST /api/v1/namespaces/torpor-system/serviceaccounts/torpor/token");
        assert_eq!(body["spec"]["expirationSeconds"], 600);
        assert_eq!(body["spec"]["audiences"].as_array().unwrap().len(), 1);
        let audiences = self.audiences();
        match self.give.lock().unwrap()(audiences.len(), audiences.last().unwrap()) {
            Err(status) => no(status),
            Ok(token) => {
                let mut given = body;
                let end = "2026-12-01T02:00:00Z";
                given["status"] = json!({"token": token, "expirationTimestamp": end});
                (201, given)
            }
        }
    }
}

fn no(status: u16) -> (u16, Value) {
    let message = format!("the API server says {status}");
    let answer = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": if status == 404 { "NotFound" } else { "Other" }, "code": status,
    });
    (status, answer)
}
