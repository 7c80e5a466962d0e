//! The methods of the protocol, by service.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::error::{Code, RpcError};
use crate::app::App;
use crate::model::Address;
use crate::model::index::{MAX_LIMIT, Query};
use crate::model::journal::By;
use crate::model::plans::RemovalError;
use crate::wire::read::{Fields, big_id, deals_request, new_plan, timestamp};
use crate::wire::write::{self, Message};

type Outcome = Result<Value, RpcError>;

/// Carries out a call of `Service/Method`.
pub async fn dispatch(
    app: &Arc<App>,
    path: &str,
    selector: Option<&str>,
    request: &Value,
) -> Outcome {
    match path {
        "DealManagementServer/List" => list(app, request),
        "DealManagementServer/Status" => deal(app, request),
        "DealManagementServer/FinishDeals" => finish_deals(app, request),
        "MarketServer/GetOrderByID" => order(app, request),
        "DWHServer/GetDeals" => get_deals(app, request),
        _ => match path.strip_prefix("WorkerManagementServer/") {
            Some(method) => manage(app, method, selector, request).await,
            None => Err(unknown(path)),
        },
    }
}

fn unknown(path: &str) -> RpcError {
    RpcError::new(Code::NotFound, format!("unknown method {path}"))
}

fn malformed(why: String) -> RpcError {
    RpcError::plain(why)
}

fn empty() -> Value {
    json!({})
}

/// The worker that a call is for: `0xADDR`, `0xADDR@host:port`, or by default the Node's own.
fn select(app: &App, selector: Option<&str>) -> Result<Address, RpcError> {
    let address = match selector {
        None => app.look(|world, _| world.model.node.clone()),
        Some(text) => {
            let (address, place) = match text.split_once('@') {
                Some((address, place)) => (address, Some(place)),
                None => (text, None),
            };
            if !place.is_none_or(is_place) {
                return Err(malformed(format!("{text:?} is no address of a worker")));
            }
            Address::try_from(address.to_owned()).map_err(malformed)?
        }
    };
    let reached =
        app.look(|world, _| world.model.workers.get(&address).is_some_and(|worker| worker.running));
    if reached {
        Ok(address)
    } else {
        Err(RpcError::new(Code::Unavailable, format!("failed to connect to worker {address}")))
    }
}

