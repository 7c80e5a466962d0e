//! The part of an ask plan that its owner writes, and that has to come back as it was.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Address;
use crate::wire;

/// What is offered, and for how much. It is written as the `AskPlan` of the protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Terms {
    /// Nanoseconds, as the protocol has them; 0 is Spot.
    pub duration_ns: u64,
    /// Per second, a decimal number.
    pub price: String,
    pub blacklist: Option<Address>,
    /// The only consumer that may accept it.
    pub counterparty: Option<Address>,
    pub identity: u64,
    /// Base64.
    pub tag: String,
    /// As the client wrote them, but for what the worker doesn't know.
    pub resources: Value,
}

impl Terms {
    /// Whole seconds.
    pub fn duration(&self) -> u64 {
        self.duration_ns / 1_000_000_000
    }
}

impl TryFrom<Value> for Terms {
    type Error = String;

    fn try_from(plan: Value) -> Result<Self, String> {
        wire::read::terms(&wire::read::Fields::of(&plan)?)
    }
}

impl From<Terms> for Value {
    fn from(terms: Terms) -> Self {
        wire::write::terms(&terms).into()
    }
}
