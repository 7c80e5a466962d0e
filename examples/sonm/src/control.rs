//! The control interface, which is no part of the protocol: what a test does as the consumer, as the
//! person at the worker, or as bad luck, and what a judge reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::{App, World};
use crate::faults::Faults;
use crate::model::journal::By;
use crate::model::worker::{Defects, TaskStatus};
use crate::model::{Address, Refused, Settings, Terms};

type Shared = State<Arc<App>>;
type Outcome = Result<Value, Refused>;

/// All its calls.
pub fn router(app: Arc<App>) -> axum::Router {
    axum::Router::new()
        .route("/state", get(state))
        .route("/faults", put(faults))
        .route("/settings", put(settings))
        .route("/clock", post(clock))
        .route("/sync", post(sync))
        .route("/orders/{order}/accept", post(accept))
        .route("/orders/{order}/cancel", post(cancel))
        .route("/deals/{deal}/close", post(close))
        .route("/deals/{deal}/duration", post(duration))
        .route("/deals/{deal}/tasks", post(start_task))
        .route("/tasks/{task}/end", post(end_task))
        .route("/workers/{worker}/plans", post(plan))
        .route("/workers/{worker}/defects", put(defects))
        .route("/workers/{worker}/restart", post(restart))
        .route("/workers/{worker}/stop", post(stop))
        .route("/workers/{worker}/start", post(start))
        .with_state(app)
}

/// The whole truth.
async fn state(State(app): Shared) -> Response {
    app.look(|world, now| match serde_json::to_value(world) {
        Ok(mut truth) => {
            truth["now"] = now.to_string().into();
            truth["broken"] = json!(world.model.journal.broken().collect::<Vec<_>>());
            truth["offers"] = offers(world);
            truth["hanging"] = app.hanging().into();
            say(StatusCode::OK, &truth)
        }
        Err(error) => say(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error.to_string()})),
    })
}

/// What each worker offers or has offered: the terms, the plans that live, and the orders on the market.
fn offers(world: &World) -> Value {
    let model = &world.model;
    let mut offers: Vec<(&Address, &Terms, Vec<&str>, Vec<u64>)> = Vec::new();
    let plans = model.workers.values().flat_map(|worker| {
        let plans = worker.plans.values().filter(|plan| !plan.pending_deletion);
        plans.map(|plan| (&worker.address, &plan.terms, Some(plan.id.as_str()), None))
    });
    let orders = model.chain.orders.values();
    let orders =
        orders.map(|order| (&order.author, &order.terms, None, order.active.then_some(order.id)));
    for (worker, terms, plan, order) in plans.chain(orders) {
        let place = offers.iter().position(|offer| offer.0 == worker && offer.1 == terms);
        let place = place.unwrap_or_else(|| {
            offers.push((worker, terms, Vec::new(), Vec::new()));
            offers.len() - 1
        });
        offers[place].2.extend(plan);
        offers[place].3.extend(order);
    }
    offers
        .into_iter()
        .map(|(worker, terms, plans, orders)| {
            json!({"worker": worker, "terms": terms, "plans": plans, "orders": orders})
        })
        .collect()
}

async fn faults(State(app): Shared, body: Bytes) -> Response {
    let faults: Faults = match read(&body) {
        Ok(faults) => faults,
        Err(why) => return bad(&why),
    };
    app.change(|world, _| world.faults = faults);
    app.gate_follows().await;
    say(StatusCode::OK, &json!({}))
}

