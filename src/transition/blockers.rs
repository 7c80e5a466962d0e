//! The reasons why a workload is not down, not restarted or not ready yet, by name. None means that it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use super::observe::{Observed, PodView, Pods};
use super::spec::Spec;
use super::standing::counted;
use crate::hold::subject::Subject;

/// Returns why a stopped workload is not down yet: its controller has not observed the hold, or pods are
/// left. `status.replicas` is 0 long before the last pod is gone, so that the pods themselves count.
pub fn blockers(subject: &Subject, pods: &Pods) -> Vec<String> {
    let facts = &subject.facts;
    let mut blockers = Vec::new();
    match subject.kind.name {
        "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet" => {
            if facts.observed_generation < subject.generation {
                blockers.push(format!(
                    "{}: its controller has not observed the hold yet",
                    subject.display()
                ));
            } else if facts.status_replicas > 0 {
                let replicas = counted(facts.status_replicas, "replica");
                blockers.push(format!("{} still has {replicas}", subject.display()));
            }
        }
        "Job" if !facts.finished && !facts.suspended => {
            blockers
                .push(format!("{}: its controller has not suspended it yet", subject.display()));
        }
        _ => {}
    }
    for set in pods.replica_sets.iter().filter(|set| owned_by(set, subject)) {
        if set.facts.replicas > 0
            || set.facts.status_replicas > 0
            || set.facts.observed_generation < set.generation
        {
            blockers.push(format!("{} is not at 0 replicas yet", set.display()));
        }
    }
    if subject.kind.name == "CronJob" {
        let unfinished = pods.jobs.iter().filter(|job| owned_by(job, subject));
        blockers.extend(
            unfinished
                .filter(|job| !job.facts.finished)
                .map(|job| format!("{} is still running", job.display())),
        );
    }
    blockers.extend(pods_of(subject, pods).map(|pod| {
        let how = if pod.terminating { "terminating" } else { "running" };
        format!("Pod {} is still {how}", pod.name)
    }));
    blockers
}

/// Returns why a restarted workload does not run with the new configuration alone yet.
pub fn not_restarted(subject: &Subject, pods: &Pods, digest: &str) -> Vec<String> {
    let facts = &subject.facts;
    let mut waits = Vec::new();
    if facts.observed_generation < subject.generation {
        waits.push(format!("{}: its controller has not observed the hold yet", subject.display()));
    }
    waits.extend(of_old_template(subject, pods, digest));
    waits.extend(not_ready(subject, false));
    waits
}

/// Returns the ReplicaSets and pods of a restarted workload that still have the configuration from before.
/// They write as ever.
pub fn of_old_template(subject: &Subject, pods: &Pods, digest: &str) -> Vec<String> {
    let mut waits = Vec::new();
    for set in pods.replica_sets.iter().filter(|set| owned_by(set, subject)) {
        if set.facts.configuration.as_deref() != Some(digest)
            && (set.facts.replicas > 0 || set.facts.observed_generation < set.generation)
        {
            waits.push(format!("{} of the old template is not at 0 replicas yet", set.display()));
        }
    }
    waits.extend(
        pods_of(subject, pods)
            .filter(|pod| pod.configuration.as_deref() != Some(digest))
            .map(|pod| format!("Pod {} of the old template is still running", pod.name)),
    );
    waits
}

