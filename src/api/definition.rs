//! The definitions of the custom resources, as `torpor crd` prints them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::{Hibernation, MaintenanceWindow};

/// `status.observedGeneration` of an object that the operator has not observed yet. Flux, Argo CD and `kubectl
/// wait` would take an object without it for settled. Flux's own definitions have the same default.
pub const NEVER_OBSERVED: i64 = -1;

/// Returns the definitions.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    let mut definitions = [Hibernation::crd(), MaintenanceWindow::crd()];
    let versions = definitions.iter_mut().flat_map(|definition| &mut definition.spec.versions);
    for version in versions {
        let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
        let properties = schema.and_then(|schema| schema.properties.as_mut());
        if let Some(status) = properties.and_then(|properties| properties.get_mut("status")) {
            status.default = Some(JSON(json!({"observedGeneration": NEVER_OBSERVED})));
        }
    }
    definitions
}