async fn settings(State(app): Shared, body: Bytes) -> Response {
    with(&app, &body, |world, _, settings: Settings| {
        world.model.settings = settings;
        Ok(json!({}))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ahead {
    advance_s: i64,
}

async fn clock(State(app): Shared, body: Bytes) -> Response {
    with(&app, &body, |world, _, by: Ahead| {
        world.ahead = world.ahead.saturating_add(SignedDuration::from_secs(by.advance_s));
        Ok(json!({}))
    })
}

async fn sync(State(app): Shared) -> Response {
    tell(app.change(|world, now| {
        world.model.sync_all(now);
        Ok(json!({}))
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accept {
    /// 0: Spot.
    #[serde(default)]
    duration_s: u64,
    consumer: Address,
}

async fn accept(State(app): Shared, Path(order): Path<u64>, body: Bytes) -> Response {
    with(&app, &body, |world, now, bid: Accept| {
        let deal = world.model.accept_order(now, order, bid.duration_s, &bid.consumer)?;
        Ok(json!({"deal": deal}))
    })
}

/// Somebody with the worker's key takes an order from the market, behind the worker's back.
async fn cancel(State(app): Shared, Path(order): Path<u64>) -> Response {
    tell(app.change(|world, now| {
        let cancelled = world.model.cancel_order(now, order, By::Control);
        cancelled.map(|()| json!({})).map_err(Refused::Conflict)
    }))
}

async fn close(State(app): Shared, Path(deal): Path<u64>) -> Response {
    tell(app.change(|world, now| {
        let model = &mut world.model;
        let consumer = model.chain.deals.get(&deal).map(|deal| deal.consumer.clone());
        let consumer = consumer.ok_or(Refused::Missing(format!("there is no deal {deal}")))?;
        let closed = model.close_deal(now, deal, &consumer, By::Consumer);
        closed.map(|()| json!({})).map_err(Refused::Conflict)
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Duration {
    duration_s: u64,
}

async fn duration(State(app): Shared, Path(deal): Path<u64>, body: Bytes) -> Response {
    with(&app, &body, |world, now, change: Duration| {
        world.model.change_duration(now, deal, change.duration_s).map(|()| json!({}))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    image: String,
    status: TaskStatus,
}

async fn start_task(State(app): Shared, Path(deal): Path<u64>, body: Bytes) -> Response {
    with(&app, &body, |world, now, task: Start| {
        let id = world.model.start_task(now, deal, &task.image, task.status)?;
        Ok(json!({"task": id}))
    })
}

async fn end_task(State(app): Shared, Path(task): Path<String>) -> Response {
    tell(app.change(|world, now| world.model.end_task(now, &task).map(|()| json!({}))))
}

async fn plan(State(app): Shared, Path(worker): Path<Address>, body: Bytes) -> Response {
    with(&app, &body, |world, now, terms: Terms| {
        let id = world.model.create_plan(now, &worker, terms, By::Control)?;
        Ok(json!({"id": id}))
    })
}

async fn defects(State(app): Shared, Path(worker): Path<Address>, body: Bytes) -> Response {
    with(&app, &body, |world, _, defects: Defects| {
        let worker = world.model.worker_mut(&worker)?;
        let known: BTreeSet<_> = worker.plans.keys().cloned().collect();
        if let Some(plan) = defects.stuck_plans.difference(&known).next() {
            return Err(Refused::Missing(format!("there is no plan {plan}")));
        }
        worker.defects = defects;
        Ok(json!({}))
    })
}

async fn restart(State(app): Shared, Path(worker): Path<Address>) -> Response {
    tell(app.change(|world, now| world.model.restart_worker(now, &worker).map(|()| json!({}))))
}

async fn stop(State(app): Shared, Path(worker): Path<Address>) -> Response {
    tell(app.change(|world, now| world.model.stop_worker(now, &worker).map(|()| json!({}))))
}

async fn start(State(app): Shared, Path(worker): Path<Address>) -> Response {
    tell(app.change(|world, now| world.model.start_worker(now, &worker).map(|()| json!({}))))
}

/// Changes the world as a body asks for.
fn with<T: DeserializeOwned>(
    app: &App,
    body: &[u8],
    change: impl FnOnce(&mut World, jiff::Timestamp, T) -> Outcome,
) -> Response {
    match read(body) {
        Ok(wanted) => tell(app.change(|world, now| change(world, now, wanted))),
        Err(why) => bad(&why),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn bad(why: &str) -> Response {
    say(StatusCode::BAD_REQUEST, &json!({"error": why}))
}

fn tell(outcome: Outcome) -> Response {
    match outcome {
        Ok(answer) => say(StatusCode::OK, &answer),
        Err(refused) => {
            let status = match refused {
                Refused::Missing(_) => StatusCode::NOT_FOUND,
                Refused::Conflict(_) => StatusCode::CONFLICT,
            };
            say(status, &json!({"error": refused.to_string()}))
        }
    }
}

fn say(status: StatusCode, answer: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}
