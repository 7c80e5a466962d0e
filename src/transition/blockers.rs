//! The reasons why a workload is not down, not restarted or not ready yet, by name. None means that it is.

use std::sync::Arc;

use kube::core::{Selector, SelectorExt};

use super::chain::Chain;
use super::observe::{Observed, Pods};
use super::pod::PodView;
use super::spec::Spec;
use super::targets::controlled;
use crate::api::text::{counted, few};
use crate::hold::subject::Subject;

/// Returns why a stopped workload is not down yet: its controller has not observed the hold, or more pods are
/// left than it keeps. `status.replicas` is 0 long before the last pod is gone, so that the pods themselves count.
pub fn blockers(subject: &Subject, pods: &Pods, keeps: i64) -> Vec<String> {
    let facts = &subject.facts;
    let mut blockers = Vec::new();
    match subject.kind.name {
        "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet" => {
            if facts.observed_generation < subject.generation {
                blockers.push(format!(
                    "{}: its controller has not observed the hold yet",
                    subject.display()
                ));
            } else if facts.status_replicas > keeps {
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
    if let Some(table) = &facts.table {
        let observes = subject.kind.entry.as_ref().is_some_and(|entry| entry.down.is_none());
        if observes && table.observes && facts.observed_generation < subject.generation {
            let name = subject.display();
            blockers.push(format!("{name}: its controller has not observed the hold yet"));
        }
        blockers.extend(table.not_down.iter().map(|why| format!("{}: {why}", subject.display())));
        blockers.extend(controlled(subject, pods));
    }
    blockers.extend(left_of(subject, pods, keeps));
    blockers
}

/// Returns the ReplicaSets, Jobs and pods of a workload that are left, where these are more pods than it keeps.
pub(super) fn left_of(subject: &Subject, pods: &Pods, keeps: i64) -> Vec<String> {
    let mut blockers = Vec::new();
    let sets = || pods.replica_sets.iter().filter(|set| owned_by(set, subject));
    let has = |set: &Subject| set.facts.replicas.max(set.facts.status_replicas);
    let too_many = sets().map(has).sum::<i64>() > keeps;
    for set in sets() {
        if (too_many && has(set) > 0) || set.facts.observed_generation < set.generation {
            blockers.push(format!("{} is not at {} yet", set.display(), counted(keeps, "replica")));
        }
    }
    if subject.kind.name == "CronJob" || subject.kind.entry.is_some() {
        let unfinished = pods.jobs.iter().filter(|job| owned_by(job, subject));
        blockers.extend(unfinished.filter(|job| !job.facts.finished).map(|job| {
            match job.facts.active {
                0 => format!("{} has not finished, and has no pod yet", job.display()),
                _ => format!("{} is still running", job.display()),
            }
        }));
    }
    let stay = pods_of(subject, pods).filter(|pod| !pod.terminating).count();
    let too_many = i64::try_from(stay).is_ok_and(|stay| stay > keeps);
    let ends = pods_of(subject, pods).filter(|pod| pod.terminating || too_many);
    blockers.extend(ends.map(|pod| {
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
        _ => return table_not_ready(subject),
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
    let why = facts.trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    Some(format!("{name} has {ready} of {wanted} replicas ready{why}"))
}

/// Returns why an object of the table is not ready yet. One that was stopped before its hold is as it was.
fn table_not_ready(subject: &Subject) -> Option<String> {
    let facts = &subject.facts;
    let table = facts.table.as_ref().filter(|_| !subject.rests())?;
    let name = subject.display();
    if table.observes && facts.observed_generation < subject.generation {
        return Some(format!("{name}: its controller has not observed the release yet"));
    }
    (!table.not_ready.is_empty()).then(|| format!("{name} is not ready: {}", few(&table.not_ready)))
}

/// Returns whether the owner references lead from one to the other, with `controller: true` or without: many
/// clients that start a CronJob by hand leave it out.
fn owned_by(child: &Subject, owner: &Subject) -> bool {
    child.owners.iter().any(|of| of.uid == owner.uid)
}

/// Returns why a pod of a workload does not start, or cannot be created, in Kubernetes' own words.
pub fn pod_trouble(subject: &Subject, pods: &Pods) -> Option<String> {
    let of_a_pod = pods_of(subject, pods)
        .find_map(|pod| pod.trouble.as_ref().map(|why| format!("Pod {}: {why}", pod.name)));
    of_a_pod.or_else(|| pods.failed_creates.get(&subject.uid).cloned())
}

/// Returns the running pods of a workload.
fn pods_of<'a>(subject: &'a Subject, pods: &'a Pods) -> impl Iterator<Item = &'a PodView> {
    let selector = selector(subject);
    let of = move |pod: &&PodView| {
        is_pod_of(subject, selector.as_ref(), pod, &Chain::of(&pod.owners, pods))
    };
    pods.running.iter().filter(of)
}

/// Returns whether a pod is one of a workload: its chain of owners leads to the workload, or leads nowhere and
/// the pod matches the selector of the workload.
pub(super) fn is_pod_of(
    subject: &Subject,
    selector: Option<&Selector>,
    pod: &PodView,
    chain: &Chain,
) -> bool {
    // A CronJob's Job may be gone before its pods are; its name begins with the CronJob's.
    let of_cron_job = || {
        let mut jobs = pod.owners.iter().filter(|owner| owner.kind == "Job");
        subject.kind.name == "CronJob"
            && jobs.any(|job| {
                let rest = job.name.strip_prefix(subject.name.as_str());
                rest.is_some_and(|rest| rest.starts_with('-'))
            })
    };
    chain.leads_to(&subject.uid)
        || (chain.ends_nowhere()
            && (of_cron_job() || selector.is_some_and(|selector| selector.matches(&pod.labels))))
}

/// Returns the selector of a workload's pods.
pub(super) fn selector(subject: &Subject) -> Option<Selector> {
    let labels = subject.facts.selector.clone()?;
    Selector::try_from(labels).ok().filter(|selector| !selector.selects_all())
}

/// Returns whether every workload that the spec names is held at zero already, by any holder.
pub fn all_is_stopped(spec: &Spec, observed: &Observed) -> bool {
    let stopped = |subject: &Arc<Subject>| {
        let Some(record) = subject.found.record() else { return false };
        subject.kind.stop_wants().iter().all(|(pointer, zero)| {
            let held = record.levers.get(pointer);
            let now = subject.value(pointer);
            held.is_some_and(|held| held.holders.iter().any(|holding| holding.value == *zero))
                && now == Some(zero)
        })
    };
    let mut named = observed.workloads.iter().filter(|subject| spec.entry_for(subject).is_some());
    named.clone().next().is_some() && named.all(stopped)
}
