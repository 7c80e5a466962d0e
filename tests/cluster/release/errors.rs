//! `torpor release` reports errors in its message and its exit status.

use std::path::PathBuf;

use serde_json::json;

use crate::support::{
    cluster,
    hibernation::{asleep, of},
    release::{Ended, command, torpor},
    scene::Scene,
    workload::{self},
};

/// Writes a kubeconfig of a service account without any rights.
fn nobody(scene: &Scene) -> PathBuf {
    let admin = std::fs::read_to_string(cluster::variable("KUBECONFIG")).expect("it is readable");
    let token = scene.kubectl(&["create", "token", "default"]);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{}.kubeconfig", scene.namespace.name));
    std::fs::write(&path, admin).expect("it can be written");
    let file = path.display().to_string();
    for arguments in [
        vec!["set-credentials", "nobody", "--token", token.trim()],
        vec!["set-context", "--current", "--user", "nobody"],
    ] {
        cluster::kubectl(&[&["--kubeconfig", &file, "config"], arguments.as_slice()].concat());
    }
    path
}

#[tokio::test]
async fn errors_are_in_the_message_and_the_exit_status() {
    let mut scene = Scene::create("release-wrong").await;
    scene.deploy("worker", 1).await;
    asleep(&scene, of("worker", json!({}))).await;
    scene.operator.kill9();
    torpor(&scene, &[]).with(2, &["hib/NAME", "--all --dry-run"]);
    torpor(&scene, &["worker"]).with(2, &["write hib/NAME or mw/NAME", "deployment/worker"]);
    torpor(&scene, &["unicorn/worker"]).with(2, &["configmap"]);
    torpor(&scene, &["--all", "hib/project"]).with(2, &["cannot be used with"]);
    torpor(&scene, &["--all", "--context", "nowhere"]).with(1, &["no cluster", "nowhere"]);
    torpor(&scene, &["--help"])
        .with(0, &["torpor release -n cornice --all --dry-run", "Exit status"]);
    let run = |arguments: &[&str], kubeconfig: &str| {
        Ended::of(&command(arguments).env("KUBECONFIG", kubeconfig).output().expect("it runs"))
    };
    let elsewhere = ["--namespace", "there-is-no-such", "--all"];
    run(&elsewhere, &cluster::variable("KUBECONFIG")).with(1, &["no namespace there-is-no-such"]);
    let here = ["--namespace", scene.namespace.name.as_str(), "--all"];
    run(&here, "/nonexistent").with(1, &["no cluster"]);
    let said = ["cannot list deployments", "forbidden"];
    run(&here, &nobody(&scene).display().to_string()).with(1, &said);
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 0, "nothing was changed");
}

#[test]
fn arguments_are_refused_before_any_cluster_is_asked() {
    let ended = command(&["-n", "x", "hib/"]).env("KUBECONFIG", "/nonexistent").output();
    let ended = Ended::of(&ended.expect("it runs"));
    let ended = ended.with(2, &["hib/NAME"]);
    assert_eq!(ended.out, "");
}
