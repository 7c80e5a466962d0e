//! Reconciles MaintenanceWindows.

use jiff::{SignedDuration, Timestamp};

use super::kind::{Common, InvalidSpec, Managed};
use crate::api::deals::DealsStatus;
use crate::api::event::Event;
use crate::api::hold_state::{DatabaseState, HoldState};
use crate::api::maintenance_window::{MaintenanceWindow, MaintenanceWindowStatus};
use crate::maintenance::validate::{Valid, validate};
use crate::maintenance::{plan, status};
use crate::metrics::ObjectKind;
use crate::transition::plan::{Input, Plan};
use crate::transition::spec::Spec;

impl Managed for MaintenanceWindow {
    const KIND: ObjectKind = ObjectKind::MaintenanceWindow;
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

    fn hold_state(status: &MaintenanceWindowStatus) -> &HoldState {
        &status.hold
    }

    fn database_state(_status: &MaintenanceWindowStatus) -> Option<&DatabaseState> {
        None
    }

    fn deals(status: &MaintenanceWindowStatus) -> Option<&DealsStatus> {
        status.deals.as_ref()
    }

    fn common(status: &mut MaintenanceWindowStatus) -> Common<'_> {
        let MaintenanceWindowStatus { observed_generation, message, conditions, .. } = status;
        Common { observed_generation, message, conditions }
    }

    fn plan(input: Input<Valid, MaintenanceWindowStatus>) -> Plan<MaintenanceWindowStatus> {
        plan::plan(input)
    }

    fn longest_deletion(&self) -> SignedDuration {
        self.unreadable().hold.deadline
    }

    fn phase(status: &MaintenanceWindowStatus) -> Option<String> {
        status.phase.map(|phase| format!("{phase:?}"))
    }

    fn next_change(
        _valid: &Valid,
        status: &MaintenanceWindowStatus,
        _now: Timestamp,
    ) -> Option<Timestamp> {
        status.next_transition.as_ref().map(|next| next.at.0)
    }

    fn events(before: &MaintenanceWindowStatus, after: &MaintenanceWindowStatus) -> Vec<Event> {
        status::events(before, after)
    }
}
