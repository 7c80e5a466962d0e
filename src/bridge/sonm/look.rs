//! A look: what binds the worker, put together from the worker, the chain and the index.
//!
//! Each of them alone can be wrong: after a restart the worker's plans lack their deals (defect 3),
//! the index lags, and the chain can be asked only about what is known. So all of them are asked,
//! and the chain says what is still in force and for how long.

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
use super::{Last, Sonm};
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{self, Commitments, Complete, Failure, Id, List, Restore, Term};

/// Most calls at once.
const CALLS: usize = 8;
/// Entries of one page of the index: the most that it gives.
const PAGE: usize = 200;
/// Passes over the index before it is said that it does not come to rest.
const PASSES: usize = 5;
/// A maintenance that is further away is none: the worker's default is a hundred years.
const NO_MAINTENANCE: SignedDuration = SignedDuration::from_hours(50 * 366 * 24);

fn nonsense(text: impl AsRef<str>) -> Problem {
    ProblemType::MarketInvalid.because(text)
}

/// What is offered again, and how to know that it is there.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    /// The plan without what the worker gives it.
    pub(super) plan: serde_json::Map<String, Value>,
    /// Its name: a deal and what is left of it once it is closed are of one plan, which comes back once.
    #[serde(default)]
    pub(super) of: Option<String>,
    /// Equal plans which stay, since their deals cannot be closed: they don't stand for this one.
    #[serde(default)]
    pub(super) besides: BTreeSet<String>,
}

impl Sonm {
    /// Everything, or a problem.
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
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Last {
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
                // Who removed it knows why: it would not be offered again.
                Some((deal, _)) if !plan.going => drop(restores.insert(deal, restore)),
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

    /// Deals that may be in force although nobody tells of them now: the chain decides. An order of
    /// the last look whose plan is gone has to be off the market, or the worker's list is not to be
    /// believed: one who knows nothing answers `{}` as well.
    async fn remembered(
        &self,
        plans: &BTreeMap<String, Plan>,
    ) -> Result<BTreeSet<Number>, Problem> {
        let Last { orders, mut deals } =
            self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let listed: BTreeSet<&Number> =
            plans.values().filter_map(|plan| plan.order.as_ref()).collect();
        for id in orders.iter().filter(|id| !listed.contains(id)) {
            let order = self.order(id).await?;
            if order.is_active() {
                let id = id.as_str();
                return Err(nonsense(format!("order {id} is on the market, and no plan has it")));
            }
            deals.extend(order.deal.and_then(Number::given));
        }
        Ok(deals)
    }

    async fn order(&self, id: &Number) -> Result<Order, CallError> {
        let request = Name { id: id.as_str().to_owned() };
        let order: Order = self.node.ask("Market", "GetOrderByID", &request).await?;
        if order.id != *id {
            return Err(CallError::Invalid(
                "the node tells of another order than asked".to_owned(),
            ));
        }
        Ok(order)
    }

    /// The worker's plans by name.
    pub(super) async fn plans(&self) -> Result<BTreeMap<String, Plan>, Problem> {
        let AskPlans { ask_plans } = self.node.worker("AskPlans", &Empty {}).await?;
        match ask_plans.iter().find(|(id, plan)| !plan.is(id)) {
            Some((id, _)) => Err(nonsense(format!("the ask plan {id} is listed by another name"))),
            None => Ok(ask_plans),
        }
    }

    /// The deal that a plan has become. After a restart of the worker its plan has forgotten it
    /// (defect 3), and one that was just struck is not registered yet (defect 2); the order knows.
    pub(super) async fn deal_of(&self, plan: &Plan) -> Result<Option<Number>, CallError> {
        let (None, Some(id)) = (&plan.deal, &plan.order) else { return Ok(plan.deal.clone()) };
        let order = self.order(id).await?;
        Ok(order.deal.and_then(Number::given))
    }

    /// A deal as the chain has it; `None` once it is closed.
    pub(super) async fn deal(&self, id: &Number) -> Result<Option<Deal>, CallError> {
        let DealReply { deal } = self.node.ask("DealManagement", "Status", id).await?;
        if deal.id != *id || deal.supplier != self.worker {
            return Err(CallError::Invalid(format!(
                "asked about deal {} of this worker, the node tells of another",
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

    /// All deals of the worker that the index knows. Entries move between pages while they are
    /// read, so that more than one page is read until two passes see the same.
    async fn indexed(&self) -> Result<BTreeSet<Number>, Problem> {
        let mut before = None;
        for _ in 0..PASSES {
            let Some((found, pages)) = self.pass_over_index().await? else { continue };
            if pages <= 1 || before.as_ref() == Some(&found) {
                return Ok(found);
            }
            before = Some(found);
        }
        Err(nonsense("the index of deals (DWH) does not add up: its pages and its count differ"))
    }

    /// `None` where the pages don't add up to what the index says that it has.
    async fn pass_over_index(&self) -> Result<Option<(BTreeSet<Number>, usize)>, Problem> {
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
                return Err(nonsense(format!(
                    "the index gives deal {id}, which is not this worker's"
                )));
            }
            let last = page.deals.len() < PAGE;
            found.extend(page.deals.into_iter().map(|reply| reply.deal.id));
            if found.len() > types::LONGEST_LIST {
                return Err(nonsense("the index gives more deals than can be told"));
            }
            if last {
                return Ok((found.len() == page.count).then_some((found, pages)));
            }
        }
    }

    /// Tasks that have not ended, and those that the worker has lost sight of. Two of the worker's
    /// answers have to agree, since `{}` would also be the answer of one who knows nothing.
    pub(super) async fn open_tasks(&self) -> Result<BTreeSet<Id>, Problem> {
        for _ in 0..PASSES {
            let status: Status = self.node.worker("Status", &Empty {}).await?;
            if status.eth_addr != self.worker {
                return Err(nonsense(format!(
                    "the node leads to the worker {}, not to the one asked for",
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
        Err(nonsense("the worker counts more tasks than it lists"))
    }

    /// Every task that the worker lists, and whether it has ended.
    pub(super) async fn listed_tasks(&self) -> Result<BTreeMap<Id, bool>, Problem> {
        let Tasks { info } = self.node.worker("Tasks", &Empty {}).await?;
        info.into_iter().map(|(id, task)| Ok((name(&id)?, task.has_ended()))).collect()
    }
}

/// The payload of a plan. Equal ones that stay are named in it.
fn restore(id: &str, plan: &Plan, staying: &[&str]) -> Result<Restore, Problem> {
    let besides: Vec<&str> = staying.iter().copied().filter(|other| *other != id).collect();
    let mut payload = json!({"plan": plan.offer(), "of": id});
    if !besides.is_empty() {
        payload["besides"] = json!(besides);
    }
    Restore::try_from(canonical(&payload))
        .map_err(|_| nonsense(format!("the ask plan {id} is too long to be kept for later")))
}

fn name(text: &str) -> Result<Id, Problem> {
    Id::try_from(text.to_owned())
        .map_err(|error| nonsense(format!("a name that cannot be used: {error}")))
}

fn bounded<T>(entries: Vec<T>) -> Result<List<T>, Problem> {
    List::try_from(entries).map_err(|error| nonsense(format!("more than can be told: {error}")))
}
