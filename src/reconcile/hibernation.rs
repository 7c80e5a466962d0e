//! Reconciles Hibernations.

use jiff::{SignedDuration, Timestamp};

use super::kind::{Common, InvalidSpec, Managed};
use crate::api::deals::DealsStatus;
use crate::api::event::Event;
use crate::api::hibernation::{Hibernation, HibernationStatus, Phase};
use crate::api::hold_state::{DatabaseState, HoldState};
use crate::hibernation::validate::{Valid, validate};
use crate::hibernation::{plan, status};
use crate::metrics::{Metrics, ObjectKind};
use crate::schedule::Resolved;
use crate::transition::DAILY;
use crate::transition::attempt::{CLOCK_MARGIN, TIME_LIMIT};
use crate::transition::plan::{Input, Plan};
use crate::transition::spec::Spec;

impl Managed for Hibernation {
    const KIND: ObjectKind = ObjectKind::Hibernation;
    type Valid = Valid;

    fn validate(&self) -> Result<Valid, InvalidSpec> {
        validate(&self.spec).map_err(|invalid| InvalidSpec::new(invalid.reason(), &invalid))
    }

    fn unreadable(&self) -> Valid {
        Valid::unreadable(&self.spec)
    }

    fn hold_spec(valid: &Valid) -> &Spec {
        &valid.hold
    }

    fn hold_state(status: &HibernationStatus) -> &HoldState {
        &status.hold
    }

    fn database_state(status: &HibernationStatus) -> Option<&DatabaseState> {
        Some(&status.database)
    }

    fn deals(status: &HibernationStatus) -> Option<&DealsStatus> {
        status.deals.as_ref()
    }

    fn common(status: &mut HibernationStatus) -> Common<'_> {
        let HibernationStatus { observed_generation, message, conditions, .. } = status;
        Common { observed_generation, message, conditions }
    }

    fn plan(input: Input<Valid, HibernationStatus>) -> Plan<HibernationStatus> {
        plan::plan(input)
    }

    /// Besides the deadline, a truncation that nobody could observe may still have to end.
    fn longest_deletion(&self) -> SignedDuration {
        self.unreadable().hold.deadline.saturating_add(TIME_LIMIT + CLOCK_MARGIN)
    }

    fn phase(status: &HibernationStatus) -> Option<String> {
        status.phase.map(|phase| format!("{phase:?}"))
    }

    fn next_change(valid: &Valid, status: &HibernationStatus, now: Timestamp) -> Option<Timestamp> {
        let next = Resolved::at(&valid.basis, valid.override_.as_ref(), now).next;
        let awake = status.phase == Some(Phase::Awake) && valid.hold.database.is_some();
        let preflight = status.database.preflight.as_ref().filter(|_| awake);
        let again = preflight.and_then(|preflight| Some(preflight.passed_at.as_ref()?.0 + DAILY));
        next.map(|next| next.at).into_iter().chain(again).min()
    }

    fn events(before: &HibernationStatus, after: &HibernationStatus) -> Vec<Event> {
        status::events(before, after)
    }

    fn measure(before: &HibernationStatus, after: &HibernationStatus, metrics: &Metrics) {
        let (before, after) = (&before.database.truncation, &after.database.truncation);
        if let Some(done) = after.as_ref().filter(|_| before != after) {
            metrics.truncated(done.bytes_freed.try_into().unwrap_or_default());
        }
    }
}
