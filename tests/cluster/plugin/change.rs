//! `torpor hibernate` and `torpor wake`.

use serde_json::{Value, json};

use crate::support::{
    hibernation::{self, Hibernation, of},
    kubectl,
    plugin::{kubectl_torpor, torpor},
    scene::Scene,
    window::Window,
    workload,
};

/// A schedule that hibernates once a year.
fn once_a_year() -> Value {
    json!({"rules": [{"hibernate": "0 0 1 1 *", "wake": "0 1 1 1 *"}]})
}

fn override_of(scene: &Scene) -> Value {
    let text = scene.kubectl(&["get", "hib", "project", "--output=json"]);
    let object: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
    object["spec"]["override"].clone()
}

/// Takes over the fields of each manager whose name begins with `kubectl`, and applies the manifest, as Flux does at each
/// sync.
fn sync_as_flux(scene: &Scene, manifest: &Value) {
    let show = ["get", "hib", "project", "--show-managed-fields", "--output=json"];
    let text = scene.kubectl(&show);
    let object: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
    let mut entries = object["metadata"]["managedFields"].clone();
    for entry in entries.as_array_mut().expect("there are managers") {
        let is_kubectl = entry["manager"].as_str().is_some_and(|name| name.starts_with("kubectl"));
        if is_kubectl && entry["subresource"].is_null() {
            entry["manager"] = json!("kustomize-controller");
            entry["operation"] = json!("Apply");
        }
    }
    let patch = json!([{"op": "replace", "path": "/metadata/managedFields", "value": entries}]);
    scene.kubectl(&["patch", "hib", "project", "--type=json", "--patch", &patch.to_string()]);
    let file = kubectl::file(scene, manifest);
    let apply = ["apply", "--server-side", "--force-conflicts"];
    scene.kubectl(
        &[&apply[..], &["--field-manager=kustomize-controller", "--filename", &file]].concat(),
    );
}

#[tokio::test]
async fn a_scheduled_project_is_hibernated_for_a_while_and_a_deploy_leaves_that_alone() {
    let scene = Scene::create("plugin-for").await;
    scene.deploy("worker", 2).await;
    let mut spec = of("worker", json!({"schedule": once_a_year()}));
    spec.as_object_mut().expect("a spec").remove("state");
    let manifest = json!({
        "apiVersion": "torpor.dev/v1alpha1", "kind": "Hibernation",
        "metadata": {"name": "project"}, "spec": spec,
    });
    kubectl::apply(&scene, "kustomize-controller", &manifest);
    let project = Hibernation::existing(&scene.namespace, "project");
    project.until_phase("Awake").await;

    for mode in ["client", "server"] {
        let dry_run = format!("--dry-run={mode}");
        torpor(&scene, &["hibernate", "project", "--for", "2h", &dry_run])
            .with(0, &["Hibernated until", "dry run)"]);
        assert_eq!(override_of(&scene), Value::Null, "{mode} changes nothing");
    }
    torpor(&scene, &["hibernate", "project", "--for", "2h", "--wait", "--timeout", "2m"])
        .with(0, &["Hibernation project: Hibernated until", "then Awake", "is Hibernated"]);
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 0);
    assert_eq!(override_of(&scene)["state"], "Hibernated");
    sync_as_flux(&scene, &manifest);
    assert_eq!(override_of(&scene)["state"], "Hibernated", "the source has no override");

    torpor(&scene, &["status", "project"]).with(
        0,
        &["by spec.override; then Awake", "deployment/worker", "2 replicas", "0 replicas"],
    );
    torpor(&scene, &["hibernate", "project"]).with(0, &["nothing to change: spec.override"]);
    kubectl_torpor(&scene, &["wake", "hib/project", "--wait", "--timeout", "2m"])
        .with(0, &["Hibernation project: Awake, by spec.schedule", "is Awake"]);
    assert_eq!(override_of(&scene), Value::Null);
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 2);
    torpor(&scene, &["history", "project"]).with(0, &["Hibernated", "Awake"]);
}

#[tokio::test]
async fn without_a_schedule_the_state_changes_and_its_source_is_named() {
    let scene = Scene::create("plugin-state").await;
    scene.deploy("worker", 1).await;
    let manifest = json!({
        "apiVersion": "torpor.dev/v1alpha1", "kind": "Hibernation",
        "metadata": {"name": "project"}, "spec": of("worker", json!({"state": "Awake"})),
    });
    kubectl::apply(&scene, "kustomize-controller", &manifest);
    let project = Hibernation::existing(&scene.namespace, "project");
    project.until_phase("Awake").await;
    torpor(&scene, &["wake", "project"]).with(0, &["nothing to change: spec.state is Awake"]);
    torpor(&scene, &["wake", "project", "--for", "2h"])
        .with(1, &["Awake after that time too", "torpor hibernate project --for DURATION"]);
    kubectl_torpor(&scene, &["wake", "project", "--for", "2h"])
        .with(1, &["kubectl torpor hibernate project --for DURATION"]);
    for (arguments, says) in [
        (["--for", "0s"], "no time in the future"),
        (["--for", "soon"], "write for example 2h"),
        (["--until", "2020-01-01T00:00:00Z"], "is in the past"),
    ] {
        torpor(&scene, &[&["hibernate", "project"], &arguments[..]].concat()).with(1, &[says]);
    }
    torpor(&scene, &["hibernate", "project"])
        .with(0, &["Hibernated, by spec.state", "kustomize-controller manages spec.state too"]);
    project.until_phase("Hibernated").await;
    hibernation::woken(&project).await;

    Window::create(
        &scene.namespace,
        "gpu",
        json!({"after": "1h", "workloads": [{"kind": "Deployment", "name": "worker"}]}),
    )
    .await;
    torpor(&scene, &["hibernate", "gpu"]).with(1, &["kubectl patch mw/gpu", r#""after":"0s""#]);
    torpor(&scene, &["wake", "mw/gpu"]).with(1, &["suspend"]);
}
