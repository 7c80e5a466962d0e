//! The workloads that an object of the table controls: those that it owns, and the one that it references. They are
//! down because it is, and their pods count as its own.

use std::sync::Arc;

use super::blockers::left_of;
use super::chain::Chain;
use super::draft::Draft;
use super::observe::Pods;
use super::role::Role;
use crate::api::text::counted;
use crate::hold::lever::{Kind, REPLICAS};
use crate::hold::subject::Subject;
use crate::hold::table_facts::TargetRef;

/// Returns why an object of the table is not down yet, by the workloads that it controls. Its pods are another
/// matter.
pub(super) fn controlled(subject: &Subject, pods: &Pods) -> Vec<String> {
    let owned =
        pods.controllers.iter().filter(|of| Chain::of(&of.owners, pods).leads_to(&subject.uid));
    let mut blockers: Vec<String> = owned.filter_map(runs).collect();
    if let Some(target) = target(subject, pods) {
        blockers.extend(runs(target));
        blockers.extend(left_of(target, pods, 0));
    }
    blockers
}

/// Returns the workload that an object references.
fn target<'a>(subject: &Subject, pods: &'a Pods) -> Option<&'a Subject> {
    let reference = subject.facts.table.as_ref()?.target.as_ref()?;
    pods.controllers.iter().chain(&pods.replica_sets).find(|of| reference.names(of))
}

/// Returns why a workload may have pods, also where it has none at the moment.
fn runs(subject: &Subject) -> Option<String> {
    let facts = &subject.facts;
    let name = subject.display();
    match subject.kind.name {
        _ if subject.kind.stop == Some(REPLICAS) && facts.replicas > 0 => {
            Some(format!("{name} still asks for {}", counted(facts.replicas, "replica")))
        }
        "DaemonSet" if facts.desired > 0 => {
            Some(format!("{name} still asks for {}", counted(facts.desired, "pod")))
        }
        "CronJob" if !subject.rests() => Some(format!("{name} is not suspended")),
        _ => None,
    }
}

impl Draft<'_> {
    /// Returns a sentence for each object of the table that is to be stopped and that references an object of a kind
    /// that Torpor does not know: nothing tells whether its pods are down.
    pub(super) fn unknown_targets(&self) -> Vec<String> {
        let unknown = |target: &TargetRef| !Kind::workloads().any(|kind| target.is_kind(kind));
        let stopped = self.roles.iter().filter(|(_, role)| matches!(role, Role::Stop(_)));
        stopped
            .filter_map(|(subject, _)| {
                let target = subject.facts.table.as_ref()?.target.as_ref()?;
                unknown(target).then(|| {
                    format!(
                        "{} may have pods: {} scales it, and Torpor does not know the kind {}; add {} to the chart's \
                         value kinds",
                        target.display(),
                        subject.display(),
                        target.kind,
                        target.kind,
                    )
                })
            })
            .collect()
    }

    /// Returns a sentence for each workload that is to be stopped and that an object of the table scales which is
    /// not: it would scale the workload up again.
    pub(super) fn scaled_by(&self) -> Vec<String> {
        let all = &self.input.observed.workloads;
        let stopped = |of: &Subject| {
            let mut roles = self.roles.iter();
            roles.any(|(subject, role)| subject.uid == of.uid && matches!(role, Role::Stop(_)))
        };
        // One that others hold, or that was stopped before, scales nothing.
        let scales = |of: &&Arc<Subject>| of.kind.scales() && !of.rests() && !of.rests_otherwise();
        let rivals = all.iter().filter(|of| scales(of) && !of.deleting && !stopped(of));
        rivals
            .filter_map(|rival| {
                let target = rival.facts.table.as_ref()?.target.as_ref()?;
                let workload = all.iter().find(|of| target.names(of) && stopped(of))?;
                let (workload, rival) = (workload.display(), rival.display());
                Some(format!(
                    "{workload} is scaled by {rival}, which would scale it up again: name {rival} in spec.workloads \
                     instead of {workload}"
                ))
            })
            .collect()
    }
}
