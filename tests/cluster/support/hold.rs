//! Checks whether objects are held.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::{scene::Scene, wait, workload};

/// Whether a Deployment is held at 0, with annotation and label.
pub(crate) fn held(deployment: &Deployment) -> bool {
    workload::replicas(deployment) == 0
        && deployment.annotations().contains_key("torpor.dev/hold")
        && deployment.labels().contains_key("torpor.dev/held")
}

pub(crate) async fn until_held(scene: &Scene, name: &str) -> Deployment {
    wait::until(&scene.namespace.api(), name, "held", held).await
}

/// Whether an object has no annotation and no label of Torpor.
pub(crate) fn untouched(object: &impl ResourceExt) -> bool {
    !object.annotations().keys().chain(object.labels().keys()).any(|key| key.contains("torpor.dev"))
}
