//! The needs of the operator in the cluster: custom resource definitions of its version, and its rights. What is missing is
//! one line in the log and in `/readyz`. A replica that misses something is not ready, so that a rollout ends at it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::Value;
use tokio::time;

use super::admin::Readiness;
use super::rights::{LEASE, NEW_LEASE, Right, SCOPED, TOKEN};
use super::triggers::Scope;
use crate::api::definition::definitions;
use crate::api::text::first;
use crate::apiserver::request::{self, call};
use crate::deals::Account;
use crate::version::VERSION;

/// Time until the cluster is asked again, while something is missing.
const AGAIN: Duration = Duration::from_secs(15);
/// Concurrent questions about rights.
const IN_FLIGHT: usize = 8;
/// The most fields that are named.
const FIELDS: usize = 3;

const REMEDY: &str = "apply those of this version: kubectl apply --server-side -f crds/, or set crds.enabled in the chart";

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
    /// Asks the cluster until nothing is missing. The readiness has what is missing meanwhile.
    pub(crate) async fn watch(self, readiness: Readiness) {
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
        let mut missing = self.definitions().await?;
        missing.extend(self.rights().await?);
        Ok(missing)
    }

    /// Checks the definitions against those of this version, as the API server publishes them.
    async fn definitions(&self) -> Result<Vec<String>, request::Error> {
        let Some(served) = self.published("/openapi/v3/apis/torpor.dev/v1alpha1").await? else {
            return Ok(vec![format!(
                "the cluster serves no torpor.dev/v1alpha1: it has no definitions of Hibernation and \
                 MaintenanceWindow, or those of another version; {REMEDY}"
            )]);
        };
        let mut missing = Vec::new();
        for definition in definitions() {
            let kind = definition.spec.names.kind.clone();
            let schema = &served["components"]["schemas"][format!("dev.torpor.v1alpha1.{kind}")];
            let definition = serde_json::to_value(definition).unwrap_or_default();
            let ours = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            if schema.is_null() {
                missing.push(format!("the cluster has no definition of {kind}; {REMEDY}"));
                continue;
            }
            let mut fields = Vec::new();
            lacking(ours, schema, "", &mut fields);
            if !fields.is_empty() {
                missing.push(format!(
                    "the definition of {kind} is not that of torpor {VERSION}: it lacks {}, so that the API server drops \
                     {}; {REMEDY}",
                    first(&fields, FIELDS),
                    if fields.len() == 1 { "this field" } else { "these fields" },
                ));
            }
        }
        Ok(missing)
    }

    async fn published(&self, path: &str) -> Result<Option<Value>, request::Error> {
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
        let asked = async { self.client.request::<Value>(request?).await };
        match call(path, asked).await {
            Err(error) if error.is_not_found() => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Asks for each right, and names the missing ones by scope and resource.
    async fn rights(&self) -> Result<Vec<String>, request::Error> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let refused: Vec<_> = stream::iter(self.questions())
            .map(|question| {
                let reviews = &reviews;
                async move {
                    let review = SelfSubjectAccessReview {
                        spec: SelfSubjectAccessReviewSpec {
                            resource_attributes: Some(question.clone()),
                            ..SelfSubjectAccessReviewSpec::default()
                        },
                        ..SelfSubjectAccessReview::default()
                    };
                    let answer =
                        call("its rights", reviews.create(&PostParams::default(), &review)).await?;
                    let allowed = answer.status.is_some_and(|status| status.allowed);
                    Ok::<_, request::Error>((!allowed).then_some(question))
                }
            })
            .buffered(IN_FLIGHT)
            .try_filter_map(|question| std::future::ready(Ok(question)))
            .try_collect()
            .await?;
        Ok(in_words(&refused))
    }

    fn questions(&self) -> Vec<ResourceAttributes> {
        let mut all = Vec::new();
        for Scope(namespace) in &self.scopes {
            let namespace = namespace.as_deref();
            all.extend(SCOPED.iter().flat_map(|right| questions(right, namespace, None)));
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

/// Adds the paths of the fields that a schema has, and another lacks.
fn lacking(ours: &Value, theirs: &Value, path: &str, fields: &mut Vec<String>) {
    for (name, field) in ours["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match &theirs["properties"][name] {
            Value::Null => fields.push(path),
            field_there => lacking(field, field_there, &path, fields),
        }
    }
    if !ours["items"].is_null() {
        lacking(&ours["items"], &theirs["items"], &format!("{path}[]"), fields);
    }
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
