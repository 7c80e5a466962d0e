//! Answers each write of a hibernation and its wake with an error, for as long as it takes. The others end as
//! asked, the message has the API server's words, and once the fault is over everything is as asked without
//! anybody's help.

use std::{collections::BTreeSet, fmt, io::Write as _, time::Instant};

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::{AT_ONCE, ROOM};
use crate::support::{
    namespace::Namespace,
    operator::Operator,
    project::{HELD, Project},
    proxy::{Fate, Proxy, Request},
};

/// The sample takes one of so many points: not a multiple of a divisor of the number of answers, so that the sample
/// has all of them.
const SAMPLED: usize = 7;
/// The most requests that a write which fails for ever may cost in one fault.
const BEARABLE: usize = 100;

/// The answers, each with words that the message then has.
const ANSWERS: [(Fate, &str); 6] = [
    (Fate::Answered(403, "it is forbidden by the policy of the sweep"), "policy of the sweep"),
    (Fate::Answered(409, "the object has been modified, says the sweep"), ""),
    (Fate::Answered(422, "it is invalid, says the sweep"), "says the sweep"),
    (Fate::Answered(429, "the budget of the sweep is spent"), "budget of the sweep"),
    (
        Fate::Answered(500, "failed calling webhook \"sweep.example\": connection refused"),
        "failed calling webhook \"sweep.example\"",
    ),
    (Fate::Silent, "did not answer within"),
];

/// A write that is answered with an error.
#[derive(Clone, Debug)]
struct Point {
    write: String,
    fate: Fate,
    words: &'static str,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.write, self.fate)
    }
}

impl Point {
    /// Returns the held object that is written, by its place in `HELD`; none for the writes of the Hibernation
    /// itself and of its Jobs.
    fn object(&self) -> Option<usize> {
        HELD.iter()
            .position(|(kind, name)| self.write == format!("PATCH {}s/{name}", kind.to_lowercase()))
    }

    /// Returns the held objects that go down although this write fails: those of the same step, and of the
    /// steps before.
    fn others_that_go_down(&self) -> Vec<(&'static str, &'static str)> {
        let Some(failing) = self.object() else { return Vec::new() };
        let others = HELD.into_iter().enumerate();
        others
            .filter(|(at, _)| *at != failing && step(*at) <= step(failing))
            .map(|(_, object)| object)
            .collect()
    }

    /// Returns the held objects that come back although this write fails: all others.
    fn others_that_come_back(&self) -> Vec<(&'static str, &'static str)> {
        let failing = self.object();
        let others = HELD.into_iter().enumerate();
        others.filter(|(at, _)| Some(*at) != failing).map(|(_, object)| object).collect()
    }

    /// Returns whether the status tells of the failure on the way down. It cannot tell that it is not written,
    /// and a finished Job that stays is no obstacle.
    fn is_told(&self) -> bool {
        !self.write.ends_with("/status") && self.write != "DELETE jobs"
    }
}

/// Returns the number of the step in which an object of `HELD` goes down.
fn step(at: usize) -> usize {
    match HELD[at] {
        ("ConfigMap", _) => 0,
        (_, "second" | "queue") => 2,
        (_, "api") => 3,
        _ => 1,
    }
}

/// Sleeps and wakes, with faults at that write on both ways. Returns the titles of all writes.
async fn run(point: Option<Point>) -> BTreeSet<String> {
    let _room = ROOM.acquire().await.expect("it is never closed");
    let proxy = Proxy::start().await;
    let namespace = Namespace::create("sweep-faults").await;
    let _operator = Operator::start_behind(&namespace, &proxy);
    let project = Project::create(namespace).await;
    proxy.forget();
    fail(&proxy, point.as_ref());
    project.hibernate_within("5s").await;
    if let Some(point) = &point {
        project.until_so(&point.others_that_go_down(), true).await;
        if point.is_told() {
            let told = |status: &Value| is_told(status, point);
            project.hibernation().until(&format!("{point} is told"), told).await;
        }
        bearable(&proxy, point);
    }
    mend(&proxy);
    project.until_down().await;
    fail(&proxy, point.as_ref());
    project.hibernation().set_state("Awake").await;
    if let Some(point) = &point {
        project.until_so(&point.others_that_come_back(), false).await;
        if point.object().is_some() {
            let told = |status: &Value| is_told(status, point);
            project.hibernation().until(&format!("{point} is told"), told).await;
        }
        bearable(&proxy, point);
    }
    mend(&proxy);
    project.until_awake().await;
    project.assert_as_before().await;
    let requests = proxy.requests();
    requests.iter().filter(|request| request.matters()).map(Request::title).collect()
}

fn fail(proxy: &Proxy, point: Option<&Point>) {
    if let Some(Point { write, fate, .. }) = point.cloned() {
        proxy.rule(move |request| if request.title() == write { fate } else { Fate::Pass });
    }
}

fn mend(proxy: &Proxy) {
    proxy.rule(|_| Fate::Pass);
}

/// Returns whether a condition names the object, where it is one, and has the API server's words.
fn is_told(status: &Value, point: &Point) -> bool {
    let named = point.object().map_or("", |at| HELD[at].1);
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut messages = conditions.filter_map(|condition| condition["message"].as_str());
    messages.any(|message| message.contains(named) && message.contains(point.words))
}

/// Panics if a write that fails for ever is sent all the time.
fn bearable(proxy: &Proxy, point: &Point) {
    let sent = proxy.requests().iter().filter(|request| request.title() == point.write).count();
    assert!(sent <= BEARABLE, "{point}: sent {sent} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_for_ever_keeps_nobody_else_and_all_ends_as_asked_once_it_succeeds() {
    let whole = std::env::var_os("TORPOR_BREAK").is_some();
    let (began, sampled) = (Instant::now(), if whole { 1 } else { SAMPLED });
    let mut writes = run(None).await;
    // Not each run has it: it suspends a Job that is still unfinished 10 s after its command.
    writes.remove("PATCH jobs");
    let points = writes.iter().flat_map(|write| {
        let write = write.clone();
        ANSWERS.map(|(fate, words)| Point { write: write.clone(), fate, words })
    });
    let points: Vec<Point> = points.collect();
    let all = points.len();
    let points: Vec<Point> = match std::env::var("TORPOR_POINT") {
        Ok(wanted) => {
            points.into_iter().filter(|point| point.to_string().contains(&wanted)).collect()
        }
        Err(_) => points.into_iter().step_by(sampled).collect(),
    };
    let runs = stream::iter(points)
        .map(|point| async { (point.clone(), tokio::spawn(run(Some(point))).await) })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let stuck = runs.iter().filter_map(|(point, outcome)| {
        outcome.as_ref().err().map(|error| format!("{point}: {error}"))
    });
    let stuck: Vec<String> = stuck.collect();
    // Past the capture of what tests print.
    let mut stderr = std::io::stderr();
    let _ = writeln!(
        stderr,
        "sweep-faults: {} of {all} points, {} answers, stuck: {}, {} s",
        runs.len(),
        ANSWERS.len(),
        stuck.len(),
        began.elapsed().as_secs(),
    );
    for point in &stuck {
        let _ = writeln!(stderr, "sweep-faults: stuck: {point}");
    }
    assert_eq!(json!(stuck), json!([]), "\n{}", stuck.join("\n"));
}
