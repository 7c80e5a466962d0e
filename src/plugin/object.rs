//! A Hibernation or a MaintenanceWindow.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde_json::Value;

use super::name::Kind;
use crate::api::condition::{READY, RECONCILING, STALLED, true_condition};
use crate::api::hold_state::HoldState;
use crate::api::{Hibernation, MaintenanceWindow};
use crate::hold::record::Holder;
use crate::schedule::time_zone;
use crate::transition::spec::Spec;
use crate::{hibernation, maintenance};

/// A Hibernation or a MaintenanceWindow.
#[derive(Clone, Debug)]
pub(super) enum Object {
    /// A Hibernation.
    Hibernation(Box<Hibernation>),
    /// A MaintenanceWindow.
    MaintenanceWindow(Box<MaintenanceWindow>),
}

/// How an object stands, by its conditions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// The operator has not observed the spec yet.
    Unobserved,
    /// The cluster is as the spec asks.
    Ready,
    /// The operator works, or waits.
    Reconciling,
    /// A person is needed.
    Stalled,
    /// None of these, as with `spec.dryRun`.
    Other,
}

impl Object {
    /// Parses an object. Fails with the reason.
    pub(super) fn parse(kind: Kind, object: Value) -> Result<Self, String> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let parsed = match kind {
            Kind::Hibernation => {
                serde_json::from_value(object).map(|parsed| Self::Hibernation(Box::new(parsed)))
            }
            Kind::MaintenanceWindow => serde_json::from_value(object)
                .map(|parsed| Self::MaintenanceWindow(Box::new(parsed))),
        };
        parsed.map_err(|error| format!("{kind} {name} does not parse: {error}"))
    }

    /// Returns the kind.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Hibernation(_) => Kind::Hibernation,
            Self::MaintenanceWindow(_) => Kind::MaintenanceWindow,
        }
    }

    /// Returns the metadata.
    pub(super) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Hibernation(hibernation) => &hibernation.metadata,
            Self::MaintenanceWindow(window) => &window.metadata,
        }
    }

    /// Returns the name.
    pub(super) fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Returns the namespace; empty for an object of a file that names none.
    pub(super) fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// Returns kind and name, such as `Hibernation cornice`.
    pub(super) fn display(&self) -> String {
        format!("{} {}", self.kind(), self.name())
    }

    /// Returns the object as an argument, such as `hib/cornice`.
    pub(super) fn argument(&self) -> String {
        format!("{}/{}", self.kind().short(), self.name())
    }

    /// Returns the object as a holder.
    pub(super) fn holder(&self) -> Holder {
        Holder {
            kind: self.kind().as_str().to_owned(),
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// Returns whether the object is being deleted.
    pub(super) fn is_deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Returns whether the status describes the current spec.
    pub(super) fn is_observed(&self) -> bool {
        let observed = match self {
            Self::Hibernation(object) => object.status.as_ref().and_then(|s| s.observed_generation),
            Self::MaintenanceWindow(object) => {
                object.status.as_ref().and_then(|s| s.observed_generation)
            }
        };
        observed.is_some() && observed == self.meta().generation
    }

    /// Returns the phase, as the status has it.
    pub(super) fn phase(&self) -> Option<String> {
        match self {
            Self::Hibernation(object) => {
                object.status.as_ref()?.phase.map(|phase| format!("{phase:?}"))
            }
            Self::MaintenanceWindow(object) => {
                object.status.as_ref()?.phase.map(|phase| format!("{phase:?}"))
            }
        }
    }

    /// Returns the message of the status.
    pub(super) fn message(&self) -> &str {
        let message = match self {
            Self::Hibernation(object) => object.status.as_ref().and_then(|s| s.message.as_deref()),
            Self::MaintenanceWindow(object) => {
                object.status.as_ref().and_then(|s| s.message.as_deref())
            }
        };
        message.unwrap_or_default()
    }

    /// Returns the conditions.
    pub(super) fn conditions(&self) -> &[Condition] {
        let conditions = match self {
            Self::Hibernation(object) => object.status.as_ref().map(|s| &s.conditions),
            Self::MaintenanceWindow(object) => object.status.as_ref().map(|s| &s.conditions),
        };
        conditions.map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns whether a condition is True.
    fn is(&self, kind: &str) -> bool {
        true_condition(self.conditions(), kind).is_some()
    }

    /// Returns whether a person is needed. An awake object may be ready, and stalled because of its next hibernation.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_observed() && self.is(STALLED)
    }

    /// Returns how the object stands.
    pub(super) fn standing(&self) -> Standing {
        if !self.is_observed() {
            Standing::Unobserved
        } else if self.is(READY) {
            Standing::Ready
        } else if self.is(STALLED) {
            Standing::Stalled
        } else if self.is(RECONCILING) {
            Standing::Reconciling
        } else {
            Standing::Other
        }
    }

    /// Returns the hold under way, or none before the operator has observed the object.
    pub(super) fn hold(&self) -> Option<&HoldState> {
        match self {
            Self::Hibernation(object) => object.status.as_ref().map(|status| &status.hold),
            Self::MaintenanceWindow(object) => object.status.as_ref().map(|status| &status.hold),
        }
    }

    /// Returns the next transition of the status: the state after it, and its time.
    pub(super) fn next(&self) -> Option<(&'static str, Timestamp)> {
        use crate::api::maintenance_window::WindowState;
        use crate::api::schedule::DesiredState;
        match self {
            Self::Hibernation(object) => {
                let next = object.status.as_ref()?.next_transition.as_ref()?;
                let state = match next.state {
                    DesiredState::Hibernated => "Hibernated",
                    DesiredState::Awake => "Awake",
                };
                Some((state, next.at.0))
            }
            Self::MaintenanceWindow(object) => {
                let next = object.status.as_ref()?.next_transition.as_ref()?;
                let state = match next.state {
                    WindowState::InMaintenance => "InMaintenance",
                    WindowState::Operating => "Operating",
                };
                Some((state, next.at.0))
            }
        }
    }

    /// Returns the time zone of the schedule; none without a schedule, or where the zone is unknown.
    pub(super) fn zone(&self) -> Option<TimeZone> {
        let name = match self {
            Self::Hibernation(object) => &object.spec.schedule.as_ref()?.time_zone,
            Self::MaintenanceWindow(object) => &object.spec.schedule.as_ref()?.time_zone,
        };
        time_zone(name)
    }

    /// Returns the valid part of the spec that selects workloads; or the reason why the spec is not valid.
    pub(super) fn selection(&self) -> Result<Spec, String> {
        match self {
            Self::Hibernation(object) => hibernation::validate::validate(&object.spec)
                .map(|valid| valid.hold)
                .map_err(|invalid| invalid.to_string()),
            Self::MaintenanceWindow(object) => maintenance::validate::validate(&object.spec)
                .map(|valid| valid.hold)
                .map_err(|invalid| invalid.to_string()),
        }
    }
}
