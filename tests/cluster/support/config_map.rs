//! ConfigMaps with keys to hold.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{scene::Scene, workload};

pub(crate) fn config_map(name: &str, data: Option<Value>) -> Value {
    let mut manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    if let Some(data) = data {
        manifest["data"] = data;
    }
    manifest
}

pub(crate) async fn create_config_map(scene: &Scene, name: &str, more: Value) {
    let mut manifest = json!({"metadata": {"name": name}, "data": {"HIBERNATE_MODE": "no"}});
    if let (Some(manifest), Value::Object(more)) = (manifest.as_object_mut(), more) {
        manifest.extend(more);
    }
    workload::create(&scene.namespace, &workload::object::<ConfigMap>(manifest)).await;
}
