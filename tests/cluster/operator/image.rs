//! The image is one static binary without a base system. DNS, TLS roots and time zones work in it.

use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::api::LogParams;
use serde_json::json;

use crate::support::{
    cluster, database::Database, hibernation::Hibernation, namespace::Namespace, operator::IMAGE,
    wait, workload,
};

/// Runs `torpor truncate --dry-run` as a Job. Returns its exit status and its output.
async fn dry_run(namespace: &Namespace, name: &str, url: &str) -> (i32, String) {
    let secret: Secret = workload::object(json!({
        "metadata": {"name": name},
        "stringData": {"DATABASE_URL": url},
    }));
    workload::create(namespace, &secret).await;
    let job: Job = workload::object(json!({
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "truncate",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["truncate", "--dry-run", "--scope", "Runtime"],
                    "envFrom": [{"secretRef": {"name": name}}],
                    "volumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": true}],
                }],
                "volumes": [{"name": "ca", "configMap": {"name": "ca", "optional": true}}],
            },
        }},
    }));
    workload::create(namespace, &job).await;
    let pods = wait::until_all::<Pod>(
        &namespace.api(),
        workload::labelled(name),
        &format!("{name}: its pod ends"),
        |pods| pods.iter().any(|pod| exit_code(pod).is_some()),
    )
    .await;
    let pod = pods.iter().find(|pod| exit_code(pod).is_some()).expect("one has ended");
    let output = namespace
        .api::<Pod>()
        .logs(&workload::names(std::slice::from_ref(pod))[0], &LogParams::default())
        .await
        .expect("the log is read");
    (exit_code(pod).unwrap_or_default(), output)
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    Some(containers.first()?.state.as_ref()?.terminated.as_ref()?.exit_code)
}

#[tokio::test]
async fn names_of_services_are_resolved() {
    let namespace = Namespace::create("image-dns").await;
    let database = Database::seeded(&namespace).await;
    let full = cluster::variable("TORPOR_POSTGRES_SERVICE");
    let url = database.url("");
    let (code, output) = dry_run(&namespace, "full-name", &url).await;
    assert_eq!(code, 0, "{output}");
    // By the search list of the pod, as most applications write it.
    let short = full.trim_end_matches(".cluster.local").trim_end_matches(".svc");
    let (code, output) = dry_run(&namespace, "short-name", &url.replace(&full, short)).await;
    assert_eq!(code, 0, "{output}");
}

#[tokio::test]
async fn a_certificate_is_verified_against_the_roots_that_are_given_and_refused_by_the_public_ones()
{
    let namespace = Namespace::create("image-tls").await;
    let database = Database::seeded(&namespace).await;
    let authority = std::fs::read_to_string(cluster::variable("TORPOR_POSTGRES_CA"));
    let ca: ConfigMap = workload::object(json!({
        "metadata": {"name": "ca"},
        "data": {"ca.crt": authority.expect("TORPOR_POSTGRES_CA is readable")},
    }));
    workload::create(&namespace, &ca).await;
    let given = database.url("?sslmode=verify-full&sslrootcert=/ca/ca.crt");
    let (code, output) = dry_run(&namespace, "given-roots", &given).await;
    assert_eq!(code, 0, "{output}");
    let public = database.url("?sslmode=verify-full");
    let (code, output) = dry_run(&namespace, "public-roots", &public).await;
    assert_ne!(code, 0, "{output}");
    assert!(output.to_lowercase().contains("certificate"), "{output}");
}

#[tokio::test]
async fn the_operator_in_its_pod_knows_time_zones() {
    let namespace = Namespace::create("image-zones").await;
    run_in_a_pod(&namespace).await;
    // Kathmandu is 5:45 ahead of UTC, so a rounded offset would fail.
    let zone = "Asia/Kathmandu";
    let spec = json!({
        "schedule": {
            "timeZone": zone,
            "rules": [{"hibernate": "0 12 * * *", "wake": "0 0 * * *"}],
        },
        "workloads": [{"kind": "Deployment", "name": "none"}],
    });
    let hibernation = Hibernation::create(&namespace, "zoned", spec).await;
    let status =
        hibernation.until("nextTransition", |status| status["nextTransition"].is_object()).await;
    let at: Timestamp =
        status["nextTransition"]["at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
    let local = Zoned::new(at, TimeZone::get(zone).expect("a zone"));
    assert!(local.hour() % 12 == 0 && local.minute() == 0, "{local}");
}

/// Runs the operator from its image, with all rights in the namespace.
async fn run_in_a_pod(namespace: &Namespace) {
    let account: ServiceAccount = workload::object(json!({"metadata": {"name": "torpor"}}));
    workload::create(namespace, &account).await;
    let binding: RoleBinding = workload::object(json!({
        "metadata": {"name": "torpor"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "torpor", "namespace": namespace.name}],
    }));
    workload::create(namespace, &binding).await;
    let labels = BTreeMap::from([("app", "torpor")]);
    let arguments = [
        "run",
        "--watch-namespace",
        &namespace.name,
        "--lease-namespace",
        &namespace.name,
        "--image",
        IMAGE,
    ];
    let operator: Deployment = workload::object(json!({
        "metadata": {"name": "torpor"},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": "torpor",
                "containers": [{
                    "name": "torpor",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "args": arguments,
                }],
            },
        }},
    }));
    workload::create(namespace, &operator).await;
}
