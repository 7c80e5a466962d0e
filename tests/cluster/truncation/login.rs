//! A Secret without a URL.

use serde_json::{Value, json};

use crate::support::{
    database_scene::DatabaseScene, hibernation::Hibernation, workload::WELL_BEHAVED,
};

#[tokio::test]
async fn a_secret_with_user_and_password_is_enough() {
    let scene = DatabaseScene::create("login").await;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    let mut connection = scene.database.connection();
    let spec = |connection: &Value| {
        json!({
            "state": "Awake",
            "workloads": [{"kind": "Deployment", "name": "worker"}],
            "database": {"connection": connection, "truncate": {"scope": "Runtime"}},
        })
    };
    // A key that the Secret does not have is told while awake.
    connection["passwordKey"] = json!("secret-word");
    let hibernation = Hibernation::create(&scene.namespace, "cornice", spec(&connection)).await;
    let told = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("couldn't find key secret-word in Secret")
    };
    hibernation.until("the missing key is named", told).await;
    connection["passwordKey"] = json!("password");
    hibernation.patch(json!({"spec": spec(&connection)})).await;
    hibernation.until_condition("PreflightPassed", "True").await;
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
}
