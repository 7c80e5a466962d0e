//! The operator's side of the Deals API.

use jiff::Timestamp;

use super::types::Commitments;

/// One look at a market, by the operator's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// What binds.
    pub commitments: Commitments,
    /// When it was asked.
    pub began: Timestamp,
    /// When it was answered.
    pub complete: Timestamp,
}
