//! A namespace with an operator, for tests that need no more than Deployments.

use k8s_openapi::api::apps::v1::Deployment;

use super::{
    cluster::kubectl,
    namespace::Namespace,
    operator::Operator,
    wait,
    workload::{self, WELL_BEHAVED},
};

/// A namespace with an operator.
pub(crate) struct Scene {
    pub(crate) operator: Operator,
    pub(crate) namespace: Namespace,
}

impl Scene {
    pub(crate) async fn create(test: &str) -> Self {
        let namespace = Namespace::create(test).await;
        Self { operator: Operator::start(&namespace), namespace }
    }

    /// Creates a namespace with an operator that soon releases objects without a living holder.
    pub(crate) async fn impatient(test: &str) -> Self {
        let namespace = Namespace::create(test).await;
        let more = ["--holder-grace", "3s"];
        Self { operator: Operator::start_from(&namespace, &namespace.name, &more), namespace }
    }

    /// Creates a Deployment and waits until it is ready.
    pub(crate) async fn deploy(&self, name: &str, replicas: i32) -> Deployment {
        let deployment = workload::deployment(name, replicas, WELL_BEHAVED, 1);
        workload::create(&self.namespace, &deployment).await;
        workload::until_ready(&self.namespace, name).await
    }

    /// Waits until a Deployment has so many desired replicas.
    pub(crate) async fn until_replicas(&self, name: &str, replicas: i32) -> Deployment {
        let what = format!("{replicas} replicas");
        wait::until(&self.namespace.api(), name, &what, |deployment| {
            workload::replicas(deployment) == replicas
        })
        .await
    }

    pub(crate) async fn deployment(&self, name: &str) -> Deployment {
        self.namespace.api().get(name).await.expect("the Deployment is there")
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["--namespace", &self.namespace.name], arguments].concat())
    }
}
