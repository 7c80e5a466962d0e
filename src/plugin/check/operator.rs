//! The operator in the cluster: its Deployments and Leases.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, ListParams};

use super::facts::Answer;
use super::kinds::{Entry, Source, entries, source};
use crate::api::labels::{APP, TORPOR};
use crate::apiserver::request::{self, call, pages};

/// The label with the version of the chart's application.
const VERSION: &str = "app.kubernetes.io/version";
/// The name of the Lease that the operator uses by default.
const LEASE: &str = "torpor";

/// A Deployment of the operator.
#[derive(Clone, Debug, Default)]
pub(in crate::plugin) struct Operator {
    /// The namespace.
    pub(in crate::plugin) namespace: String,
    /// The name.
    pub(in crate::plugin) name: String,
    /// The version, by its label.
    pub(in crate::plugin) version: Option<String>,
    /// The image.
    pub(in crate::plugin) image: String,
    /// The desired replicas.
    pub(in crate::plugin) desired: i32,
    /// The ready replicas.
    pub(in crate::plugin) ready: i32,
    /// The namespaces in which the operator works; empty for all.
    pub(in crate::plugin) watched: Vec<String>,
    /// The Lease; none where it does not exist or cannot be read.
    pub(in crate::plugin) lease: Option<Term>,
    /// Where the operator has its table of kinds, if it has one.
    pub(in crate::plugin) table: Option<Source>,
    /// The entries of the table, once they are read.
    pub(in crate::plugin) kinds: Option<Answer<Vec<Entry>>>,
}

impl Operator {
    /// Reads the table of kinds, and asks the cluster for its kinds.
    pub(super) async fn read_table(&mut self, client: &Client) {
        if let Some(source) = &self.table {
            self.kinds = Some(entries(client, &self.namespace, source).await);
        }
    }
}

/// The state of a Lease.
#[derive(Clone, Debug, Default)]
pub(in crate::plugin) struct Term {
    /// The leading replica; empty where nobody leads.
    pub(in crate::plugin) holder: String,
    /// The last renewal.
    pub(in crate::plugin) renewed: Option<Timestamp>,
    /// The duration of the claim in seconds.
    pub(in crate::plugin) seconds: i64,
}

/// Returns the operators of a namespace, or of all namespaces.
pub(in crate::plugin) async fn operators(
    client: &Client,
    namespace: Option<&str>,
) -> Result<Vec<Operator>, request::Error> {
    let api: Api<Deployment> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let params = ListParams::default().labels(&format!("{APP}={TORPOR}"));
    let mut all = pages("deployments of the operator", &api, params, read).await?;
    for (operator, lease) in &mut all {
        let api: Api<Lease> = Api::namespaced(client.clone(), &operator.namespace);
        // Another check tells a user without the right to read the Lease.
        let found = call(format!("Lease {lease}"), api.get_opt(lease)).await.ok().flatten();
        operator.lease = found.map(|lease| term(&lease));
    }
    Ok(all.into_iter().map(|(operator, _)| operator).collect())
}

/// Returns the operator of a Deployment, and the name of its Lease. A bridge runs another command.
fn read(deployment: Deployment) -> Option<(Operator, String)> {
    let table = source(&deployment);
    let spec = deployment.spec?;
    let container = spec.template.spec?.containers.into_iter().next()?;
    if container.args.iter().flatten().next().map(String::as_str) != Some("run") {
        return None;
    }
    let variable = |name: &str| {
        let mut all = container.env.iter().flatten();
        all.find(|variable| variable.name == name).and_then(|variable| variable.value.clone())
    };
    let watched = variable("TORPOR_WATCH_NAMESPACES").unwrap_or_default();
    let lease = variable("TORPOR_LEASE_NAME").unwrap_or_else(|| LEASE.to_owned());
    let labels = deployment.metadata.labels.unwrap_or_default();
    let operator = Operator {
        namespace: deployment.metadata.namespace.unwrap_or_default(),
        name: deployment.metadata.name.unwrap_or_default(),
        version: labels.get(VERSION).cloned(),
        image: container.image.unwrap_or_default(),
        desired: spec.replicas.unwrap_or(1),
        ready: deployment.status.and_then(|status| status.ready_replicas).unwrap_or_default(),
        watched: watched.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        lease: None,
        table,
        kinds: None,
    };
    Some((operator, lease))
}

fn term(lease: &Lease) -> Term {
    let Some(spec) = &lease.spec else { return Term::default() };
    Term {
        holder: spec.holder_identity.clone().unwrap_or_default(),
        renewed: spec.renew_time.as_ref().map(|time| time.0),
        seconds: spec.lease_duration_seconds.unwrap_or(15).into(),
    }
}
