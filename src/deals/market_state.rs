//! What a plan knows of a market, and what it asks of the market: inputs and outputs of
//! [`super::clearance`].

use jiff::{SignedDuration, Timestamp};

use super::client::Observation;
use super::types::{Drain, Order};
use crate::api::deals::{DealsSource, ForwardDeals, OpenOrders, SpotDeals};
use crate::api::reason::Reason;

/// `spec.deals`, with defaults filled in.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The server of the Deals API.
    pub source: DealsSource,
    /// Effect of an open Forward deal.
    pub forward: ForwardDeals,
    /// Effect of an open Spot deal.
    pub spot: SpotDeals,
    /// Effect of an open order.
    pub orders: OpenOrders,
    /// Whether withdrawn orders are offered again.
    pub restore_orders: bool,
    /// Time between the two observations that must find nothing open.
    pub settle: SignedDuration,
}

impl Rules {
    /// Returns the rules for an object that has `status.deals` and no `spec.deals` any more.
    pub(super) fn without_spec() -> Self {
        Self {
            source: DealsSource::default(),
            forward: ForwardDeals::default(),
            spot: SpotDeals::default(),
            orders: OpenOrders::default(),
            restore_orders: true,
            settle: SignedDuration::ZERO,
        }
    }
}

/// A market could not be observed or notified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MarketError {
    /// Reason of the condition.
    pub reason: Reason,
    /// Message of the condition.
    pub message: String,
}

impl MarketError {
    /// Creates the refusal by `forward: Refuse`. `open` is the message of [`Verdict::Forward`].
    pub fn forward_refused(open: &str) -> Self {
        let message = format!(
            "`spec.deals.forward` is Refuse and {open}. Choose a start after that, or set `forward: Wait`"
        );
        Self { reason: Reason::ForwardDealsRefused, message }
    }

    /// Returns whether the error stays until a person changes something.
    pub fn needs_a_person(&self) -> bool {
        matches!(
            self.reason,
            Reason::AuthorityUnusable
                | Reason::BridgeNameTaken
                | Reason::InvalidRestore
                | Reason::NoServiceAccount
                | Reason::PayloadsTooLarge
                | Reason::PayloadsUnreadable
                | Reason::ServiceNotFound
                | Reason::ServiceUnusable
        )
    }
}

/// A market as one iteration observed it.
#[derive(Clone, Debug)]
pub struct MarketObservation {
    /// Open deals, orders and tasks.
    pub commitments: Result<Observation, MarketError>,
    /// Orders that are withdrawn and have to be offered again, from the ConfigMap of payloads.
    pub withdrawn: Result<Vec<Order>, MarketError>,
}

/// An announcement that the market has accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notified {
    /// The start of the maintenance.
    Start(Timestamp),
    /// The withdrawal of the announcement.
    Withdrawal,
}

/// State of a market between iterations. It lives in memory; a restart costs a few calls more.
#[derive(Clone, Debug, Default)]
pub struct MarketState {
    /// End of the first observation of a row that found nothing open.
    pub first_clean: Option<Timestamp>,
    /// The last drain, and the time of its answer.
    pub drained: Option<(Drain, Timestamp)>,
    /// The announcement that the market has accepted since the last plan.
    pub notified: Option<Notified>,
    /// Whether the bridge does not know the key by which the cluster signs tokens.
    pub unknown_key: bool,
    /// Whether the bridge's objects are deleted.
    pub bridge_gone: bool,
    /// Error of the last call, and the time of the next attempt.
    pub error: Option<(MarketError, Timestamp)>,
    /// Number of failed calls in a row.
    pub failures: u32,
    /// Time of the next observation before a start.
    pub next_observation: Option<Timestamp>,
}

impl MarketState {
    /// Records a failed call. Each failure in a row doubles the delay before the next attempt.
    pub fn failed(&mut self, error: MarketError, now: Timestamp) {
        self.failures += 1;
        let delay = SignedDuration::from_secs(1 << self.failures.min(5));
        self.error = Some((error, now + delay));
    }

    /// Records a successful call.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.error = None;
    }

    /// Returns whether the delay after a failed call is over.
    pub(super) fn may_call(&self, now: Timestamp) -> bool {
        self.error.as_ref().is_none_or(|(_, until)| *until <= now)
    }

    /// Returns the delay before the next iteration: the rest of the delay after a failed call, else 1 s.
    pub fn retry_after(&self, now: Timestamp) -> SignedDuration {
        match &self.error {
            Some((_, until)) if *until > now => until.duration_since(now),
            _ => SignedDuration::from_secs(1),
        }
    }
}

/// One call about a market. Calls run in the order of the plan; a failed call ends the iteration.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Announces the start of the maintenance to the market.
    Announce(Timestamp),
    /// Withdraws the announcement.
    WithdrawAnnouncement,
    /// Saves the payloads from which these orders can be offered again.
    SavePayloads(Vec<Order>),
    /// Withdraws orders, closes deals or ends tasks.
    Drain(Drain),
    /// Offers these orders again.
    Resume(Vec<Order>),
    /// Deletes the saved payloads: every order is back on the market.
    DeletePayloads,
    /// Deletes the bridge's objects.
    RemoveBridge,
}

/// Whether the deals permit a start.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Two observations have found nothing open.
    Clear,
    /// Forward deals are open; the last of them ends at that time.
    Forward(Timestamp, String),
    /// A rule of the spec forbids to close an open deal or order.
    Refused(MarketError),
    /// A drain runs, or a second observation is due.
    Draining(String),
    /// The market could not be observed.
    Unknown(MarketError),
}

/// The condition `DealsClear`.
#[derive(Clone, Debug, PartialEq)]
pub struct DealsClear {
    /// `None` is `Unknown`.
    pub status: Option<bool>,
    /// The reason.
    pub reason: Reason,
    /// The message.
    pub message: String,
}
