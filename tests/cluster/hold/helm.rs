//! Helm and held objects: the real Helm, with a release by three-way merge and one by server-side
//! apply.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod, Service},
};
use kube::{Api, Resource, api::DeleteParams, core::NamespaceResourceScope, runtime::watcher};
use serde_json::{Value, json};

use crate::support::{
    cluster::helm_or_error,
    hibernation::{Hibernation, asleep, woken},
    hold::until_held,
    kubectl::exactly,
    object::{of_workload, reason},
    scene::Scene,
    wait::{self, Watched},
    workload,
};

/// A chart with a Deployment and a Service named after the release, and a `ConfigMap`
/// `RELEASE-env`.
const CHART: &str = "tests/cluster/hold/helm/chart";
/// The release by three-way merge, the way of Helm 3.
const MERGED: &str = "merged";
/// The release by server-side apply, the default of Helm 4.
const APPLIED: &str = "applied";
/// Both releases. An upgrade or a rollback uses the method of the previous revision.
const RELEASES: [&str; 2] = [MERGED, APPLIED];

/// Runs Helm in the namespace.
fn helm(scene: &Scene, arguments: &[&str]) -> Result<String, String> {
    helm_or_error(&[&["--namespace", &scene.namespace.name], arguments].concat())
}

/// Upgrades a release to so many replicas and this version.
fn upgrade(
    scene: &Scene,
    release: &str,
    (replicas, version): (i32, &str),
    more: &[&str],
) -> Result<String, String> {
    let values = format!("replicas={replicas},version={version}");
    helm(scene, &[&["upgrade", release, CHART, "--set", &values], more].concat())
}

/// Returns the flags with which Helm overwrites held fields. A merge needs none.
fn forced(release: &str) -> &'static [&'static str] {
    if release == APPLIED { &["--force-conflicts"] } else { &[] }
}

/// Creates a namespace with both releases, one ready replica each.
async fn installed(test: &str) -> Scene {
    let scene = Scene::create(test).await;
    for (release, way) in [(MERGED, "--server-side=false"), (APPLIED, "--server-side=true")] {
        helm(&scene, &["install", release, CHART, way]).expect("it is installed");
    }
    ready(&scene).await;
    scene
}

async fn ready(scene: &Scene) {
    for release in RELEASES {
        workload::until_ready(&scene.namespace, release).await;
    }
}

/// Returns the name of the release's `ConfigMap`.
fn env(release: &str) -> String {
    format!("{release}-env")
}

/// Returns the spec of a Hibernation of both releases.
fn of_both() -> Value {
    json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "all": true}],
        "configMaps": [{"name": env(MERGED)}, {"name": env(APPLIED)}],
    })
}

/// Waits until both are held again and the status has the values that Helm has deployed.
async fn deployed_while_asleep(scene: &Scene, hibernation: &Hibernation, replicas: &str) {
    let reported = |status: &Value| {
        RELEASES.iter().all(|release| {
            let workload = of_workload(status, release);
            let message = workload["message"].as_str().unwrap_or_default();
            workload["original"] == replicas
                && message.contains(&format!("helm set replicas to {replicas}"))
                && message
                    .contains(&format!("in a rollout; reverted. The wake restores {replicas}"))
        })
    };
    hibernation.until("it reports what it wakes to, and why", reported).await;
    hibernation.until_phase("Hibernated").await;
    for release in RELEASES {
        until_held(scene, release).await;
        assert_eq!(data(scene, release).await["HIBERNATE_MODE"], "true", "{release}");
    }
}

async fn data(scene: &Scene, release: &str) -> BTreeMap<String, String> {
    let config_maps: Api<ConfigMap> = scene.namespace.api();
    config_maps.get(&env(release)).await.expect("it is there").data.unwrap_or_default()
}

/// Checks that a release is as its newest revision says.
async fn is(scene: &Scene, release: &str, (replicas, version): (i32, &str)) {
    let deployment = scene.deployment(release).await;
    assert_eq!(workload::replicas(&deployment), replicas, "{release}");
    let template = deployment.spec.and_then(|spec| spec.template.metadata);
    let annotations = template.and_then(|metadata| metadata.annotations);
    assert_eq!(annotations.unwrap_or_default()["version"], version, "{release}");
    let says =
        [("HIBERNATE_MODE", format!("no, version {version}")), ("OTHER", version.to_owned())];
    let says = says.map(|(key, value)| (key.to_owned(), value));
    assert_eq!(data(scene, release).await, BTreeMap::from(says), "{release}");
}

/// Returns the objects of a release, with their managedFields.
fn objects(scene: &Scene, release: &str) -> [Value; 3] {
    let config_map = format!("configmap/{}", env(release));
    [format!("deployment/{release}"), config_map, format!("service/{release}")]
        .map(|object| exactly(scene, &object))
}

