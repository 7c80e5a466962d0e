//! A namespace with an operator's service account that has the rights of the chart.

use std::{cell::RefCell, sync::Arc, time::Duration};

use axum::{body::Bytes, http::Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client as Http, rt::TokioExecutor};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Service, ServiceAccount},
};
use kube::{
    Api, Client, CustomResourceExt,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Value, json};
use torpor::api::{MaintenanceWindow, deals::DealsSource, deals::SourceStatus};
use torpor::apiserver::client;
use torpor::deals::Account;
use torpor::deals::hosted::{self, Error, Hosted, Hosting, PublishedKeys};
use torpor::deals::payloads::Payloads;
use torpor::hold::record::Holder;
use torpor::lease::{Epoch, LeaseName};

use crate::support::{
    cluster,
    namespace::Namespace,
    operator::{ACCOUNT, IMAGE},
    rights, wait, workload,
};

/// The name of the `MaintenanceWindow` that owns most bridges here.
pub(crate) const WINDOW: &str = "MaintenanceWindow/worker";

/// An operator's account, and what it works on.
pub(crate) struct Scene {
    pub(crate) namespace: Namespace,
    pub(crate) holder: Holder,
    /// With the account's rights.
    pub(crate) client: Client,
    /// The same of a replica that does not lead.
    pub(crate) idle: Client,
    account: Account,
    pub(crate) lease: LeaseName,
    keys: PublishedKeys,
}

impl Scene {
    pub(crate) async fn create(test: &str) -> Self {
        let namespace = Namespace::create(test).await;
        let account = Account { namespace: namespace.name.clone(), name: ACCOUNT.to_owned() };
        let config = cluster::config_as(&rights::grant(&namespace).await).await;
        let client = Client::try_from(config.clone()).expect("a client can be made");
        let holder = Holder {
            kind: "MaintenanceWindow".to_owned(),
            namespace: namespace.name.clone(),
            name: "worker".to_owned(),
        };
        let idle = client::permitted(config, Arc::new(|| false)).expect("a client can be made");
        let lease = LeaseName { namespace: namespace.name.clone(), name: ACCOUNT.to_owned() };
        let keys = PublishedKeys::default();
        Self { namespace, holder, client, idle, account, lease, keys }
    }

    /// Returns the holder for another object in the namespace.
    pub(crate) fn named(&self, name: &str) -> Holder {
        Holder { name: name.to_owned(), ..self.holder.clone() }
    }

    pub(crate) fn hosting(&self, client: &Client, epoch: i32) -> Hosting<'_> {
        Hosting {
            client: client.clone(),
            image: IMAGE,
            account: &self.account,
            epoch: Epoch(epoch),
            lease: &self.lease,
            keys: &self.keys,
        }
    }

    pub(crate) fn payloads(&self) -> Payloads {
        Payloads { client: self.client.clone() }
    }

    pub(crate) fn windows(&self) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk_with_plural(
            &kube::core::GroupVersionKind::gvk("torpor.dev", "v1alpha1", "MaintenanceWindow"),
            &MaintenanceWindow::crd().spec.names.plural,
        );
        Api::namespaced_with(self.namespace.client.clone(), &self.namespace.name, &resource)
    }

    pub(crate) fn source(&self, source: &Value) -> SourceStatus {
        hosted::source(&self.holder, &read(source))
    }

    pub(crate) async fn ensure(
        &self,
        epoch: i32,
        source: &Value,
        refresh: bool,
    ) -> Result<Hosted, Error> {
        let hosting = self.hosting(&self.client, epoch);
        hosting.ensure(&self.holder, &read(source), refresh).await
    }

    pub(crate) async fn until_ready(&self, epoch: i32, source: &Value) {
        let hosting = self.hosting(&self.client, epoch);
        until(&hosting, &self.holder, &read(source), "the bridge is ready", |h| h.ready).await;
    }

    /// Ensures the bridge until it is as wanted.
    pub(crate) async fn until(
        &self,
        holder: &Holder,
        source: &Value,
        what: &str,
        wanted: impl Fn(&Hosted) -> bool,
    ) {
        let hosting = self.hosting(&self.client, 5);
        until(&hosting, holder, &read(source), what, wanted).await;
    }

    /// Requests a token of a service account for the audience of an object.
    pub(crate) async fn token(&self, account: &str, object: &str) -> String {
        let (kind, name) = object.split_once('/').expect("KIND/NAME");
        let audience = format!("deals.torpor.dev/{}/{kind}/{name}", self.namespace.name);
        let request: TokenRequest = workload::object(json!({
            "spec": {"audiences": [audience], "expirationSeconds": 600},
        }));
        let accounts: Api<ServiceAccount> = self.namespace.api();
        let made = accounts.create_token_request(account, &PostParams::default(), &request).await;
        made.expect("a token is made").status.expect("a status").token
    }

    pub(crate) async fn observe(&self, token: &str) -> (u16, Value) {
        self.ask("GET", "/v1/commitments", token, 0, String::new()).await
    }

    pub(crate) async fn announce(&self, token: &str, epoch: i32) -> (u16, Value) {
        let body = json!({"at": "2036-12-01T02:00:00Z"}).to_string();
        self.ask("PUT", "/v1/maintenance", token, epoch, body).await
    }

    /// Sends a request to the bridge's Service, until it connects: kube-proxy learns of a ready pod
    /// after a moment, and nothing announces that.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        epoch: i32,
        body: String,
    ) -> (u16, Value) {
        let service = self.namespace.api::<Service>().get("torpor-mw-worker").await;
        let spec = service.expect("there is a Service").spec.expect("a spec");
        let (address, port) =
            (spec.cluster_ip.expect("an address"), spec.ports.expect("ports")[0].port);
        let http: Http<_, Full<Bytes>> = Http::builder(TokioExecutor::new()).build_http();
        let asked = async {
            let mut tries = tokio::time::interval(Duration::from_millis(100));
            loop {
                tries.tick().await;
                let request = Request::builder()
                    .method(method)
                    .uri(format!("http://{address}:{port}{path}"))
                    .header("authorization", format!("Bearer {token}"))
                    .header("torpor-epoch", epoch)
                    .header("content-type", "application/json")
                    .body(Full::from(body.clone()))
                    .expect("a request");
                match http.request(request).await {
                    Ok(answer) => return answer,
                    Err(error) if error.is_connect() => {}
                    Err(error) => panic!("{method} {path}: {error}"),
                }
            }
        };
        let answer = tokio::time::timeout(wait::TIMEOUT, asked).await.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

/// Parses a source as its author writes it.
pub(crate) fn read(source: &Value) -> DealsSource {
    workload::object(source.clone())
}

async fn until(
    hosting: &Hosting<'_>,
    holder: &Holder,
    source: &DealsSource,
    what: &str,
    wanted: impl Fn(&Hosted) -> bool,
) {
    let last = RefCell::new(None);
    let ensured = wait::try_poll(async || {
        let hosted = hosting.ensure(holder, source, false).await.expect("it is ensured");
        let reached = wanted(&hosted);
        *last.borrow_mut() = Some(hosted);
        reached.then_some(())
    });
    let reached = ensured.await.is_some();
    assert!(reached, "waited {:?} in vain until {what}: {last:?}", wait::TIMEOUT);
}

/// Returns the kind of a problem, the last part of its type.
pub(crate) fn problem(answer: &Value) -> &str {
    answer["type"].as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default()
}
