//! How a run ends.

use std::collections::BTreeMap;

use super::connect::ConnectError;
use super::facts::Oid;
use super::fault::Fault;
use super::plan::Plan;
use super::report::Refusal;

/// What was done, or would be.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// The closed list.
    pub(super) plan: Plan,
    /// Bytes per table: freed by a truncation, occupied for a plan.
    pub(super) bytes: BTreeMap<Oid, u64>,
}

/// Why it ended without that.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// For good.
    #[error("refused")]
    Refused(Vec<Refusal>),
    /// For now.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<ConnectError> for Stop {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Fault(fault) => Self::Fault(fault),
            ConnectError::Refused(refusal) => Self::Refused(vec![refusal]),
        }
    }
}
