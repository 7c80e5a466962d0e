//! An observation: the worker's commitments, put together from the worker, the chain and the index.
//!
//! Each of the three alone can be wrong. After a restart the worker's plans lack their deals (defect 3),
//! the index lags, and the chain answers only for known ids. So the bridge asks all three, and the chain
//! decides which deals are in force and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::node::CallError;
use super::wire::{
    ACCEPTED, AskPlans, CLOSED, Deal, DealReply, DealsReply, DealsRequest, Empty, Name, Number,
    Order, Plan, Status, Tasks, canonical,
};
use super::{LastObservation, Sonm};
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{self, Commitments, Complete, Failure, Id, List, Restore, Term};

/// Maximum number of concurrent calls.
const CALLS: usize = 8;
/// Entries of one page: the maximum of the index.
const PAGE: usize = 200;
/// Attempts to get two answers that agree.
const ATTEMPTS: usize = 5;
/// A maintenance further away than this means that none is announced: the worker's default is a
/// hundred years.
const NO_MAINTENANCE: SignedDuration = SignedDuration::from_hours(50 * 366 * 24);

fn invalid(text: impl AsRef<str>) -> Problem {
    ProblemType::MarketInvalid.because(text)
}

/// The content of `restore`: the plan to offer again, and how to recognize it on the market.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    /// The plan without the fields that the worker sets.
    pub(super) plan: serde_json::Map<String, Value>,
    /// The id of the plan. A deal and the order left after it can be of one plan, which is offered again
    /// once.
    #[serde(default)]
    pub(super) of: Option<String>,
    /// Equal plans that stay because their deals cannot be closed. They do not count as this plan.
    #[serde(default)]
    pub(super) besides: BTreeSet<String>,
}

