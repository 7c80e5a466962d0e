//! What binds at a market, by what may be done about it.

use jiff::Timestamp;

use super::types::{Commitments, Deal, Id, Order, Term, cleaned};

/// What is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Open<'a> {
    pub(super) forward: Vec<(&'a Deal, Timestamp)>,
    pub(super) spot: Vec<&'a Deal>,
    pub(super) orders: Vec<&'a Order>,
    pub(super) tasks: Vec<&'a Id>,
}

impl<'a> Open<'a> {
    /// A deal whose fixed term has run out by both clocks binds no more than one of an open term.
    pub(super) fn of(commitments: &'a Commitments, now: Timestamp) -> Self {
        let now = now.min(commitments.as_of);
        let mut open = Self::default();
        for deal in commitments.deals.as_slice() {
            match deal.term {
                Term::Fixed { ends_at } if ends_at > now => open.forward.push((deal, ends_at)),
                Term::Fixed { .. } | Term::Open => open.spot.push(deal),
            }
        }
        open.forward.sort_by_key(|(_, ends_at)| std::cmp::Reverse(*ends_at));
        open.orders = commitments.orders.as_slice().iter().collect();
        open.tasks = commitments.tasks.as_slice().iter().map(|task| &task.id).collect();
        open
    }

    pub(super) fn nothing(&self) -> bool {
        let Self { forward, spot, orders, tasks } = self;
        forward.is_empty() && spot.is_empty() && orders.is_empty() && tasks.is_empty()
    }

    /// What it takes to offer again what the deals came from that are to be closed: closing one may
    /// take that off the market.
    pub(super) fn closing(&self) -> Vec<Order> {
        let came_from = self.spot.iter().filter_map(|deal| {
            let restore = deal.restore.clone()?;
            Some(Order { id: deal.id.clone(), restore })
        });
        came_from.collect()
    }

    pub(super) fn in_words(&self) -> String {
        let spot = self.spot.iter().map(|deal| &deal.id);
        let parts = [
            named("order", self.orders.iter().map(|order| &order.id)),
            named("deal", spot),
            named("task", self.tasks.iter().copied()),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    pub(super) fn forward_in_words(&self) -> String {
        let deals = self.forward.iter().take(5);
        let shown: Vec<_> = deals
            .map(|(deal, ends_at)| format!("{} until {ends_at}", cleaned(deal.id.as_str())))
            .collect();
        let more = self.forward.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("deals that can't be interrupted: {}{more}", shown.join(", "))
    }
}

fn named<'a>(what: &str, ids: impl Iterator<Item = &'a Id>) -> Option<String> {
    let ids: Vec<_> = ids.map(|id| cleaned(id.as_str())).collect();
    match ids.as_slice() {
        [] => None,
        [one] => Some(format!("{what} {one}")),
        [first, ..] => Some(format!("{what} {first} and {} more", ids.len() - 1)),
    }
}
