//! The needs of the operator in the cluster: custom resource definitions of its version, and its rights. What is missing is
//! one line in the log and in `/readyz`. A replica that misses something is not ready, so that a rollout ends at it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::Client;
use tokio::time;

use super::admin::Readiness;
use super::rights::{LEASE, NEW_LEASE, Right, SCOPED, TOKEN};
use super::triggers::Scope;
use crate::apiserver::{access, definitions, request};
use crate::deals::Account;
use crate::hold::kinds::{self, Unusable};

/// Time until the cluster is asked again, while something is missing.
const AGAIN: Duration = Duration::from_secs(15);

/// Where the operator works, and as whom.
pub(crate) struct Preconditions {
    pub(crate) client: Client,
    pub(crate) scopes: Vec<Scope>,
    /// The namespace and name of the Lease.
    pub(crate) lease: (String, String),
    /// The operator's own service account, if it knows it.
    pub(crate) account: Option<Account>,
}

impl Preconditions {
    /// Asks the cluster until nothing is missing. The readiness has what is missing meanwhile. It does not wait for
    /// what the log says about kinds.
    pub(crate) async fn watch(self, readiness: Readiness) {
        futures::join!(tell_of_kinds(&self.client), self.watch_missing(readiness));
    }

    async fn watch_missing(&self, readiness: Readiness) {
        loop {
            let missing = match self.missing().await {
                Ok(missing) => missing,
                Err(error) => vec![format!("cannot ask the API server: {error}")],
            };
            for line in missing.iter().filter(|line| !readiness.misses(line)) {
                tracing::error!("{line}");
            }
            let done = missing.is_empty();
            readiness.set_missing(missing);
            if done {
                return;
            }
            time::sleep(AGAIN).await;
        }
    }

    /// Returns a line for each thing that is missing.
    async fn missing(&self) -> Result<Vec<String>, request::Error> {
        let missing = definitions::missing(&self.client).await?.into_iter();
        let mut missing: Vec<String> =
            missing.map(|definition| format!("{definition}; {}", definitions::REMEDY)).collect();
        missing.extend(self.rights().await?);
        Ok(missing)
    }

    /// Asks for each right, and names the missing ones by scope and resource.
    async fn rights(&self) -> Result<Vec<String>, request::Error> {
        let refused = access::refused(&self.client, "its rights", self.questions()).await?;
        Ok(in_words(&refused))
    }

    fn questions(&self) -> Vec<ResourceAttributes> {
        let mut all = Vec::new();
        for Scope(namespace) in &self.scopes {
            let namespace = namespace.as_deref();
            all.extend(SCOPED.iter().flat_map(|right| questions(right, namespace, None)));
            let of_table = kinds::table().iter().map(Right::to_hold);
            all.extend(
                of_table.flat_map(|right| questions(&right, namespace, None).collect::<Vec<_>>()),
            );
        }
        let (namespace, lease) = &self.lease;
        all.extend(questions(&LEASE, Some(namespace), Some(lease)));
        all.extend(questions(&NEW_LEASE, Some(namespace), None));
        // Without an account the operator requests no token.
        if let Some(Account { namespace, name }) = &self.account {
            all.extend(questions(&TOKEN, Some(namespace), Some(name)));
        }
        all
    }
}

/// Says in the log which kinds of the table the cluster does not serve, or serves without the lever. A kind may come
/// later, so that this is no error.
async fn tell_of_kinds(client: &Client) {
    for kind in kinds::table() {
        let name = kind.name;
        match kinds::unusable(client, kind).await {
            Ok(problems) => {
                for problem in problems {
                    let (cause, remedy) = (problem.cause(kind), problem.remedy(kind));
                    let line = format!("kind {name} of the table of kinds: {cause}: {remedy}");
                    match problem {
                        Unusable::NotServed => tracing::warn!("{line}"),
                        // Its objects would stay up.
                        Unusable::NoField(_) => tracing::error!("{line}"),
                    }
                }
            }
            Err(error) => tracing::debug!(kind = name, %error, "the kind was not looked for"),
        }
    }
}

/// Returns a question for each verb of a right.
fn questions<'a>(
    right: &'a Right,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
) -> impl Iterator<Item = ResourceAttributes> + 'a {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (right.resource, None),
    };
    right.verbs.iter().map(move |verb| ResourceAttributes {
        group: Some(right.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.clone(),
        verb: Some((*verb).to_owned()),
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        ..ResourceAttributes::default()
    })
}

/// Returns a line for each scope and resource.
fn in_words(refused: &[ResourceAttributes]) -> Vec<String> {
    let mut verbs: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for right in refused {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let mut resource = text(&right.resource);
        if let Some(subresource) = &right.subresource {
            resource = format!("{resource}/{subresource}");
        }
        if right.group.as_ref().is_some_and(|group| !group.is_empty()) {
            resource = format!("{resource}.{}", text(&right.group));
        }
        let scope = match &right.namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in all namespaces".to_owned(),
        };
        verbs.entry((scope, resource)).or_default().extend(right.verb.as_deref());
    }
    let line = |((scope, resource), verbs): (&(String, String), &BTreeSet<&str>)| {
        let verbs = verbs.iter().copied().collect::<Vec<_>>().join(", ");
        format!(
            "the operator may not {verbs} {resource} {scope}: grant that, as templates/rbac.yaml of the chart does"
        )
    };
    verbs.iter().map(line).collect()
}

#[cfg(test)]
#[path = "preconditions_tests.rs"]
mod tests;
