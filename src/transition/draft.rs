//! A transition in the making.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::contest;
use super::plan::{Action, Confirmations, HoldInput, Next, Place, Transition};
use super::role::Role;
use super::standing::Standing;
use super::step::Step;
use super::writers::Writers;
use crate::api::hold_state::{DatabaseState, Episode, EpisodeTruncation, HoldState, StepStatus};
use crate::api::reason::Reason;
use crate::api::text::few;
use crate::hold::record::Found;
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::Subject;

/// A transition in the making.
pub(super) struct Draft<'a> {
    pub(super) input: HoldInput<'a>,
    pub(super) state: HoldState,
    pub(super) database: DatabaseState,
    pub(super) place: Place,
    pub(super) standing: Standing,
    pub(super) completed: Option<String>,
    pub(super) begun: bool,
    pub(super) actions: Vec<Action>,
    pub(super) next: Next,
    pub(super) confirmations: Confirmations,
    /// Workloads and ConfigMaps that have a role.
    pub(super) roles: Vec<(&'a Arc<Subject>, Role<'a>)>,
    /// Whether a workload runs that should be down.
    pub(super) writer_observed: bool,
    /// The possible writers in the observed pods; none where no truncation is pending.
    pub(super) possible_writers: Option<Writers>,
    /// When the next plan follows at the latest: a write is sent again, or a contest ends.
    pub(super) again_in: Option<SignedDuration>,
    /// The records of the holds that the plan takes, by their key in `status.originals`.
    pub(super) intended: BTreeMap<String, StatusRecord>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(input: HoldInput<'a>) -> Self {
        let mut draft = Self {
            input,
            state: input.state.clone(),
            database: input.database.clone(),
            place: input.place,
            standing: Standing::Reached,
            completed: None,
            begun: false,
            actions: Vec::new(),
            next: Next::AtRest,
            confirmations: input.memory.confirmations.clone(),
            roles: Vec::new(),
            writer_observed: false,
            possible_writers: None,
            again_in: None,
            intended: BTreeMap::new(),
        };
        let observed = input.observed;
        draft.roles = observed
            .workloads
            .iter()
            .chain(&observed.config_maps)
            .filter_map(|subject| Some((subject, draft.role(subject)?)))
            .collect();
        draft.adopt();
        draft
    }

    /// Adopts the episode of holds that the object finds as its own and has no record of: it was
    /// restored from a backup, or created again after `onDelete: Keep`.
    fn adopt(&mut self) {
        if self.state.episode.is_some() {
            return;
        }
        let holder = self.input.holder;
        let id = self.roles.iter().find_map(|(subject, _)| {
            let record = subject.found.record()?;
            record.holdings(holder).next().map(|(_, holding)| holding.episode.clone())
        });
        if let Some(id) = id {
            let cause = "Torpor found holds of this object and adopted them".to_owned();
            self.state.episode = Some(self.episode(id, cause, EpisodeTruncation::Unknown));
        }
    }

    /// Returns an episode that begins now.
    pub(super) fn episode(
        &self,
        id: String,
        cause: String,
        truncation: EpisodeTruncation,
    ) -> Episode {
        Episode {
            id,
            began: Time(self.input.now),
            cause,
            asleep_since: None,
            waking_since: None,
            truncation,
            attempt: None,
            earlier_not_after: None,
        }
    }

    pub(super) fn episode_id(&self) -> String {
        self.state.episode.as_ref().map(|episode| episode.id.clone()).unwrap_or_default()
    }

    /// Returns whether everything has been down in this episode.
    pub(super) fn was_down(&self) -> bool {
        self.state.episode.as_ref().is_some_and(|episode| episode.asleep_since.is_some())
    }

    /// Returns whether the episode is not over: until the fence of its wake has passed, nothing has
    /// come back.
    pub(super) fn is_under_way(&self, episode: &Episode) -> bool {
        episode.waking_since.is_none() || self.waking_fence() != Step::Done
    }

    /// Drops the records of objects that an earlier episode released and nobody has observed since.
    pub(super) fn forget_released(&mut self) {
        for (subject, _) in self.roles.clone() {
            let recorded = self.recorded(subject).unwrap_or_default();
            if subject.found == Found::Nothing && recorded.still_held(subject).levers.is_empty() {
                self.forget(subject);
            }
        }
    }

    /// Records the step that the transition is at, and how it stands.
    pub(super) fn at(&mut self, name: &str, outcome: Step) {
        let now = self.input.now;
        let step = self.state.step.get_or_insert_with(|| StepStatus {
            name: name.to_owned(),
            since: Time(now),
            overdue: Vec::new(),
        });
        if step.name != name {
            name.clone_into(&mut step.name);
            step.since = Time(now);
        }
        let waited = now.duration_since(step.since.0);
        match outcome {
            Step::Done => {}
            Step::Act => {
                self.progress(Reason::Writing, format!("{name}: writing"));
                self.next = Next::Again;
            }
            Step::Observe => self.next = Next::ObservePods,
            Step::Confirm(left) => {
                let message = format!("{name}: no pods left; confirming in {} s", seconds(left));
                self.progress(Reason::Settling, message);
                self.next = Next::Wait(left);
            }
            Step::Wait(objects) => {
                let message = format!("{name}: {}", few(&objects));
                let deadline = self.input.spec.deadline;
                if waited > deadline {
                    let message = format!("{message}; progressDeadline ({deadline:#}) has passed");
                    self.stall(Reason::ProgressDeadlineExceeded, message);
                } else {
                    self.progress(Reason::Waiting, message);
                }
                self.next = Next::Wait(patience(waited));
            }
            Step::Blocked { reason, message } => {
                self.stall(reason, message);
                self.next = Next::Wait(SignedDuration::from_secs(15));
            }
        }
    }

    /// Says that field managers keep changing what is held, until the contest or the episode ends.
    fn report_contests(&mut self) {
        if !matches!(self.place, Place::GoingDown | Place::Down) {
            return;
        }
        let Some((message, ends)) = self.contested() else { return };
        self.plan_again_in(Some(ends.duration_since(self.input.now)));
        if !self.standing.is_stalled() {
            self.stall(Reason::Contested, message);
        }
    }

    /// Returns the message of the contests about held objects, and when the first of them ends; none where
    /// there are none.
    pub(super) fn contested(&self) -> Option<(String, Timestamp)> {
        let now = self.input.now;
        let mut ends = Vec::new();
        let mut contested = Vec::new();
        for (subject, _) in self.roles.iter().filter(|(subject, _)| self.holds(subject)) {
            let object = subject.display();
            let Some(contest) = self.input.memory.contests.get(&object) else { continue };
            let Some(end) = contest::ends(&contest.writes).filter(|end| now < *end) else {
                continue;
            };
            ends.push(end);
            contested.push((object, &contest.writes));
        }
        let first = ends.into_iter().min()?;
        Some((contest::describe(&contested), first))
    }

    pub(super) fn progress(&mut self, reason: Reason, message: String) {
        self.standing = Standing::Progressing { reason, message };
    }

    pub(super) fn stall(&mut self, reason: Reason, message: String) {
        self.standing = Standing::Stalled { reason, message };
    }

    /// Completes the state and returns the transition.
    pub(super) fn finish(mut self) -> Transition {
        if self.next != Next::ObservePods {
            self.report_workloads();
        }
        if self.next == Next::AtRest && !self.actions.is_empty() {
            self.next = Next::Again;
        }
        self.report_contests();
        self.plan_again_in(self.lists_again());
        if let Some(wait) = self.again_in {
            self.next = self.next.or_wait(wait);
        }
        let at_rest = matches!(self.place, Place::Down | Place::Up);
        let unmatched = if at_rest { self.unmatched() } else { Vec::new() };
        let warning = match (self.place == Place::Down).then(|| self.warning()).flatten() {
            Some(Step::Blocked { message, .. }) => Some(message),
            _ => None,
        };
        Transition {
            selects_nothing: at_rest && self.selects_nothing(),
            unmatched,
            warning,
            state: self.state,
            database: self.database,
            place: self.place,
            standing: self.standing,
            completed: self.completed,
            begun: self.begun,
            actions: self.actions,
            next: self.next,
            confirmations: self.confirmations,
        }
    }
}

/// Returns whole seconds, rounded up.
fn seconds(duration: SignedDuration) -> i64 {
    duration.as_secs() + i64::from(duration.subsec_nanos() > 0)
}

/// Returns how soon to observe again: often at first, rarely when it takes long.
fn patience(waited: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(match waited.as_secs() {
        ..30 => 1,
        30..300 => 3,
        _ => 10,
    })
}
