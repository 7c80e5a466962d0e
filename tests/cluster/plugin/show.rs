//! The commands that only show something.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{
    chart,
    config_map::create_config_map,
    hibernation::{Hibernation, asleep, of},
    kubectl, other_kinds,
    plugin::{kubectl_torpor, torpor},
    release::Ended,
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
        .with(0, &["its wake", "Deployment worker goes back to 2 replicas"]);

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

#[tokio::test]
async fn the_table_of_kinds_of_an_operator_is_checked() {
    let scene = Scene::create("plugin-kinds").await;
    other_kinds::install(&scene.namespace).await;
    let name = scene.namespace.name.as_str();
    // The chart's entry of Rollout is replaced by one with another lever.
    let entry = |index: u8, fields: [&str; 6]| {
        let keys = ["kind", "group", "version", "plural", "lever", "value"];
        let set =
            keys.iter().zip(fields).map(|(key, value)| format!("kinds[{index}].{key}={value}"));
        set.collect::<Vec<_>>().join(",")
    };
    let widget = entry(0, ["Widget", "none.example.com", "v1", "widgets", "/spec/off", "true"]);
    let rollout =
        entry(1, ["Rollout", "argoproj.io", "v1alpha1", "rollouts", "/spec/asleep", "true"]);
    let values = ["kindPresets={argoRollouts,flux}", &widget, &rollout];
    for template in ["kinds.yaml", "deployment.yaml"] {
        for mut object in chart::rendered(name, template, &values) {
            if object["kind"] == "Deployment" {
                object["spec"]["replicas"] = json!(0);
            }
            scene.kubectl(&["create", "--filename", &kubectl::file(&scene, &object)]);
        }
    }
    let check = ["check", "--operator-namespace", name];
    let problems = [
        &format!(
            "✓ the operator {name}/torpor holds kinds of other projects: Kustomization, HelmRelease\n"
        ),
        "! kind Widget of the table of kinds: the cluster does not serve widgets of none.example.com/v1",
        "! kind Rollout of the table of kinds: rollouts of argoproj.io/v1alpha1 have no field /spec/asleep",
        &format!(
            "! this program does not have the entries of the operator {name}/torpor for Widget, Rollout"
        ),
        &format!("kubectl get configmap torpor-kinds --namespace {name}"),
        &format!("✓ you may plan in namespace {name}"),
    ];
    torpor(&scene, &check).with(1, &problems);

    // What the hint says.
    let table = scene.kubectl(&[
        "get",
        "configmap",
        "torpor-kinds",
        r"--output=jsonpath={.data.kinds\.yaml}",
    ]);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-kinds.yaml"));
    std::fs::write(&file, table).expect("the table is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
    let command = command.args(check).args(["--namespace", name]).env("TORPOR_KINDS", &file);
    let checked = Ended::of(&command.output().expect("it runs")).with(1, &problems[..3]);
    assert!(!checked.out.contains("this program does not have"), "{}", checked.out);

    // A user without rights to a kind is told.
    scene.kubectl(&[
        "create",
        "role",
        "operator",
        "--verb=get,list",
        "--resource=configmaps,deployments.apps",
    ]);
    let account = format!("--serviceaccount={name}:default");
    scene.kubectl(&["create", "rolebinding", "operator", "--role=operator", &account]);
    let kubeconfig = rights::kubeconfig(&scene.namespace, "default").await.display().to_string();
    torpor(&scene, &[&check[..], &["--kubeconfig", &kubeconfig]].concat())
        .with(1, &["kustomizations.kustomize.toolkit.fluxcd.io", "rollouts.argoproj.io"]);
}

fn torpor_everywhere() -> String {
    let mut torpor = Command::new(env!("CARGO_BIN_EXE_torpor"));
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
