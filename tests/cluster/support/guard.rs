//! The hold guard of the chart, for one namespace.

use serde_json::{Value, json};

use super::{
    afterwards::afterwards,
    chart,
    cluster::{kubectl, kubectl_or_error},
    kubectl::file_of,
    namespace::Namespace,
    operator::{ACCOUNT, Operator},
    rights,
    scene::Scene,
};

/// The hold guard. Dropping it deletes its policies.
pub(crate) struct Guard {
    file: String,
}

impl Guard {
    /// Creates the policies of a mode. The API server needs some seconds until it obeys them.
    pub(crate) fn create(namespace: &Namespace, mode: &str) -> Self {
        let name = namespace.name.as_str();
        let values = [
            format!("holdGuard={mode}"),
            format!("fullnameOverride={name}"),
            format!("serviceAccount.name={ACCOUNT}"),
            format!("watchNamespaces={{{name}}}"),
        ];
        let items =
            chart::rendered(name, "hold-guard.yaml", &values.each_ref().map(String::as_str));
        let items: Vec<Value> = items.into_iter().filter(|item| !item.is_null()).collect();
        assert_eq!(items.len(), 8, "four policies with their bindings");
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"name": "guard"}, "items": items});
        let file = file_of(namespace, &list);
        kubectl(&["apply", "--filename", &file]);
        Self { file }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let file = self.file.clone();
        afterwards("the hold guard", async move {
            kubectl_or_error(&["delete", "--ignore-not-found", "--filename", &file]).map(drop)
        });
    }
}

/// Creates a namespace with an operator that has its own account, which the guard exempts.
pub(crate) async fn scene(test: &str) -> Scene {
    let namespace = Namespace::create(test).await;
    rights::grant(&namespace).await;
    let kubeconfig = rights::kubeconfig(&namespace, ACCOUNT).await;
    let operator = Operator::start_as(&namespace, &kubeconfig, "", &[]);
    Scene { operator, namespace }
}