/// Whether it is host:port.
fn is_place(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// A call to a worker.
async fn manage(app: &Arc<App>, method: &str, selector: Option<&str>, request: &Value) -> Outcome {
    const METHODS: [&str; 8] = [
        "Status",
        "Tasks",
        "AskPlans",
        "CreateAskPlan",
        "RemoveAskPlan",
        "PurgeAskPlansDetailed",
        "ScheduleMaintenance",
        "NextMaintenance",
    ];
    if !METHODS.contains(&method) {
        return Err(unknown(&format!("WorkerManagementServer/{method}")));
    }
    let address = select(app, selector)?;
    let missing = || RpcError::new(Code::Unavailable, "transport is closing");
    let look = |what: fn(jiff::Timestamp, &crate::model::worker::Worker) -> Value| {
        app.look(|world, now| world.model.workers.get(&address).map(|worker| what(now, worker)))
            .ok_or_else(missing)
    };
    if method == "Status" {
        return look(write::worker);
    }
    let allowed = app.look(|world, _| {
        let worker = world.model.workers.get(&address);
        worker.is_some_and(|worker| worker.may_be_managed_by(&world.model.node))
    });
    if !allowed {
        let why = "the worker's key, its master's or its admin's is wanted";
        return Err(RpcError::new(Code::Unauthenticated, why));
    }
    if method == "Tasks" {
        return look(|now, worker| {
            let listed = worker.tasks.values().filter(|task| task.listed);
            let info: Map<_, _> =
                listed.map(|task| (task.id.clone(), write::task(now, task))).collect();
            Message::new().filled("info", info.into()).into()
        });
    }
    app.past_deadlock(&address).await.map_err(|()| missing())?;
    match method {
        "AskPlans" => look(|_, worker| {
            let plans: Map<_, _> =
                worker.plans.values().map(|plan| (plan.id.clone(), write::plan(plan))).collect();
            Message::new().filled("askPlans", plans.into()).into()
        }),
        "CreateAskPlan" => {
            let terms = new_plan(request).map_err(malformed)?;
            let id =
                app.change(|world, now| world.model.create_plan(now, &address, terms, By::Client))?;
            Ok(json!({"id": id}))
        }
        "RemoveAskPlan" => {
            let id = Fields::of(request).and_then(|id| id.text("id")).map_err(malformed)?;
            remove(app, &address, id).await.map(|()| empty()).map_err(|error| match error {
                RemovalError::Failed(why) => RpcError::plain(why),
                RemovalError::Interrupted => missing(),
            })
        }
        "PurgeAskPlansDetailed" => purge(app, &address).await.ok_or_else(missing),
        "ScheduleMaintenance" => {
            let at = timestamp(request).map_err(malformed)?;
            app.change(|world, now| world.model.schedule_maintenance(now, &address, at))?;
            Ok(empty())
        }
        _ => look(|_, worker| worker.maintenance().to_string().into()),
    }
}

/// Removes a plan, which waits for the chain.
async fn remove(app: &App, address: &Address, id: &str) -> Result<(), RemovalError> {
    let (begun, wait) = app.change(|world, now| {
        let begun = world.model.begin_removal(now, address, id, By::Client);
        (begun, world.model.settings.removal_ms)
    });
    let begun = begun?;
    if wait > 0 {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    app.change(|world, now| world.model.finish_removal(now, address, id, &begun, By::Client))
}

/// Removes all plans, one after the other; the answer has an item for each. None if the worker went away.
async fn purge(app: &App, address: &Address) -> Option<Value> {
    let ids: Vec<String> = app.look(|world, _| {
        let worker = world.model.workers.get(address);
        worker.map_or_else(Vec::new, |worker| worker.plans.keys().cloned().collect())
    });
    let mut items = Vec::new();
    for id in ids {
        let error = match remove(app, address, &id).await {
            Ok(()) => String::new(),
            Err(RemovalError::Failed(why)) => why,
            Err(RemovalError::Interrupted) => return None,
        };
        items.push(Value::from(Message::new().text("ID", &id).text("error", &error)));
    }
    Some(Message::new().filled("response", items.into()).into())
}

/// Deals in which the Node's key is consumer or master, from the index.
fn list(app: &App, request: &Value) -> Outcome {
    let count = Fields::of(request).and_then(|count| count.number("count")).map_err(malformed)?;
    indexed(app, |world, now| {
        let node = world.model.node.clone();
        let query = Query { status: 1, anyone: Some(node.clone()), ..Query::default() };
        let mut deals = world.model.indexed(now, &query);
        deals.retain(|deal| deal.consumer == node || deal.master == node);
        let deals: Vec<_> = deals.iter().take(page(count)).map(write::deal).collect();
        Message::new().filled("deal", deals.into()).into()
    })
}

/// A deal, from the chain.
fn deal(app: &App, request: &Value) -> Outcome {
    let id = big_id(request).map_err(malformed)?;
    app.look(|world, _| world.model.chain.deals.get(&id).map(write::deal))
        .map(|deal| json!({"deal": deal}))
        .ok_or_else(|| RpcError::new(Code::NotFound, format!("deal {id} is not found")))
}

/// Closes deals with the Node's key.
fn finish_deals(app: &App, request: &Value) -> Outcome {
    let fields = Fields::of(request).map_err(malformed)?;
    let wanted = fields.get("dealInfo").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let ids: Result<Vec<u64>, String> = wanted
        .iter()
        .map(|item| Fields::of(item)?.id("id")?.ok_or_else(|| format!("json: {item} has no id")))
        .collect();
    let ids = ids.map_err(malformed)?;
    Ok(app.change(|world, now| {
        let node = world.model.node.clone();
        let items: Vec<Value> = ids
            .into_iter()
            .map(|id| {
                let closed = world.model.close_deal(now, id, &node, By::Client);
                let error = closed.err().unwrap_or_default();
                Message::new().big("id", id).text("error", &error).into()
            })
            .collect();
        Message::new().filled("response", items.into()).into()
    }))
}

/// An order, from the chain.
fn order(app: &App, request: &Value) -> Outcome {
    let id = Fields::of(request).and_then(|id| id.text("id")).map_err(malformed)?;
    let missing = || RpcError::new(Code::NotFound, format!("order {id} is not found"));
    let number: u64 = id.parse().map_err(|_| missing())?;
    app.look(|world, _| world.model.chain.orders.get(&number).map(write::order)).ok_or_else(missing)
}

/// Deals, from the index.
fn get_deals(app: &App, request: &Value) -> Outcome {
    let (query, limit, offset, with_count) = deals_request(request).map_err(malformed)?;
    indexed(app, |world, now| {
        let found = world.model.indexed(now, &query);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let page: Vec<_> = found.iter().skip(offset).take(page(limit)).collect();
        let deals: Vec<_> = page.iter().map(|deal| json!({"deal": write::deal(deal)})).collect();
        let count = if with_count { found.len() } else { 0 };
        Message::new()
            .filled("deals", deals.into())
            .number("count", u64::try_from(count).unwrap_or(u64::MAX))
            .into()
    })
}

/// How many deals a page has at most; 0 asks for as many as there may be.
fn page(limit: u64) -> usize {
    let limit = if limit == 0 { MAX_LIMIT } else { limit.min(MAX_LIMIT) };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Asks the index, if it can be reached.
fn indexed(
    app: &App,
    ask: impl FnOnce(&mut crate::app::World, jiff::Timestamp) -> Value,
) -> Outcome {
    app.change(|world, now| {
        if world.faults.dwh_down {
            return Err(RpcError::new(Code::Unavailable, "failed to connect to the DWH"));
        }
        Ok(ask(world, now))
    })
}
