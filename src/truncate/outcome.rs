//! How a run ends.

use std::collections::BTreeMap;

use super::connect::ConnectError;
use super::facts::Oid;
use super::fault::Fault;
use super::plan::Plan;
use super::report::Refusal;
use super::sessions::Sessions;

/// The result of a run, or of a dry run.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// The closed list.
    pub(super) plan: Plan,
    /// Bytes per table: freed by a truncation, occupied for a plan.
    pub(super) bytes: BTreeMap<Oid, u64>,
    /// Sessions that would keep a truncation back.
    pub(super) sessions: Sessions,
}

/// The reasons for which a run ends without a result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// Refused for good.
    #[error("refused")]
    Refused(Vec<Refusal>),
    /// Kept back by other sessions.
    #[error("kept back")]
    KeptBack(Sessions),
    /// Failed for now.
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
