//! The RBAC rules in the chart, and accounts that have no other rights.

use std::{collections::BTreeSet, path::PathBuf};

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    authorization::v1::SubjectAccessReview,
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::{
    audit::Right, chart, cluster, namespace::Namespace, operator::ACCOUNT,
    other_kinds::KIND_PRESETS, wait, workload,
};

/// Returns the objects of an installation that works in this namespace only.
pub(crate) fn in_one_namespace(namespace: &str, template: &str) -> Vec<Value> {
    let watched = format!("watchNamespaces={{{namespace}}}");
    chart::rendered(namespace, template, &[&watched])
}

/// Returns the rights in the rules of these roles.
pub(crate) fn granted(roles: &[Value]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in roles.iter().flat_map(|role| role["rules"].as_array().into_iter().flatten()) {
        let words = |key: &str| {
            let words = rule[key].as_array().into_iter().flatten().filter_map(Value::as_str);
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let (groups, paths) = (words("apiGroups"), words("nonResourceURLs"));
        let of_groups = groups.iter().flat_map(|group| {
            words("resources").into_iter().map(move |resource| (group.clone(), resource))
        });
        let of_paths = paths.into_iter().map(|path| (String::new(), path));
        for (group, resource) in of_groups.chain(of_paths) {
            rights.extend(words("verbs").into_iter().map(|verb| Right {
                group: group.clone(),
                resource: resource.clone(),
                verb,
            }));
        }
    }
    rights
}

/// Grants the operator's service account the rights of an installation for this namespace. Returns
/// the user name of the account.
pub(crate) async fn grant(namespace: &Namespace) -> String {
    grant_to(namespace, ACCOUNT, in_one_namespace(&namespace.name, "rbac.yaml")).await
}

/// Returns the Roles and bindings of such an installation with all presets of the table of kinds.
pub(crate) fn with_presets(namespace: &str) -> Vec<Value> {
    let watched = format!("watchNamespaces={{{namespace}}}");
    chart::rendered(namespace, "rbac.yaml", &[&watched, KIND_PRESETS])
}

/// Grants the rights of an installation with all presets.
pub(crate) async fn grant_with_presets(namespace: &Namespace) -> String {
    grant_to(namespace, ACCOUNT, with_presets(&namespace.name)).await
}

/// Creates a service account, unless it is there.
pub(crate) async fn create_account(namespace: &Namespace, name: &str) {
    let accounts: Api<ServiceAccount> = namespace.api();
    if accounts.get_opt(name).await.expect("accounts are read").is_none() {
        let account: ServiceAccount = workload::object(json!({"metadata": {"name": name}}));
        workload::create(namespace, &account).await;
    }
}

/// Creates an account with these Roles and bindings, and waits until the API server knows its
/// rights. Returns the user name of the account.
pub(crate) async fn grant_to(namespace: &Namespace, account: &str, objects: Vec<Value>) -> String {
    create_account(namespace, account).await;
    let user = format!("system:serviceaccount:{}:{account}", namespace.name);
    for document in objects {
        match document["kind"].as_str().unwrap_or_default() {
            "Role" => {
                workload::create(namespace, &workload::object::<Role>(document)).await;
            }
            "RoleBinding" => {
                workload::create(namespace, &workload::object::<RoleBinding>(document.clone()))
                    .await;
                until_bound(namespace, &user, &document).await;
            }
            other => panic!("an installation for one namespace needs no {other}"),
        }
    }
    user
}

/// Waits until the API server knows a binding, which nothing announces: until it allows the first
/// verb of the bound Role.
async fn until_bound(namespace: &Namespace, user: &str, binding: &Value) {
    let name = binding["roleRef"]["name"].as_str().unwrap_or_default();
    let bound = namespace.api::<Role>().get(name).await.expect("the Role is there");
    let rule = bound.rules.into_iter().flatten().next().expect("a rule");
    let first = |words: Option<Vec<String>>| words.into_iter().flatten().next().unwrap_or_default();
    let resource = first(rule.resources);
    let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
    let review: SubjectAccessReview = workload::object(json!({
        "spec": {"user": user, "resourceAttributes": {
            "namespace": namespace.name,
            "group": first(rule.api_groups),
            "resource": resource,
            "subresource": subresource,
            "verb": first(Some(rule.verbs)),
            "name": first(rule.resource_names),
        }},
    }));
    let reviews: Api<SubjectAccessReview> = Api::all(namespace.client.clone());
    wait::poll("the rights are granted", async || {
        let answer = reviews.create(&PostParams::default(), &review).await.ok()?;
        answer.status.filter(|status| status.allowed).map(drop)
    })
    .await;
}

/// Writes a kubeconfig with a token of a service account.
pub(crate) async fn kubeconfig(namespace: &Namespace, account: &str) -> PathBuf {
    let request: TokenRequest = workload::object(json!({"spec": {"audiences": []}}));
    let accounts: Api<ServiceAccount> = namespace.api();
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await;
    let token = made.expect("a token is made").status.expect("a status").token;
    let own = std::fs::read_to_string(cluster::variable("KUBECONFIG")).expect("it is readable");
    let mut config: Value = serde_saphyr::from_str(&own).expect("KUBECONFIG is YAML");
    for user in config["users"].as_array_mut().expect("users") {
        user["user"] = json!({"token": token});
    }
    let name = format!("{}-{account}.kubeconfig.json", namespace.name);
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, config.to_string()).expect("the kubeconfig is written");
    file
}
