//! The operator's RBAC rules in the chart.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use serde_json::json;

use super::{chart, namespace::Namespace, operator::ACCOUNT, workload};

/// Grants the operator's service account the rights of an installation for this namespace. Returns
/// the user name of the account.
pub(crate) async fn grant(namespace: &Namespace) -> String {
    let account: ServiceAccount = workload::object(json!({"metadata": {"name": ACCOUNT}}));
    workload::create(namespace, &account).await;
    let watched = format!("watchNamespaces={{{}}}", namespace.name);
    for document in chart::rendered(&namespace.name, "rbac.yaml", &[&watched]) {
        match document["kind"].as_str().unwrap_or_default() {
            "Role" => {
                workload::create(namespace, &workload::object::<Role>(document)).await;
            }
            "RoleBinding" => {
                workload::create(namespace, &workload::object::<RoleBinding>(document)).await;
            }
            other => panic!("an installation for one namespace needs no {other}"),
        }
    }
    format!("system:serviceaccount:{}:{ACCOUNT}", namespace.name)
}
