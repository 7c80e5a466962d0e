//! The DWH: an index of the chain's deals, which can lag behind it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::chain::Deal;
use super::{Address, Model};

/// The largest page that the DWH gives.
pub const MAX_LIMIT: u64 = 200;

/// Every state that a deal has had, and up to when they have been read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    states: BTreeMap<u64, Vec<(Timestamp, Deal)>>,
    /// The index knows what happened up to then. It never moves back.
    read_until: Timestamp,
}

impl Default for Index {
    fn default() -> Self {
        Self { states: BTreeMap::new(), read_until: Timestamp::MIN }
    }
}

impl Index {
    /// Notes what a deal is from now on.
    pub fn record(&mut self, now: Timestamp, deal: &Deal) {
        self.states.entry(deal.id).or_default().push((now, deal.clone()));
    }

    /// Reads the chain, but for the last `lag`.
    fn read(&mut self, now: Timestamp, lag: SignedDuration) {
        let until = now.saturating_sub(lag).unwrap_or(Timestamp::MIN);
        self.read_until = self.read_until.max(until);
    }

    fn deals(&self) -> impl Iterator<Item = &Deal> {
        self.states.values().filter_map(|states| {
            states.iter().rev().find(|(since, _)| *since <= self.read_until).map(|(_, deal)| deal)
        })
    }
}

/// Which deals are asked for: what is not given matches all.
#[derive(Default)]
pub struct Query {
    /// 1: accepted, 2: closed.
    pub status: u64,
    pub supplier: Option<Address>,
    pub consumer: Option<Address>,
    pub master: Option<Address>,
    /// A party in whatever role.
    pub anyone: Option<Address>,
    pub ask: Option<u64>,
    pub bid: Option<u64>,
}

impl Query {
    fn matches(&self, deal: &Deal) -> bool {
        let is = |wanted: &Option<Address>, address: &Address| {
            wanted.as_ref().is_none_or(|wanted| wanted == address)
        };
        (self.status == 0 || self.status == status(deal))
            && is(&self.supplier, &deal.supplier)
            && is(&self.consumer, &deal.consumer)
            && is(&self.master, &deal.master)
            && self.anyone.as_ref().is_none_or(|anyone| {
                [&deal.supplier, &deal.consumer, &deal.master].contains(&anyone)
            })
            && self.ask.is_none_or(|ask| ask == deal.ask)
            && self.bid.is_none_or(|bid| bid == deal.bid)
    }
}

/// `DealStatus` on the wire.
pub fn status(deal: &Deal) -> u64 {
    if deal.closed { 2 } else { 1 }
}

impl Model {
    /// The deals that the index knows and that match, in the order of their ids.
    pub fn indexed(&mut self, now: Timestamp, query: &Query) -> Vec<Deal> {
        let lag = i64::try_from(self.settings.dwh_lag_ms).unwrap_or(i64::MAX);
        self.index.read(now, SignedDuration::from_millis(lag));
        self.index.deals().filter(|deal| query.matches(deal)).cloned().collect()
    }
}
