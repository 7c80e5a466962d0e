//! The slots of reconciles: a bounded number runs at a time, shared fairly among namespaces. One that goes to a
//! market leaves its slot to others.

use crate::apiserver::pool::{Place, Pool};

/// Reconciles at a time.
const RECONCILES: usize = 16;
/// Reconciles of one namespace at a time.
const OF_A_NAMESPACE: usize = 8;
/// Observations of markets, and calls to them, at a time: each may take a minute and some memory.
const MARKETS: usize = 16;
/// Those of one namespace.
const MARKETS_OF_A_NAMESPACE: usize = 4;

/// All slots.
pub struct Slots {
    reconciles: Pool,
    markets: Pool,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            reconciles: Pool::new(RECONCILES, OF_A_NAMESPACE),
            markets: Pool::new(MARKETS, MARKETS_OF_A_NAMESPACE),
        }
    }
}

impl Slots {
    /// Waits for a slot. Returns none once the operator ends.
    pub async fn enter(&self, namespace: &str) -> Option<Slot<'_>> {
        let taken = self.reconciles.take(namespace).await?;
        let namespace = namespace.to_owned();
        Some(Slot { slots: self, namespace, taken: Some(taken), at_market: None })
    }

    /// Lets no other reconcile begin: the operator ends.
    pub fn close(&self) {
        self.reconciles.close();
    }
}

/// The slot of one reconcile, until it is dropped.
pub struct Slot<'a> {
    slots: &'a Slots,
    namespace: String,
    taken: Option<Place>,
    at_market: Option<Place>,
}

impl Slot<'_> {
    /// Takes a place at the markets, and leaves the slot to others. The reconcile keeps the place to its end, so
    /// that what the market says is not old when the first hold is written.
    pub async fn go_to_market(&mut self) {
        if self.at_market.is_none() {
            self.taken = None;
            self.at_market = self.slots.markets.take(&self.namespace).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Returns a slot that is to be had at once.
    fn enter<'a>(slots: &'a Slots, namespace: &str) -> Option<Slot<'a>> {
        slots.enter(namespace).now_or_never().flatten()
    }

    #[test]
    fn a_namespace_leaves_slots_to_others() {
        let slots = Slots::default();
        let busy: Vec<_> = (0..100).map(|_| enter(&slots, "busy")).collect();
        assert_eq!(busy.iter().flatten().count(), OF_A_NAMESPACE);
        assert!(enter(&slots, "other").is_some());
        drop(busy);
        assert!(enter(&slots, "busy").is_some());
    }

    #[test]
    fn who_goes_to_a_market_leaves_the_slot_and_a_dead_market_takes_no_place_of_others() {
        let slots = Slots::default();
        let mut away = Vec::new();
        for _ in 0..64 {
            let mut slot = enter(&slots, "dead").unwrap();
            let mut waits = Box::pin(async move {
                slot.go_to_market().await;
                std::future::pending::<()>().await;
            });
            assert!((&mut waits).now_or_never().is_none());
            away.push(waits);
        }
        let mut slot = enter(&slots, "other").unwrap();
        assert!(slot.go_to_market().now_or_never().is_some());
    }

    #[test]
    fn no_reconcile_begins_once_the_operator_ends() {
        let slots = Slots::default();
        let mut begun = enter(&slots, "ns").unwrap();
        slots.close();
        assert!(enter(&slots, "ns").is_none());
        assert!(begun.go_to_market().now_or_never().is_some(), "it comes to its end");
    }
}
