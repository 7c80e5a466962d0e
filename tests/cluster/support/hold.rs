//! Whether an object is held.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::{scene::Scene, wait, workload};

/// Whether a Deployment is held at 0, its annotation and label there.
pub(crate) fn held(deployment: &Deployment) -> bool {
    workload::replicas(deployment) == 0
        && deployment.annotations().contains_key("torpor.dev/hold")
        && deployment.labels().contains_key("torpor.dev/held")
}

pub(crate) async fn until_held(scene: &Scene, name: &str) -> Deployment {
    wait::until(&scene.namespace.api(), name, "held", held).await
}

/// Whether nothing of Torpor's is left on an object.
pub(crate) fn untouched(object: &impl ResourceExt) -> bool {
    !object.annotations().keys().chain(object.labels().keys()).any(|key| key.contains("torpor.dev"))
}