#[tokio::test]
async fn a_helm_upgrade_while_asleep_is_what_it_wakes_as() {
    let scene = installed("helm-upgrade").await;
    let hibernation = asleep(&scene, of_both()).await;
    for release in RELEASES {
        // A held Deployment is ready for `--wait`.
        let more = [forced(release), &["--wait", "--timeout", "5m"]].concat();
        upgrade(&scene, release, (2, "2"), &more).expect("it is upgraded");
    }
    deployed_while_asleep(&scene, &hibernation, "2").await;
    woken(&hibernation).await;
    for release in RELEASES {
        is(&scene, release, (2, "2")).await;
        // Helm finds nothing that it would change.
        let before = objects(&scene, release);
        upgrade(&scene, release, (2, "2"), &[]).expect("it is upgraded");
        assert_eq!(objects(&scene, release), before, "{release}");
    }
}

#[tokio::test]
async fn a_helm_upgrade_to_the_same_values_while_asleep_leaves_all_exactly_as_it_was() {
    let scene = installed("helm-same").await;
    let before = RELEASES.map(|release| objects(&scene, release));
    let hibernation = asleep(&scene, of_both()).await;
    for release in RELEASES {
        upgrade(&scene, release, (1, "1"), forced(release)).expect("it is upgraded");
    }
    deployed_while_asleep(&scene, &hibernation, "1").await;
    woken(&hibernation).await;
    assert_eq!(RELEASES.map(|release| objects(&scene, release)), before);
    for release in RELEASES {
        upgrade(&scene, release, (2, "2"), &[]).expect("nobody is in the way of an upgrade");
        is(&scene, release, (2, "2")).await;
    }
}

#[tokio::test]
async fn a_helm_rollback_while_asleep_is_what_it_wakes_as() {
    let scene = installed("helm-rollback").await;
    for release in RELEASES {
        upgrade(&scene, release, (2, "2"), &[]).expect("it is upgraded");
    }
    ready(&scene).await;
    let hibernation = asleep(&scene, of_both()).await;
    for release in RELEASES {
        let back = [&["rollback", release, "1"], forced(release)].concat();
        helm(&scene, &back).expect("it is rolled back");
    }
    deployed_while_asleep(&scene, &hibernation, "1").await;
    woken(&hibernation).await;
    for release in RELEASES {
        is(&scene, release, (1, "1")).await;
    }
}

#[tokio::test]
async fn helm_that_applies_without_force_is_refused_while_asleep_and_not_once_awake() {
    let scene = installed("helm-refused").await;
    upgrade(&scene, APPLIED, (1, "2"), &[]).expect("it is upgraded");
    ready(&scene).await;
    let before = objects(&scene, APPLIED);
    let hibernation = asleep(&scene, of_both()).await;
    let held = objects(&scene, APPLIED);
    for refused in [
        upgrade(&scene, APPLIED, (2, "3"), &[]),
        upgrade(&scene, APPLIED, (1, "2"), &[]),
        helm(&scene, &["rollback", APPLIED, "1"]),
        // A release that is merged so far, and is to be applied from now on.
        upgrade(&scene, MERGED, (2, "3"), &["--server-side=true"]),
    ] {
        let said = refused.expect_err("it is refused");
        for words in ["conflict with \"torpor\"", ".spec.replicas", ".data.HIBERNATE_MODE"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    assert_eq!(objects(&scene, APPLIED), held, "nothing was changed");
    woken(&hibernation).await;
    assert_eq!(objects(&scene, APPLIED), before);
    is(&scene, MERGED, (1, "1")).await;
    for release in RELEASES {
        upgrade(&scene, release, (2, "3"), &["--server-side=true"]).expect("it is upgraded");
        is(&scene, release, (2, "3")).await;
    }
}

/// Waits until only these objects of a kind are left.
async fn until_only<K>(scene: &Scene, names: &[&str])
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Watched,
{
    let all: Api<K> = scene.namespace.api();
    wait::until_all(&all, watcher::Config::default(), "nothing else", |objects| {
        workload::names(objects) == names
    })
    .await;
}

#[tokio::test]
async fn what_helm_uninstalls_while_asleep_is_gone_and_holds_nothing_up() {
    let scene = installed("helm-uninstall").await;
    let hibernation = asleep(&scene, of_both()).await;
    helm(&scene, &["uninstall", MERGED, APPLIED]).expect("they are uninstalled");
    until_only::<Deployment>(&scene, &[]).await;
    until_only::<ReplicaSet>(&scene, &[]).await;
    until_only::<Pod>(&scene, &[]).await;
    until_only::<Service>(&scene, &[]).await;
    until_only::<ConfigMap>(&scene, &["kube-root-ca.crt"]).await;
    let nothing = |status: &Value| {
        ["counts", "workloads", "originals"].iter().all(|of_what| status[of_what].is_null())
            && reason(status, "Stalled") == "ConfigMapNotFound"
    };
    hibernation.until("it holds nothing, and misses what it names", nothing).await;
    let deleted = hibernation.api.delete(&hibernation.name, &DeleteParams::default()).await;
    deleted.expect("the Hibernation is deleted");
    wait::until_gone(&hibernation.api, &hibernation.name).await;
}
