//! The facts for the checks: the answers of the API server, which may refuse some of them to a user.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::Client;
use kube::api::{Api, ListParams};

use super::operator::{Operator, operators};
use crate::api::labels::{APP, TORPOR};
use crate::apiserver::request::{self, call, pages};
use crate::apiserver::{access, definitions};
use crate::hold::lever::{CONFIG_MAP, Kind, WORKLOADS};
use crate::plugin::find;
use crate::plugin::object::Object;

/// The answer to a question, or the error in words.
pub(in crate::plugin) type Answer<T> = Result<T, String>;

/// The answers of the API server.
#[derive(Debug)]
pub(super) struct Facts {
    /// The version of the API server: major and minor.
    pub(super) server: Answer<(String, String)>,
    /// The problems of the definitions.
    pub(super) definitions: Answer<Vec<String>>,
    /// The operators.
    pub(super) operators: Answer<Vec<Operator>>,
    /// The number of admission policies, and of their bindings.
    pub(super) policies: Answer<(usize, usize)>,
    /// The rights that the user lacks, by purpose.
    pub(super) lacking: Answer<Vec<Lack>>,
    /// The objects of the namespace.
    pub(super) objects: Answer<Vec<Object>>,
}

/// A purpose, and the rights that the user lacks for it.
#[derive(Clone, Debug)]
pub(super) struct Lack {
    /// The purpose, as `to see hibernations`.
    pub(super) purpose: &'static str,
    /// The rights, such as `patch deployments.apps`.
    pub(super) rights: Vec<String>,
}

/// A right: API group, resource and verbs.
type Needed = (&'static str, &'static str, &'static [&'static str]);

/// Returns the rights of a user of this program, by purpose. `kinds` are those of the table.
fn needed(kinds: &[&Kind]) -> [(&'static str, Vec<Needed>); 4] {
    let held = || WORKLOADS.iter().chain(kinds.iter().copied()).chain([&CONFIG_MAP]);
    let to = |verb: &'static [&str]| held().map(|kind| (kind.group, kind.plural, verb)).collect();
    let mut plan: Vec<Needed> = to(&["list"]);
    plan.push((CONFIG_MAP.group, CONFIG_MAP.plural, &["get"]));
    [
        (
            "see Hibernations and MaintenanceWindows",
            vec![
                ("torpor.dev", "hibernations", &["get", "list", "watch"]),
                ("torpor.dev", "maintenancewindows", &["get", "list", "watch"]),
            ],
        ),
        ("hibernate and wake", vec![("torpor.dev", "hibernations", &["patch"])]),
        ("plan", plan),
        ("release held objects without the operator", to(&["patch"])),
    ]
}

/// Returns an error in words.
pub(super) fn said(error: &request::Error) -> String {
    match error.code() {
        // The answer of the API server is long, and says no more.
        Some(403) => "your rights do not permit it".to_owned(),
        _ => error.to_string(),
    }
}

/// Asks the API server. `operator` is the namespace of the operator; without it all namespaces are searched.
pub(super) async fn gather(client: &Client, namespace: &str, operator: Option<&str>) -> Facts {
    let version = async {
        let info =
            call("the version", client.apiserver_version()).await.map_err(|error| said(&error))?;
        Ok((info.major, info.minor))
    };
    let definitions = async { definitions::missing(client).await.map_err(|error| said(&error)) };
    let operators = async {
        let mut operators = operators(client, operator).await.map_err(|error| said(&error));
        for operator in operators.iter_mut().flatten() {
            operator.read_table(client).await;
        }
        let lacking =
            lacking(client, namespace, &served(&operators)).await.map_err(|error| said(&error));
        (operators, lacking)
    };
    let policies = async { policies(client).await.map_err(|error| said(&error)) };
    let objects = async {
        let all = find::all(client, Some(namespace)).await.map_err(|error| error.to_string())?;
        Ok(all.found.into_iter().map(|found| found.object).collect())
    };
    let (server, definitions, (operators, lacking), policies, objects) =
        futures::join!(version, definitions, operators, policies, objects);
    Facts { server, definitions, operators, policies, lacking, objects }
}

async fn policies(client: &Client) -> Result<(usize, usize), request::Error> {
    let params = ListParams::default().labels(&format!("{APP}={TORPOR}"));
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let (policies, bindings) = futures::try_join!(
        pages("validatingadmissionpolicies", &policies, params.clone(), Some),
        pages("validatingadmissionpolicybindings", &bindings, params, Some)
    )?;
    Ok((policies.len(), bindings.len()))
}

/// Returns the kinds of the operators' tables that the API server serves.
fn served(operators: &Answer<Vec<Operator>>) -> Vec<&Kind> {
    let tables = operators.iter().flatten().filter_map(|operator| operator.kinds.as_ref());
    let entries = tables.flatten().flatten();
    entries.filter(|entry| entry.is_served()).map(|entry| &*entry.kind).collect()
}

/// Asks for each right of the user, and returns those that are refused.
async fn lacking(
    client: &Client,
    namespace: &str,
    kinds: &[&Kind],
) -> Result<Vec<Lack>, request::Error> {
    let mut lacking = Vec::new();
    for (purpose, rights) in needed(kinds) {
        let questions = rights.iter().flat_map(|(group, resource, verbs)| {
            verbs.iter().map(|verb| right(group, resource, verb, namespace))
        });
        let refused = access::refused(client, "your rights", questions.collect()).await?;
        lacking.push(Lack { purpose, rights: in_words(&refused) });
    }
    Ok(lacking)
}

fn right(group: &str, resource: &str, verb: &str, namespace: &str) -> ResourceAttributes {
    ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        verb: Some(verb.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ResourceAttributes::default()
    }
}

/// Returns the rights, a text for each resource: `get, list hibernations.torpor.dev`.
fn in_words(refused: &[ResourceAttributes]) -> Vec<String> {
    refused
        .chunk_by(|a, b| (&a.group, &a.resource) == (&b.group, &b.resource))
        .filter_map(|rights| {
            let first = rights.first()?;
            let resource = first.resource.as_deref()?;
            let group = first.group.as_deref().filter(|group| !group.is_empty());
            let group = group.map(|group| format!(".{group}")).unwrap_or_default();
            let verbs: Vec<&str> =
                rights.iter().filter_map(|right| right.verb.as_deref()).collect();
            Some(format!("{} {resource}{group}", verbs.join(", ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rights_are_grouped_by_resource() {
        let refused = [
            right("torpor.dev", "hibernations", "get", "shop"),
            right("torpor.dev", "hibernations", "list", "shop"),
            right("", "configmaps", "list", "shop"),
        ];
        assert_eq!(in_words(&refused), ["get, list hibernations.torpor.dev", "list configmaps"]);
    }
}