impl Sonm {
    /// Returns all commitments of the worker, or a problem.
    pub(super) async fn commitments(&self) -> Result<Commitments, Problem> {
        let as_of = Timestamp::now();
        let tasks = self.open_tasks().await?;
        let plans = self.plans().await?;
        let asked: Vec<_> = plans
            .iter()
            .map(|(id, plan)| async { Ok::<_, Problem>((id.as_str(), self.deal_of(plan).await?)) })
            .collect();
        let of_plans: BTreeMap<&str, Option<Number>> =
            stream::iter(asked).buffer_unordered(CALLS).try_collect().await?;
        let mut known = self.indexed().await?;
        known.extend(of_plans.values().flatten().cloned());
        known.extend(self.remembered(&plans).await?);
        let asked: Vec<_> = known
            .into_iter()
            .map(|id| async {
                let deal = self.deal(&id).await?;
                Ok::<_, Problem>(deal.map(|deal| (id, deal)))
            })
            .collect();
        let deals: Vec<Option<(Number, Deal)>> =
            stream::iter(asked).buffer_unordered(CALLS).try_collect().await?;
        let deals: BTreeMap<Number, Deal> = deals.into_iter().flatten().collect();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = LastObservation {
            orders: plans.values().filter_map(|plan| plan.order.clone()).collect(),
            deals: deals.keys().cloned().collect(),
        };
        let next_maintenance: Timestamp = self.node.worker("NextMaintenance", &Empty {}).await?;
        let far = as_of.checked_add(NO_MAINTENANCE).unwrap_or(Timestamp::MAX);

        let in_force =
            |plan: &str| of_plans.get(plan)?.as_ref().and_then(|id| deals.get_key_value(id));
        let stays = |plan: &str| {
            let ends_at = in_force(plan).and_then(|(_, deal)| deal.ends_at());
            ends_at.is_some_and(|end| end > as_of)
        };
        let offers: BTreeMap<&str, String> = plans
            .iter()
            .map(|(id, plan)| (id.as_str(), canonical(&Value::Object(plan.offer()))))
            .collect();
        let mut staying: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, offer) in offers.iter().filter(|(id, _)| stays(id)) {
            staying.entry(offer).or_default().push(id);
        }
        let mut orders = Vec::new();
        let mut restores = BTreeMap::new();
        for (id, plan) in &plans {
            let equal = offers.get(id.as_str()).and_then(|offer| staying.get(offer.as_str()));
            let restore = restore(id, plan, equal.map_or(&[][..], Vec::as_slice))?;
            match in_force(id) {
                // A plan that is marked for deletion was removed on purpose: its deal gets no
                // `restore`.
                Some((deal, _)) if !plan.pending_deletion => drop(restores.insert(deal, restore)),
                Some(_) => {}
                None => orders.push(types::Order { id: name(id)?, restore }),
            }
        }
        let deals: Vec<types::Deal> = deals
            .iter()
            .map(|(id, deal)| {
                Ok(types::Deal {
                    id: name(id.as_str())?,
                    term: deal.ends_at().map_or(Term::Open, |ends_at| Term::Fixed { ends_at }),
                    counterparty: Some(name(deal.consumer.as_str())?),
                    restore: restores.get(id).cloned(),
                })
            })
            .collect::<Result<_, Problem>>()?;
        let tasks: Vec<types::Task> = tasks.into_iter().map(|id| types::Task { id }).collect();
        Ok(Commitments {
            as_of,
            complete: Complete,
            deals: bounded(deals)?,
            orders: bounded(orders)?,
            tasks: bounded(tasks)?,
            next_maintenance: Some(next_maintenance).filter(|at| *at < far),
            failures: List::<Failure>::default(),
        })
    }

    /// Returns the deals of the last observation, which may be in force although no list has them now:
    /// the chain decides. Fails if an order of the last observation is on the market without a plan:
    /// then the worker's `{}` means that it knows nothing, not that it has no plans.
    async fn remembered(
        &self,
        plans: &BTreeMap<String, Plan>,
    ) -> Result<BTreeSet<Number>, Problem> {
        let LastObservation { orders, mut deals } =
            self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let listed: BTreeSet<&Number> =
            plans.values().filter_map(|plan| plan.order.as_ref()).collect();
        for id in orders.iter().filter(|id| !listed.contains(id)) {
            let order = self.order(id).await?;
            if order.is_active() {
                let id = id.as_str();
                return Err(invalid(format!(
                    "order {id} is on the market, but the worker lists no plan with it: its list is incomplete"
                )));
            }
            deals.extend(order.deal.and_then(Number::given));
        }
        Ok(deals)
    }

    async fn order(&self, id: &Number) -> Result<Order, CallError> {
        let request = Name { id: id.as_str().to_owned() };
        let order: Order = self.node.ask("Market", "GetOrderByID", &request).await?;
        if order.id != *id {
            return Err(CallError::Invalid("the node answers with another order".to_owned()));
        }
        Ok(order)
    }

    /// Returns the worker's plans by id.
    pub(super) async fn plans(&self) -> Result<BTreeMap<String, Plan>, Problem> {
        let AskPlans { ask_plans } = self.node.worker("AskPlans", &Empty {}).await?;
        match ask_plans.iter().find(|(id, plan)| !plan.is(id)) {
            Some((id, _)) => {
                Err(invalid(format!("the worker lists ask plan {id} under another id")))
            }
            None => Ok(ask_plans),
        }
    }

    /// Returns the deal of a plan. Asks the order where the plan has none: after a restart the worker has
    /// forgotten the deal (defect 3), and it registers a new deal late (defect 2).
    pub(super) async fn deal_of(&self, plan: &Plan) -> Result<Option<Number>, CallError> {
        let (None, Some(id)) = (&plan.deal, &plan.order) else { return Ok(plan.deal.clone()) };
        let order = self.order(id).await?;
        Ok(order.deal.and_then(Number::given))
    }

    /// Returns the deal from the chain, or `None` if the deal is closed.
    pub(super) async fn deal(&self, id: &Number) -> Result<Option<Deal>, CallError> {
        let DealReply { deal } = self.node.ask("DealManagement", "Status", id).await?;
        if deal.id != *id || deal.supplier != self.worker {
            return Err(CallError::Invalid(format!(
                "the node answers with another deal than deal {} of this worker",
                id.as_str()
            )));
        }
        match deal.status {
            ACCEPTED => Ok(Some(deal)),
            CLOSED => Ok(None),
            other => Err(CallError::Invalid(format!(
                "deal {} has the unknown status {other}",
                id.as_str()
            ))),
        }
    }

    /// Returns the worker's deals in the index. Entries move between pages during a read, so more than
    /// one page is read until two reads agree.
    async fn indexed(&self) -> Result<BTreeSet<Number>, Problem> {
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let Some((found, pages)) = self.read_index_once().await? else { continue };
            if pages <= 1 || before.as_ref() == Some(&found) {
                return Ok(found);
            }
            before = Some(found);
        }
        Err(invalid("the index of deals (DWH) is inconsistent: its pages and its count differ"))
    }

    /// Returns the deals and the number of pages, or `None` if the deals differ from the index's count.
    async fn read_index_once(&self) -> Result<Option<(BTreeSet<Number>, usize)>, Problem> {
        let mut found = BTreeSet::new();
        let mut pages = 0;
        loop {
            let request = DealsRequest {
                status: ACCEPTED,
                supplier: &self.worker,
                limit: PAGE,
                offset: pages * PAGE,
                with_count: true,
            };
            let page: DealsReply = self.node.ask("DWH", "GetDeals", &request).await?;
            pages += 1;
            if let Some(other) = page.deals.iter().find(|reply| reply.deal.supplier != self.worker)
            {
                let id = other.deal.id.as_str();
                return Err(invalid(format!(
                    "the index (DWH) lists deal {id}, which is not this worker's"
                )));
            }
            let last = page.deals.len() < PAGE;
            found.extend(page.deals.into_iter().map(|reply| reply.deal.id));
            if found.len() > types::LONGEST_LIST {
                return Err(invalid("the index (DWH) lists more deals than the Deals API allows"));
            }
            if last {
                return Ok((found.len() == page.count).then_some((found, pages)));
            }
        }
    }

    /// Returns the open tasks and the lost tasks. The worker's list must agree with the worker's count,
    /// because a worker that knows nothing also answers `{}`.
    pub(super) async fn open_tasks(&self) -> Result<BTreeSet<Id>, Problem> {
        for _ in 0..ATTEMPTS {
            let status: Status = self.node.worker("Status", &Empty {}).await?;
            if status.eth_addr != self.worker {
                return Err(invalid(format!(
                    "the node leads to worker {}, not to the worker of --worker",
                    status.eth_addr.as_str()
                )));
            }
            let listed = self.listed_tasks().await?;
            if listed.len() < status.task_count as usize {
                continue;
            }
            let open = listed.iter().filter(|(_, ended)| !**ended).map(|(id, _)| id.clone());
            let mut open: BTreeSet<Id> = open.collect();
            let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            open.extend(lost.iter().cloned());
            return Ok(open);
        }
        Err(invalid("the worker counts more tasks than it lists: its list is incomplete"))
    }

    /// Returns every task that the worker lists, and whether the task has ended.
    pub(super) async fn listed_tasks(&self) -> Result<BTreeMap<Id, bool>, Problem> {
        let Tasks { info } = self.node.worker("Tasks", &Empty {}).await?;
        info.into_iter().map(|(id, task)| Ok((name(&id)?, task.has_ended()))).collect()
    }
}

/// Returns the payload of a plan. It names the equal plans that stay.
fn restore(id: &str, plan: &Plan, staying: &[&str]) -> Result<Restore, Problem> {
    let besides: Vec<&str> = staying.iter().copied().filter(|other| *other != id).collect();
    let mut payload = json!({"plan": plan.offer(), "of": id});
    if !besides.is_empty() {
        payload["besides"] = json!(besides);
    }
    Restore::try_from(canonical(&payload))
        .map_err(|_| invalid(format!("ask plan {id} is too long for `restore`")))
}

fn name(text: &str) -> Result<Id, Problem> {
    Id::try_from(text.to_owned()).map_err(|error| {
        invalid(format!("the worker uses an id that the Deals API does not allow: {error}"))
    })
}

fn bounded<T>(entries: Vec<T>) -> Result<List<T>, Problem> {
    List::try_from(entries)
        .map_err(|error| invalid(format!("the market has more than the Deals API allows: {error}")))
}
