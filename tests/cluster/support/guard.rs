//! The hold guard of the chart, for one namespace.

use serde_json::{Value, json};

use super::{
    afterwards::afterwards,
    chart,
    cluster::{kubectl, kubectl_or_error},
    kubectl::file_of,
    namespace::Namespace,
    operator::{ACCOUNT, Operator},
    other_controllers::OtherControllers,
    other_kinds::{self, KIND_PRESETS, OtherScene, PRESETS, presets},
    rights,
    scene::Scene,
};

/// The hold guard. Dropping it deletes its policies.
pub(crate) struct Guard {
    file: String,
}

impl Guard {
    /// Creates the policies of a mode for the built-in kinds. The API server needs some seconds until it obeys them.
    pub(crate) fn create(namespace: &Namespace, mode: &str) -> Self {
        Self::create_with(namespace, mode, &[], 4)
    }

    /// Creates the policies of a mode for the built-in kinds and those of the presets.
    pub(crate) fn create_with_presets(namespace: &Namespace, mode: &str) -> Self {
        Self::create_with(namespace, mode, &[KIND_PRESETS], 4 + presets().len())
    }

    fn create_with(namespace: &Namespace, mode: &str, table: &[&str], policies: usize) -> Self {
        let name = namespace.name.as_str();
        let values = [
            format!("holdGuard={mode}"),
            format!("fullnameOverride={name}"),
            format!("serviceAccount.name={ACCOUNT}"),
            format!("watchNamespaces={{{name}}}"),
        ];
        let values: Vec<&str> =
            values.iter().map(String::as_str).chain(table.iter().copied()).collect();
        let items = chart::rendered(name, "hold-guard.yaml", &values);
        let items: Vec<Value> = items.into_iter().filter(|item| !item.is_null()).collect();
        assert_eq!(items.len(), 2 * policies, "policies with their bindings");
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"name": "guard"}, "items": items});
        // What a failed apply has created is deleted too.
        let guard = Self { file: file_of(namespace, &list) };
        kubectl(&["apply", "--filename", &guard.file]);
        guard
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

/// Creates such a namespace whose operator holds the kinds of the presets.
pub(crate) async fn other_scene(test: &str) -> OtherScene {
    let namespace = Namespace::create(test).await;
    other_kinds::install(&namespace).await;
    rights::grant_with_presets(&namespace).await;
    let kubeconfig = rights::kubeconfig(&namespace, ACCOUNT).await;
    let controllers = OtherControllers::start(&namespace, None);
    let operator = Operator::start_as(&namespace, &kubeconfig, "", &["--kinds", PRESETS]);
    OtherScene { scene: Scene { operator, namespace }, controllers }
}
