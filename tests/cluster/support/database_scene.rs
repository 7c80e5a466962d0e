//! A namespace with an operator and a seeded database, for tests of the truncation with real pods.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};
use torpor::api::database::RUNTIME_TABLES;

use super::{
    database::Database, hibernation::Hibernation, namespace::Namespace, operator::Operator, wait,
    workload,
};

/// A namespace with an operator and a seeded database.
pub(crate) struct DatabaseScene {
    pub(crate) operator: Operator,
    pub(crate) namespace: Namespace,
    pub(crate) database: Database,
}

impl DatabaseScene {
    pub(crate) async fn create(test: &str) -> Self {
        let namespace = Namespace::create(test).await;
        let database = Database::seeded(&namespace).await;
        Self { operator: Operator::start(&namespace), namespace, database }
    }

    /// Creates a Hibernation of these workloads and the database. It is awake and its preflight has
    /// passed.
    pub(crate) async fn hibernation(&self, workloads: Value, config_maps: Value) -> Hibernation {
        let spec = json!({
            "state": "Awake",
            "workloads": workloads,
            "configMaps": config_maps,
            "database": {
                "secretRef": {"name": "cornice-db", "key": "DATABASE_URL"},
                "truncate": {"scope": "Runtime"},
            },
        });
        let hibernation = Hibernation::create(&self.namespace, "cornice", spec).await;
        hibernation.until_condition("PreflightPassed", "True").await;
        hibernation
    }

    /// Creates a Deployment and waits until it is ready.
    pub(crate) async fn deploy(&self, name: &str, replicas: i32, script: &str, grace: i64) {
        let deployment = workload::deployment(name, replicas, script, grace);
        workload::create(&self.namespace, &deployment).await;
        workload::until_ready(&self.namespace, name).await;
    }

    pub(crate) async fn until_held(&self, deployment: &str) {
        wait::until::<Deployment>(&self.namespace.api(), deployment, "held", |deployment| {
            workload::replicas(deployment) == 0
        })
        .await;
    }

    pub(crate) async fn assert_truncated(&self) {
        let empty = self.database.empty_of(&RUNTIME_TABLES).await;
        assert_eq!(empty.len(), RUNTIME_TABLES.len(), "only {empty:?} are empty");
    }
}
