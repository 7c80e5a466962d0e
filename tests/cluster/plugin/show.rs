//! The commands that only show something.

use serde_json::{Value, json};

use crate::support::{
    config_map::create_config_map,
    hibernation::{Hibernation, asleep, of},
    kubectl,
    plugin::{kubectl_torpor, torpor},
    rights,
    scene::Scene,
};

#[tokio::test]
async fn a_project_is_shown_planned_and_reported() {
    let scene = Scene::create("plugin-show").await;
    scene.deploy("worker", 2).await;
    create_config_map(&scene, "env", json!({"data": {"KEY": "hunter2"}})).await;
    let spec = of(
        "worker",
        json!({"state": "Awake", "configMaps": [{"name": "env", "set": {"KEY": "hunter3"}}]}),
    );
    let project = Hibernation::create(&scene.namespace, "project", spec.clone()).await;
    project.until_phase("Awake").await;
    torpor(&scene, &["status", "project"])
        .with(0, &["Awake, by spec.state", "deployment/worker", "2 of 2 ready"]);
    kubectl_torpor(&scene, &["plan", "project"])
        .with(0, &["Deployment worker goes from 2 to 0 replicas", "✓ nothing is in the way"]);
    project.set_state("Hibernated").await;
    project.until_phase("Hibernated").await;
    torpor(&scene, &["plan", "project"])
        .with(0, &["its way back", "Deployment worker goes back to 2 replicas"]);

    torpor(&scene, &["status"]).with(0, &["hib/project", "Hibernated", "yes"]);
    torpor(&scene, &["status", "--output", "name"]).with(0, &["hibernation.torpor.dev/project\n"]);
    let json = torpor(&scene, &["status", "project", "--output=json"]).success().out;
    let shown: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(shown["spec"]["state"], "Hibernated");
    assert_eq!(shown["metadata"]["managedFields"], Value::Null);
    let list = torpor(&scene, &["status", "--output=yaml"]).success().out;
    assert!(list.contains("kind: List") && list.contains("kind: Hibernation"), "{list}");

    let report = torpor(&scene, &["report"]).success().out;
    assert!(
        report.contains("kind: Hibernation") && report.contains("# ✓ the API server"),
        "{report}"
    );
    assert!(!report.contains("hunter"), "{report}");
    // The operator of this test is no Deployment.
    let here = ["--operator-namespace", scene.namespace.name.as_str()];
    torpor(&scene, &[&["check"], &here[..]].concat()).with(
        1,
        &[
            "✓ the definitions",
            "✗ there is no Deployment of the operator",
            "✓ you may hibernate and wake",
        ],
    );
    torpor(&scene, &[&["version"], &here[..]].concat())
        .with(0, &["this program: ", "the operator: no Deployment"]);

    let manifest = json!({"apiVersion": "torpor.dev/v1alpha1", "kind": "Hibernation",
        "metadata": {"name": "planned"}, "spec": spec});
    let file = kubectl::file(&scene, &manifest);
    torpor(&scene, &["plan", "--filename", &file])
        .with(0, &["Hibernation planned", "env: KEY from"]);
    torpor(&scene, &["calendar", "--filename", &file]).with(0, &["Awake", "no end"]);
}

#[tokio::test]
async fn objects_of_all_namespaces_are_listed() {
    let scene = Scene::create("plugin-all").await;
    scene.deploy("worker", 1).await;
    asleep(&scene, of("worker", json!({}))).await;
    let all = torpor_everywhere();
    assert!(all.contains("NAMESPACE"), "{all}");
    assert!(all.lines().any(|line| line.starts_with(&scene.namespace.name)), "{all}");
}

fn torpor_everywhere() -> String {
    let mut torpor = std::process::Command::new(env!("CARGO_BIN_EXE_torpor"));
    let output = torpor.args(["status", "-A"]).output().expect("it runs");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_user_sees_what_the_rights_of_the_user_permit() {
    let scene = Scene::create("plugin-rights").await;
    scene.deploy("worker", 1).await;
    let project =
        Hibernation::create(&scene.namespace, "project", of("worker", json!({"state": "Awake"})))
            .await;
    project.until_phase("Awake").await;
    scene.kubectl(&[
        "create",
        "role",
        "see",
        "--verb=get,list",
        "--resource=hibernations.torpor.dev",
    ]);
    let account = format!("--serviceaccount={}:default", scene.namespace.name);
    scene.kubectl(&["create", "rolebinding", "see", "--role=see", &account]);
    let kubeconfig = rights::kubeconfig(&scene.namespace, "default").await.display().to_string();
    let run =
        |arguments: &[&str]| torpor(&scene, &[arguments, &["--kubeconfig", &kubeconfig]].concat());
    run(&["status"])
        .with(0, &["hib/project", "note: ", "cannot list resource \"maintenancewindows\""]);
    run(&["status", "project"]).with(0, &["Awake, by spec.state", "(you may not get it)"]);
    run(&["status", "nothing"]).with(1, &["there is no", "there: hib/project"]);
    run(&["hibernate", "project"]).with(1, &["cannot patch resource \"hibernations\""]);
    // It is as asked already, so that the first list is enough.
    run(&["watch", "project"]).with(0, &["✓ Hibernation project is Awake"]);
    run(&["plan", "project"]).with(1, &["cannot list resource"]);
    run(&["check"]).with(
        0,
        &[
            "! you may not hibernate and wake",
            "ask for the right to patch hibernations.torpor.dev",
            "! cannot look for the operator: your rights do not permit it",
        ],
    );
}
