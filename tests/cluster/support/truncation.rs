//! The Jobs that the operator makes for a database.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::runtime::watcher;

use super::{namespace::Namespace, wait, workload};

/// Whether a Job truncates tables. The preflight's Job has `--dry-run`.
pub(crate) fn empties(job: &Job) -> bool {
    let arguments = arguments(job);
    arguments.iter().any(|argument| argument == "truncate")
        && !arguments.iter().any(|argument| argument.starts_with("--dry-run"))
}

/// Whether a Job is a preflight.
pub(crate) fn is_preflight(job: &Job) -> bool {
    arguments(job).iter().any(|argument| argument.starts_with("--dry-run"))
}

/// Returns command and arguments of a Job.
pub(crate) fn arguments(job: &Job) -> Vec<String> {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
    containers
        .iter()
        .flat_map(|container| container.command.iter().chain(&container.args).flatten())
        .cloned()
        .collect()
}

/// Whether a Job has succeeded.
pub(crate) fn succeeded(job: &Job) -> bool {
    job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0) > 0
}

/// Waits until a Job of the namespace is as wanted.
pub(crate) async fn until_job(
    namespace: &Namespace,
    what: &str,
    wanted: impl Fn(&Job) -> bool,
) -> Job {
    let jobs = wait::until_all::<Job>(
        &namespace.api(),
        watcher::Config::default(),
        &format!("a Job that {what}, in {}", namespace.name),
        |jobs| jobs.iter().any(&wanted),
    )
    .await;
    jobs.into_iter().find(wanted).expect("there is one")
}

/// Watches for `long`, and panics if a truncation starts.
pub(crate) async fn assert_not_started_within(namespace: &Namespace, long: Duration) {
    wait::never_within::<Job>(
        &namespace.api(),
        watcher::Config::default(),
        long,
        "the truncation starts",
        |jobs| jobs.iter().any(empties),
    )
    .await;
}

/// Returns the existing Jobs that have truncated tables.
pub(crate) async fn done(namespace: &Namespace) -> Vec<String> {
    let jobs = namespace.api::<Job>().list(&kube::api::ListParams::default()).await;
    let mut jobs = jobs.expect("jobs are listed").items;
    jobs.retain(|job| empties(job) && succeeded(job));
    workload::names(&jobs)
}
