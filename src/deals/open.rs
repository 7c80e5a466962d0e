//! Open deals, orders and tasks of a market, sorted by the rule that applies to them.

use jiff::Timestamp;

use super::types::{Commitments, Deal, Id, Order, Term, cleaned};

/// How many ids of a kind a message names.
const NAMED: usize = 3;
/// How many Forward deals a message names.
const FORWARD_NAMED: usize = 5;

/// Everything that is open at a market.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenItems<'a> {
    /// Deals with a fixed term and its end; the last to end is first.
    pub(super) forward: Vec<(&'a Deal, Timestamp)>,
    /// Deals without a fixed term.
    pub(super) spot: Vec<&'a Deal>,
    pub(super) orders: Vec<&'a Order>,
    pub(super) tasks: Vec<&'a Id>,
}

impl<'a> OpenItems<'a> {
    /// Sorts the commitments. A deal counts as Forward until its term is over by the clock of the bridge and
    /// by that of the operator.
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

    pub(super) fn is_empty(&self) -> bool {
        let Self { forward, spot, orders, tasks } = self;
        forward.is_empty() && spot.is_empty() && orders.is_empty() && tasks.is_empty()
    }

    /// Returns the orders from which the Spot deals came, as payloads: closing a deal may take its
    /// order off the market.
    pub(super) fn orders_behind_spot_deals(&self) -> Vec<Order> {
        let orders = self.spot.iter().filter_map(|deal| {
            let restore = deal.restore.clone()?;
            Some(Order { id: deal.id.clone(), restore })
        });
        orders.collect()
    }

    /// Returns a clause on everything that a drain can end, such as `2 orders (3, 4) and 1 deal (12) are open`.
    pub(super) fn drainable_in_words(&self) -> String {
        let parts: Vec<String> = [
            named("order", self.order_ids()),
            named("deal", self.spot_ids()),
            named("task", self.tasks.iter().copied()),
        ]
        .into_iter()
        .flatten()
        .collect();
        are_open(&parts.join(" and "), self.orders.len() + self.spot.len() + self.tasks.len())
    }

    /// Returns a clause such as `1 order (3) is open`.
    pub(super) fn orders_in_words(&self) -> String {
        are_open(&named("order", self.order_ids()).unwrap_or_default(), self.orders.len())
    }

    /// Returns a clause such as `2 deals (12, 13) are open`.
    pub(super) fn spot_in_words(&self) -> String {
        are_open(&named("deal", self.spot_ids()).unwrap_or_default(), self.spot.len())
    }

    /// Returns a clause such as `1 Forward deal is open and cannot be closed: 12 ends at 2026-12-01T00:00:00Z`.
    pub(super) fn forward_in_words(&self) -> String {
        let mut shown: Vec<_> = self
            .forward
            .iter()
            .take(FORWARD_NAMED)
            .map(|(deal, ends_at)| format!("{} ends at {ends_at}", cleaned(deal.id.as_str())))
            .collect();
        let total = self.forward.len();
        if total > shown.len() {
            shown.push(format!("and {} more", total - shown.len()));
        }
        let (deals, are) = if total == 1 { ("deal", "is") } else { ("deals", "are") };
        format!("{total} Forward {deals} {are} open and cannot be closed: {}", shown.join(", "))
    }

    fn order_ids(&self) -> impl Iterator<Item = &'a Id> {
        self.orders.iter().map(|order| &order.id)
    }

    fn spot_ids(&self) -> impl Iterator<Item = &'a Id> {
        self.spot.iter().map(|deal| &deal.id)
    }
}

fn are_open(items: &str, total: usize) -> String {
    format!("{items} {} open", if total == 1 { "is" } else { "are" })
}

fn named<'a>(noun: &str, ids: impl Iterator<Item = &'a Id>) -> Option<String> {
    let ids: Vec<_> = ids.map(|id| cleaned(id.as_str())).collect();
    let plural = if ids.len() == 1 { "" } else { "s" };
    let shown = ids.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = ids.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!ids.is_empty()).then(|| format!("{} {noun}{plural} ({shown}{more})", ids.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_right() {
        let ids: Vec<Id> =
            ["3", "4", "5", "6"].map(|id| Id::try_from(id.to_owned()).unwrap()).to_vec();
        let tasks = |count: usize| OpenItems {
            tasks: ids.iter().take(count).collect(),
            ..OpenItems::default()
        };
        for (count, words) in [
            (1, "1 task (3) is open"),
            (2, "2 tasks (3, 4) are open"),
            (4, "4 tasks (3, 4, 5 and 1 more) are open"),
        ] {
            assert_eq!(tasks(count).drainable_in_words(), words);
        }
    }
}