/// Returns why a woken workload is not ready yet. A workload with `action: Restart` `must_roll`: until
/// then it runs with the configuration of its hibernation.
pub fn not_ready(subject: &Subject, must_roll: bool) -> Option<String> {
    let facts = &subject.facts;
    let seen = facts.observed_generation >= subject.generation;
    let (ready, wanted) = match subject.kind.name {
        "Deployment" | "StatefulSet" | "ReplicaSet" => (facts.available, facts.replicas),
        "DaemonSet" => (facts.available, facts.desired),
        _ => return None,
    };
    // A paused Deployment, and one that was in the middle of a rollout, is ready when as many pods
    // are available as it wants; all others have them of the newest template too.
    let held_back = if facts.paused {
        Some("it is paused")
    } else if facts.strategy == "OnDelete" {
        Some("its update strategy is OnDelete")
    } else if facts.partition > 0 {
        Some("its rolling update is partitioned")
    } else {
        None
    };
    let rolled = subject.kind.name == "ReplicaSet"
        || (held_back.is_some() && !must_roll)
        || facts.updated >= wanted;
    // More than wanted: pods of the template before are there, and may be those that are available.
    let alone = (facts.paused && !must_roll) || facts.status_replicas == wanted;
    if seen && ready >= wanted && rolled && alone {
        return None;
    }
    let name = subject.display();
    if seen && ready >= wanted {
        let why = held_back.map(|why| format!(", but {why}")).unwrap_or_default();
        let updated = facts.updated;
        return Some(format!(
            "{name} is still rolling out: {updated} of {wanted} replicas are updated{why}"
        ));
    }
    Some(format!("{name} has {ready} of {wanted} replicas ready"))
}

fn owned_by(child: &Subject, owner: &Subject) -> bool {
    child.controller.as_ref().is_some_and(|controller| controller.uid == owner.uid)
}

/// Returns the running pods of a workload: their chain of owners leads to it, or leads nowhere and they
/// match its selector.
fn pods_of<'a>(subject: &'a Subject, pods: &'a Pods) -> impl Iterator<Item = &'a PodView> {
    let selector = subject.facts.selector.as_ref().and_then(pod_selector);
    // A CronJob's Job may be gone before its pods are; its name begins with the CronJob's.
    let of_cron_job = |pod: &PodView| {
        let job = pod.controller.as_ref().filter(|controller| controller.kind == "Job");
        let rest = job.and_then(|job| job.name.strip_prefix(subject.name.as_str()));
        subject.kind.name == "CronJob" && rest.is_some_and(|rest| rest.starts_with('-'))
    };
    pods.running.iter().filter(move |pod| match root(pod, pods) {
        Root::Is(uid) => uid == subject.uid,
        Root::Unknown if of_cron_job(pod) => true,
        Root::Unknown => selector.as_ref().is_some_and(|s| s.matches(&pod.labels)),
    })
}

fn pod_selector(labels: &LabelSelector) -> Option<Selector> {
    Selector::try_from(labels.clone()).ok().filter(|selector| !selector.selects_all())
}

enum Root<'a> {
    Is(&'a str),
    Unknown,
}

fn root<'a>(pod: &'a PodView, pods: &'a Pods) -> Root<'a> {
    let Some(controller) = &pod.controller else { return Root::Unknown };
    let between = match controller.kind.as_str() {
        "ReplicaSet" => &pods.replica_sets,
        "Job" => &pods.jobs,
        _ => return Root::Is(&controller.uid),
    };
    match between.iter().find(|s| s.uid == controller.uid) {
        Some(Subject { controller: Some(owner), .. }) => Root::Is(&owner.uid),
        Some(_) => Root::Is(&controller.uid),
        None => Root::Unknown,
    }
}

/// Returns whether every workload that the spec names is held at zero already, by any holder.
pub fn all_is_stopped(spec: &Spec, observed: &Observed) -> bool {
    let stopped = |subject: &Subject| {
        let Some(record) = subject.found.record() else { return false };
        subject.kind.stop_wants().iter().all(|(pointer, zero)| {
            let held = record.levers.get(pointer);
            let now = subject.levers.get(pointer).and_then(|lever| lever.value.as_ref());
            held.is_some_and(|held| held.holders.iter().any(|holding| holding.value == *zero))
                && now == Some(zero)
        })
    };
    let mut named = observed.workloads.iter().filter(|subject| spec.entry_for(subject).is_some());
    named.clone().next().is_some() && named.all(stopped)
}
