//! The resume: a plan serves one deal, so the bridge creates each withdrawn plan anew, unless an equal
//! plan is live.
//!
//! A plan gets a new id each time, so the bridge compares the offers of plans. As many equal plans as were
//! withdrawn must be live. Plans with a deal count, because a new plan may be sold at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Sonm;
use super::observe::Payload;
use super::wire::{Name, Plan};
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::Order;

impl Sonm {
    /// Creates the plans that are not live. After an error some of them may be live; the caller repeats
    /// the call with the whole list.
    pub(super) async fn offer_again(&self, orders: &[Order]) -> Result<(), Problem> {
        let wanted = orders
            .iter()
            .map(|order| {
                let payload: Payload =
                    serde_json::from_str(order.restore.as_str()).map_err(|_| {
                        ProblemType::InvalidRestore.because(format!(
                            "`restore` of order {} is not from this bridge: send it unchanged",
                            order.id
                        ))
                    })?;
                let plan = payload.of.clone().unwrap_or_else(|| order.id.as_str().to_owned());
                Ok((plan, payload))
            })
            .collect::<Result<BTreeMap<String, Payload>, Problem>>()?;
        let missing = missing(&wanted, &self.plans().await?);
        let count = missing.len();
        for (done, payload) in missing.into_iter().enumerate() {
            let created: Result<Name, _> = self.node.worker("CreateAskPlan", &payload.plan).await;
            match created {
                Ok(Name { id }) => tracing::info!(plan = id, "ask plan created"),
                Err(error) => {
                    // After a timeout the plan may exist all the same (defect 8): the next resume
                    // compares again.
                    let problem = Problem::from(error);
                    let detail = format!(
                        "{done} of {count} ask plans were created, then one failed: {}",
                        problem.detail
                    );
                    return Err(problem.kind.because(detail));
                }
            }
        }
        Ok(())
    }
}

/// Returns the wanted plans that are not live.
fn missing<'a>(
    wanted: &'a BTreeMap<String, Payload>,
    live: &BTreeMap<String, Plan>,
) -> Vec<&'a Payload> {
    // A plan that is marked for deletion counts as gone.
    let live: BTreeMap<&str, Map<String, Value>> = live
        .iter()
        .filter(|(_, plan)| !plan.pending_deletion)
        .map(|(id, plan)| (id.as_str(), plan.offer()))
        .collect();
    // A plan that was never removed counts as itself only.
    let mut taken: BTreeSet<&str> =
        wanted.keys().filter_map(|id| live.get_key_value(id.as_str()).map(|(id, _)| *id)).collect();
    let mut missing = Vec::new();
    for (_, payload) in wanted.iter().filter(|(id, _)| !live.contains_key(id.as_str())) {
        let stands = live.iter().find(|(id, offer)| {
            **offer == payload.plan && !taken.contains(*id) && !payload.besides.contains(**id)
        });
        match stands {
            Some((id, _)) => {
                taken.insert(id);
            }
            None => missing.push(payload),
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(id: &'static str, price: &str, besides: &[&str]) -> (&'static str, Payload) {
        let plan = json!({"price": {"perSecond": price}});
        let payload = json!({"plan": plan, "besides": besides});
        (id, serde_json::from_value(payload).unwrap())
    }

    fn live(plans: &[(&str, &str, u8)]) -> BTreeMap<String, Plan> {
        plans
            .iter()
            .map(|(id, price, status)| {
                let plan = json!({"ID": id, "price": {"perSecond": price}, "status": status, "dealID": "7"});
                ((*id).to_owned(), serde_json::from_value(plan).unwrap())
            })
            .collect()
    }

    fn count(wanted: &[(&'static str, Payload)], plans: &[(&str, &str, u8)]) -> usize {
        let wanted = wanted.iter().map(|(id, payload)| ((*id).to_owned(), payload.clone()));
        missing(&wanted.collect(), &live(plans)).len()
    }

    #[test]
    fn as_many_equal_plans_are_created_as_are_missing() {
        let two = [wanted("a", "1", &[]), wanted("b", "1", &[])];
        assert_eq!(count(&two, &[]), 2);
        assert_eq!(count(&two, &[("x", "1", 0)]), 1);
        assert_eq!(count(&two, &[("x", "2", 0)]), 2);
        assert_eq!(count(&two, &[("x", "1", 0), ("y", "1", 0)]), 0);
    }

    #[test]
    fn a_plan_that_was_never_removed_counts_as_itself_only() {
        let two = [wanted("a", "1", &[]), wanted("b", "1", &[])];
        assert_eq!(count(&two, &[("a", "1", 0)]), 1);
        assert_eq!(count(&two, &[("b", "1", 0), ("a", "1", 0)]), 0);
        // The plan has changed, but it is still live.
        assert_eq!(count(&two[..1], &[("a", "9", 0)]), 0);
    }

    #[test]
    fn a_plan_marked_for_deletion_counts_as_gone() {
        assert_eq!(count(&[wanted("a", "1", &[])], &[("a", "1", 1)]), 1);
        assert_eq!(count(&[wanted("a", "1", &[])], &[("x", "1", 1)]), 1);
    }

    #[test]
    fn an_equal_plan_that_stayed_with_its_deal_does_not_count() {
        assert_eq!(count(&[wanted("a", "1", &["forward"])], &[("forward", "1", 0)]), 1);
        let back = [("forward", "1", 0), ("new", "1", 0)];
        assert_eq!(count(&[wanted("a", "1", &["forward"])], &back), 0);
    }
}
