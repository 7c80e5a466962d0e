//! Answers.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::model::chain::{Deal, Order};
use crate::model::index::status;
use crate::model::worker::{Plan, Task, Worker};
use crate::model::{Address, Terms};

/// A message in the making: what is zero or empty is left out.
#[derive(Default)]
pub struct Message(Map<String, Value>);

impl Message {
    pub fn new() -> Self {
        Self::default()
    }

    /// A field that is set, whatever its value.
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub fn number(self, name: &str, value: u64) -> Self {
        if value == 0 { self } else { self.set(name, value) }
    }

    pub fn text(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.set(name, value) }
    }

    pub fn flag(self, name: &str, value: bool) -> Self {
        if value { self.set(name, true) } else { self }
    }

    /// A `BigInt`, which is there also as 0.
    pub fn big(self, name: &str, value: u64) -> Self {
        self.set(name, value.to_string())
    }

    pub fn address(self, name: &str, value: &Address) -> Self {
        self.set(name, value.to_string())
    }

    pub fn time(self, name: &str, value: Timestamp) -> Self {
        self.set(name, value.to_string())
    }

    /// A field that may not be there.
    pub fn maybe<T>(self, value: Option<T>, set: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => set(self, value),
            None => self,
        }
    }

    /// A list or map, which is left out if nothing is in it.
    pub fn filled(self, name: &str, value: Value) -> Self {
        let empty = value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty);
        if empty { self } else { self.set(name, value) }
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Self {
        Self::Object(message.0)
    }
}

/// What of an `AskPlan` its owner writes.
pub fn terms(terms: &Terms) -> Message {
    let duration = Message::new().number("nanoseconds", terms.duration_ns);
    Message::new()
        .filled("duration", duration.into())
        .set("price", json!({"perSecond": terms.price}))
        .maybe(terms.blacklist.as_ref(), |message, who| message.address("blacklist", who))
        .maybe(terms.counterparty.as_ref(), |message, who| message.address("counterparty", who))
        .number("identity", terms.identity)
        .text("tag", &terms.tag)
        .maybe(Some(&terms.resources).filter(|resources| !resources.is_null()), |message, value| {
            message.set("resources", value.clone())
        })
}

/// An `AskPlan`.
pub fn plan(plan: &Plan) -> Value {
    terms(&plan.terms)
        .text("ID", &plan.id)
        .maybe(plan.order, |message, id| message.big("orderID", id))
        .maybe(plan.deal, |message, id| message.big("dealID", id))
        .number("status", u64::from(plan.pending_deletion))
        .time("createTime", plan.created)
        .maybe(plan.last_order_placed, |message, at| message.time("lastOrderPlacedTime", at))
        .into()
}

/// An `Order` of the chain, which has a `dealID` of 0 before it has a deal.
pub fn order(order: &Order) -> Value {
    const ASK: u64 = 2;
    const INACTIVE: u64 = 1;
    const ACTIVE: u64 = 2;
    Message::new()
        .big("id", order.id)
        .big("dealID", order.deal.unwrap_or(0))
        .number("orderType", ASK)
        .number("orderStatus", if order.active { ACTIVE } else { INACTIVE })
        .address("authorID", &order.author)
        .maybe(order.terms.counterparty.as_ref(), |message, who| {
            message.address("counterpartyID", who)
        })
        .number("duration", order.duration)
        .set("price", order.terms.price.clone())
        .number("identityLevel", order.terms.identity)
        .maybe(order.terms.blacklist.as_ref(), |message, who| message.address("blacklist", who))
        .text("tag", &order.terms.tag)
        .big("frozenSum", 0)
        .into()
}

/// A `Deal` of the chain.
pub fn deal(deal: &Deal) -> Value {
    Message::new()
        .big("id", deal.id)
        .address("supplierID", &deal.supplier)
        .address("consumerID", &deal.consumer)
        .address("masterID", &deal.master)
        .big("askID", deal.ask)
        .big("bidID", deal.bid)
        .number("duration", deal.duration)
        .set("price", deal.price.clone())
        .time("startTime", deal.start)
        .time("endTime", deal.end.unwrap_or(Timestamp::UNIX_EPOCH))
        .number("status", status(deal))
        .big("blockedBalance", 0)
        .big("totalPayout", 0)
        .time("lastBillTS", deal.start)
        .into()
}

/// A `TaskStatusReply`.
pub fn task(now: Timestamp, task: &Task) -> Value {
    let uptime = now.duration_since(task.since).as_nanos();
    Message::new()
        .number("status", task.status as u64)
        .text("imageName", &task.image)
        .number("uptime", u64::try_from(uptime).unwrap_or(0))
        .into()
}

/// A worker's `StatusReply`.
pub fn worker(now: Timestamp, worker: &Worker) -> Value {
    let uptime = u64::try_from(now.duration_since(worker.started).as_secs()).unwrap_or(0);
    let tasks = worker.tasks.values().filter(|task| task.listed && task.status.is_alive()).count();
    Message::new()
        .number("uptime", uptime)
        .text("version", "v0.4.31")
        .text("platform", "linux/amd64")
        .text("ethAddr", &worker.address.to_string())
        .number("taskCount", u64::try_from(tasks).unwrap_or(u64::MAX))
        .text("DWHStatus", "enabled")
        .text("rendezvousStatus", "enabled")
        .address("master", &worker.master)
        .maybe(worker.admin.as_ref(), |message, who| message.address("admin", who))
        .flag("isMasterConfirmed", true)
        .flag("isBenchmarkFinished", true)
        .into()
}
