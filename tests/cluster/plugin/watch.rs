//! `torpor watch` and its exit status.

use serde_json::json;

use crate::support::{
    hibernation::{Hibernation, of},
    plugin::torpor,
    scene::Scene,
    window::Window,
    workload::{self, STUBBORN},
};

#[tokio::test]
async fn a_watch_ends_with_the_result_as_its_exit_status() {
    let mut scene = Scene::create("plugin-watch").await;
    scene.deploy("worker", 1).await;
    let stubborn = workload::deployment("stubborn", 1, STUBBORN, 60);
    workload::create(&scene.namespace, &stubborn).await;
    workload::until_ready(&scene.namespace, "stubborn").await;
    let space = &scene.namespace;
    Hibernation::create(space, "project", of("worker", json!({}))).await;
    torpor(&scene, &["watch", "project", "--timeout", "2m"])
        .with(0, &["1 of 1 down", "✓ Hibernation project is Hibernated"]);

    Hibernation::create(space, "stuck", of("stubborn", json!({"progressDeadline": "5s"}))).await;
    torpor(&scene, &["watch", "stuck", "--timeout", "2m"])
        .with(1, &["✗ Hibernation stuck is stalled in phase Hibernating", "terminating"]);

    let suspended = json!({"after": "1h", "duration": "1h", "workloads": []});
    Window::create(space, "project", suspended).await;
    torpor(&scene, &["watch", "mw/project", "--timeout", "2m"]).with(0, &["is Scheduled"]);
    torpor(&scene, &["watch", "project"]).with(1, &["write hib/project or mw/project"]);
    torpor(&scene, &["watch", "nothing"])
        .with(1, &["there is no", "there: hib/project, hib/stuck"]);

    scene.operator.kill9();
    Hibernation::create(&scene.namespace, "alone", of("worker", json!({}))).await;
    torpor(&scene, &["watch", "alone", "--timeout", "2s"])
        .with(1, &["not as asked after 2 s", "is the operator running?"]);
}
