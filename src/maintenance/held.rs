//! What a window holds, planned as of a Hibernation that is asked to sleep or to be awake.

use super::plan::{Action, Draft};
use crate::api::condition::{READY, STALLED};
use crate::api::hibernation::{HibernationStatus, Phase};
use crate::hibernation::plan::{self as hold, Next, Standing};
use crate::hibernation::validate as hold_spec;

/// How the hold stands.
pub(super) struct Held {
    /// Whether it is as it was asked to be.
    pub(super) settled: bool,
    pub(super) standing: Standing,
}

impl Draft<'_> {
    /// What a Hibernation with that spec would do.
    pub(super) fn planned(&self, spec: &hold_spec::Valid) -> hold::Plan {
        let before = HibernationStatus {
            phase: self.status.episode.as_ref().map(|_| Phase::Hibernating),
            episode: self.status.episode.clone(),
            step: self.input.status.step.clone(),
            workloads: self.status.workloads.clone(),
            counts: self.status.counts,
            originals: self.status.originals.clone(),
            ..HibernationStatus::default()
        };
        hold::plan(hold::Input {
            holder: self.input.holder,
            generation: self.input.generation,
            deleting_since: None,
            // When it comes and goes is decided here.
            finalizer: true,
            spec,
            status: &before,
            seen: self.input.seen,
            looks: &self.looks,
            contests: self.input.contests,
            now: self.input.now,
            fresh_id: self.input.fresh_id,
            held_off: false,
        })
    }

    /// Plans what is held, as of a Hibernation with that spec.
    pub(super) fn hold(&mut self, spec: &hold_spec::Valid) -> Held {
        let planned = self.planned(spec);
        let finalizer = |action: &hold::Action| {
            matches!(action, hold::Action::AddFinalizer | hold::Action::RemoveFinalizer)
        };
        let acts: Vec<_> = planned
            .actions
            .into_iter()
            .filter(|action| !finalizer(action))
            .map(Action::Hold)
            .collect();
        let nothing = planned.next == Next::Again && acts.is_empty();
        self.actions.extend(acts);
        self.next = if nothing { Next::Settled } else { planned.next };
        self.looks = planned.looks;
        let HibernationStatus {
            episode,
            step,
            workloads,
            counts,
            originals,
            conditions,
            phase,
            ..
        } = planned.status;
        self.status.episode = episode;
        self.status.step = step;
        self.status.workloads = workloads;
        self.status.counts = counts;
        self.status.originals = originals;
        let truth = |kind: &str| {
            conditions
                .iter()
                .find(|condition| condition.type_ == kind && condition.status == "True")
        };
        let at_rest = matches!(phase, Some(Phase::Awake | Phase::Hibernated));
        let standing = if let Some(stalled) = truth(STALLED) {
            Standing::Stalled { reason: stalled.reason.clone(), message: stalled.message.clone() }
        } else if at_rest && truth(READY).is_some() {
            Standing::Settled
        } else {
            let message = planned.status.message.unwrap_or_default();
            Standing::Progressing { reason: "Waiting", message }
        };
        let settled = match phase {
            // Awake is awake, whatever would be in the way of going down.
            Some(Phase::Awake) => true,
            Some(Phase::Hibernated) => standing == Standing::Settled,
            _ => false,
        };
        Held { settled, standing }
    }
}
