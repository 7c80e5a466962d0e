//! The operator is killed at every request that changes something, before the request goes through
//! and after: started again, it converges, and everything comes back as it was.
//!
//! `make test` takes a fixed sample of these points; with `TORPOR_BREAK=1` (`make break`) it is all
//! of them. A point is a write, told by its title and number at a proxy; leases and events don't count.

mod hibernation;

use std::{collections::BTreeMap, io::Write as _, time::Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DeleteParams;

use crate::support::{
    namespace::Namespace,
    operator::Operator,
    proxy::{Fate, Proxy, Request},
};

/// Namespaces in which points are tried at the same time.
const AT_ONCE: usize = 12;
/// Of this many points the sample takes one; odd, so that it has some before and some behind a write.
const SAMPLED: usize = 9;

/// What is swept: a way down and a way back. Each way is asked for, and then waited for and judged.
trait Scenario: Sized + Send + Sync {
    /// Makes what is put down, before anything is asked for.
    fn set_up(namespace: Namespace) -> impl Future<Output = Self> + Send;
    /// Asks for the way down.
    fn go_down(&self) -> impl Future<Output = ()> + Send;
    /// Waits until all is down, and panics where something is not as it must be.
    fn until_down(&self) -> impl Future<Output = ()> + Send;
    /// Asks for the way back.
    fn come_back(&self) -> impl Future<Output = ()> + Send;
    /// Waits until all is back and no more is to come, and panics where something is not as it was.
    fn until_back(&self) -> impl Future<Output = ()> + Send;
    /// The namespace in which it happens.
    fn namespace(&self) -> &Namespace;
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Way {
    Down,
    Back,
}

/// Where the operator is killed.
#[derive(Clone, Debug)]
struct Point {
    way: Way,
    /// The write's title.
    write: String,
    /// Of the writes with this title the first, the second, ...
    number: usize,
    fate: Fate,
}

impl Point {
    /// Whether each run gets there: how often a status is written hangs on what is seen in between.
    fn is_certain(&self) -> bool {
        !self.write.ends_with("/status") || self.number == 1
    }
}

/// What a run has seen.
#[derive(Default)]
struct Seen {
    /// The writes of each way, up to the kill.
    writes: BTreeMap<Way, Vec<Request>>,
    /// Whether the operator was killed.
    killed: bool,
}

/// Goes down and comes back, and is killed at that point.
async fn run<S: Scenario>(test: &str, point: Option<Point>) -> Seen {
    let proxy = Proxy::start().await;
    let namespace = Namespace::create(test).await;
    let mut operator = Operator::start_behind(&namespace, &proxy);
    let scene = S::set_up(namespace).await;
    let mut seen = Seen::default();
    for way in [Way::Down, Way::Back] {
        proxy.forget();
        if let Some(point) = point.as_ref().filter(|point| point.way == way) {
            proxy.stop_at(&point.write, point.number, point.fate);
        }
        match way {
            Way::Down => scene.go_down().await,
            Way::Back => scene.come_back().await,
        }
        let mut killed = false;
        let kill = async {
            proxy.until_stopped().await;
            killed = true;
            operator.kill9();
            // Nobody holds it any more. That it runs out by itself is shown elsewhere, and takes longer.
            scene
                .namespace()
                .api::<Lease>()
                .delete("torpor", &DeleteParams::default())
                .await
                .expect("the lease is deleted");
            proxy.go_on();
            operator.restart();
            converged(&scene, way).await;
        };
        tokio::select! {
            biased;
            () = kill => {}
            () = async {
                converged(&scene, way).await;
                // The world may have stopped behind the last write.
                if proxy.is_stopped() {
                    std::future::pending().await
                }
            } => {}
        }
        seen.killed |= killed;
        proxy.go_on();
        let writes = proxy.requests().into_iter().filter(Request::matters).collect();
        seen.writes.insert(way, writes);
    }
    seen
}

async fn converged<S: Scenario>(scene: &S, way: Way) {
    match way {
        Way::Down => scene.until_down().await,
        Way::Back => scene.until_back().await,
    }
}

/// Sweeps the ways: counts the writes in a run without a kill, and then kills at each of them.
async fn sweep<S: Scenario + 'static>(test: &'static str, ways: &[Way]) {
    let whole = std::env::var_os("TORPOR_BREAK").is_some();
    let (began, step) = (Instant::now(), if whole { 1 } else { SAMPLED });
    let counted = run::<S>(test, None).await;
    let mut points = Vec::new();
    for way in ways {
        let mut numbers = BTreeMap::<_, usize>::new();
        for write in counted.writes[way].iter().map(Request::title) {
            let number =
                *numbers.entry(write.clone()).and_modify(|number| *number += 1).or_insert(1);
            for fate in [Fate::StopsBefore, Fate::StopsAfter] {
                points.push(Point { way: *way, write: write.clone(), number, fate });
            }
        }
    }
    let all = points.len();
    // From the last on: it is over only when nothing is left to do.
    let points: Vec<_> = points.into_iter().rev().step_by(step).collect();
    let runs = stream::iter(points)
        .map(|point| async { (point.clone(), tokio::spawn(run::<S>(test, Some(point))).await) })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let (tried, mut killed, mut failed) = (runs.len(), 0, Vec::new());
    for (point, outcome) in runs {
        match outcome {
            Ok(seen) if seen.killed => killed += 1,
            Ok(_) if point.is_certain() => failed.push(format!("{point:?}: never got there")),
            Ok(_) => {}
            Err(error) => failed.push(format!("{point:?}: {error}")),
        }
    }
    // Past the capture of what tests print.
    let _ = writeln!(
        std::io::stderr(),
        "{test}: {tried} of {all} points, killed at {killed}, failed at {}, {} s",
        failed.len(),
        began.elapsed().as_secs(),
    );
    assert!(failed.is_empty(), "it does not converge when killed at\n{}", failed.join("\n"));
}
