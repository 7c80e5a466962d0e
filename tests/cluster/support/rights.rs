//! The operator's shipped RBAC rules.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use serde_json::{Value, json};

use super::{namespace::Namespace, operator::ACCOUNT, workload};

const MANIFEST: &str = include_str!("../../../deploy/rbac.yaml");

/// Returns the shipped objects, for an operator in this namespace.
pub(crate) fn shipped(namespace: &str) -> Vec<Value> {
    let manifest = MANIFEST.replace("torpor-system", namespace);
    let documents = manifest.split("\n---\n");
    documents.map(|document| serde_saphyr::from_str(document).expect("YAML")).collect()
}

/// Grants the operator's service account the rights of an installation for this namespace. Returns
/// the user name of the account.
pub(crate) async fn grant(namespace: &Namespace) -> String {
    let account: ServiceAccount = workload::object(json!({"metadata": {"name": ACCOUNT}}));
    workload::create(namespace, &account).await;
    for mut document in shipped(&namespace.name) {
        let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match document["kind"].as_str().unwrap_or_default() {
            // What people get is none of the operator's.
            "ClusterRole" if name != ACCOUNT => {}
            "ClusterRole" | "Role" => {
                document["kind"] = json!("Role");
                // Of the cluster's own keys a Role can say nothing.
                let rules = document["rules"].as_array_mut().expect("rules");
                rules.retain(|rule| rule.get("nonResourceURLs").is_none());
                workload::create(namespace, &workload::object::<Role>(document)).await;
            }
            "ClusterRoleBinding" | "RoleBinding" => {
                document["kind"] = json!("RoleBinding");
                document["roleRef"]["kind"] = json!("Role");
                workload::create(namespace, &workload::object::<RoleBinding>(document)).await;
            }
            other => panic!("what is a {other} there for?"),
        }
    }
    format!("system:serviceaccount:{}:{ACCOUNT}", namespace.name)
}
