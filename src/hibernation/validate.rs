//! Validates the spec of a Hibernation: after this only valid types exist. The schema and CEL refuse at
//! admission what the object alone tells; this refuses what needs a search, such as a cron expression
//! that never fires.

use crate::api::hibernation::{HibernationSpec, OnDelete};
use crate::api::reason::Reason;
use crate::api::schedule::DesiredState;
use crate::schedule::{Basis, Override, ScheduleError};
use crate::transition::spec::{self, Fields, Spec};

/// A valid spec.
#[derive(Debug)]
pub struct Valid {
    /// `spec.state` or `spec.schedule`.
    pub basis: Basis,
    /// `spec.override`.
    pub override_: Option<Override>,
    /// Workloads, ConfigMaps, database and deals.
    pub hold: Spec,
    /// `spec.onDelete`.
    pub on_delete: OnDelete,
    /// `spec.dryRun`.
    pub dry_run: bool,
}

/// Why a spec is not valid, and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A part that both kinds have.
    #[error(transparent)]
    Hold(#[from] spec::Invalid),
    /// State, schedule or override.
    #[error("schedule: {0}")]
    Schedule(#[from] ScheduleError),
}

impl Invalid {
    /// Returns the reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Hold(invalid) => invalid.reason(),
            Self::Schedule(_) => Reason::ScheduleInvalid,
        }
    }
}

/// Validates a spec.
pub fn validate(spec: &HibernationSpec) -> Result<Valid, Invalid> {
    // A field that is added and not read here fails to compile.
    let HibernationSpec {
        state,
        schedule,
        override_,
        workloads,
        config_maps,
        wake,
        database,
        deals,
        on_delete,
        dry_run,
        progress_deadline,
    } = spec;
    Ok(Valid {
        basis: Basis::parse(*state, schedule.as_ref())?,
        override_: override_.as_ref().map(Override::parse).transpose()?,
        hold: Spec::validate(&Fields {
            workloads,
            config_maps,
            database: database.as_ref(),
            deals: deals.as_ref(),
            max_concurrent: wake.as_ref().and_then(|wake| wake.max_concurrent),
            progress_deadline,
        })?,
        on_delete: *on_delete,
        dry_run: *dry_run,
    })
}

impl Valid {
    /// Returns the spec of an object that is being deleted and whose own is not valid.
    pub fn unreadable(spec: &HibernationSpec) -> Self {
        Self {
            basis: Basis::State(DesiredState::Awake),
            override_: None,
            hold: Spec::empty(&spec.progress_deadline),
            on_delete: spec.on_delete,
            dry_run: false,
        }
    }
}
