//! Kills the operator before and after every write. Once restarted it must converge, and everything
//! must be restored.
//!
//! `make test` takes a fixed sample of these points, `TORPOR_BREAK=1` (`make break`) all of them,
//! and `TORPOR_POINT=TEXT` those whose line in a failure's report contains the text. A point is a
//! write, identified by its title and number at a proxy. Leases, events and tokens don't count;
//! changes sent to a bridge do.

mod faults;
mod hibernation;
mod other_kinds;
mod window;

use std::{collections::BTreeMap, fmt, io::Write as _, time::Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DeleteParams;
use tokio::sync::Semaphore;

use crate::support::{
    namespace::Namespace,
    operator::Operator,
    proxy::{Fate, Proxy, Request},
};

/// The number of namespaces in which all sweeps together try points at the same time. Each has an
/// operator and a node of its own; more would only wait for each other.
const AT_ONCE: usize = 8;
static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);
/// The sample takes one of so many points. The number is odd, so that the sample has points before
/// and after writes.
const SAMPLED: usize = 9;

/// A way down and a way back. The sweep requests each way, waits for it and checks the result.
trait Scenario: Sized + Send + Sync {
    /// More arguments of the operator.
    const ARGUMENTS: &[&str] = &[];
    /// Creates the objects of the scenario.
    fn set_up(namespace: Namespace, proxy: &mut Proxy) -> impl Future<Output = Self> + Send;
    /// Requests the way down.
    fn go_down(&self) -> impl Future<Output = ()> + Send;
    /// Waits until everything is down, and panics if something is wrong.
    fn until_down(&self) -> impl Future<Output = ()> + Send;
    /// Requests the way back.
    fn come_back(&self) -> impl Future<Output = ()> + Send;
    /// Waits until everything is restored, and panics if something differs from before.
    fn until_back(&self) -> impl Future<Output = ()> + Send;
    /// Returns the namespace of the scenario.
    fn namespace(&self) -> &Namespace;
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Way {
    Down,
    Back,
}

/// The point at which the operator is killed.
#[derive(Clone, Debug)]
struct Point {
    way: Way,
    /// The write's title.
    write: String,
    /// The number among the writes with this title, from 1.
    number: usize,
    fate: Fate,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, write, number, fate } = self;
        write!(f, "{way:?}, {write}, number {number}: {fate:?}")
    }
}

impl Point {
    /// Whether each run reaches the point. The number of status writes, and of changes sent to a
    /// market, depends on timing.
    fn is_certain(&self) -> bool {
        let hangs = self.write.ends_with("/status") || self.write.contains(" /v1/");
        // The withdrawn orders grow with the next observation if the first was incomplete.
        let grows = self.write.starts_with("PATCH ") && self.write.ends_with("-withdrawn");
        // A Job is suspended if its result is read before its controller has counted the pod.
        let suspends = self.write == "PATCH jobs";
        !grows && !suspends && (!hangs || self.number == 1)
    }
}

/// The outcome of a run.
#[derive(Default)]
struct Run {
    /// The writes of each way up to the kill.
    writes: BTreeMap<Way, Vec<Request>>,
    /// Whether the operator was killed.
    killed: bool,
}

/// Runs both ways, and kills the operator at that point.
async fn run<S: Scenario>(test: &str, point: Option<Point>) -> Run {
    let _room = ROOM.acquire().await.expect("it is never closed");
    let mut proxy = Proxy::start().await;
    let namespace = Namespace::create(test).await;
    let arguments = [&["--lease-duration", "2m"], S::ARGUMENTS].concat();
    let mut operator = Operator::start_behind_with(&namespace, &proxy, &arguments);
    let scene = S::set_up(namespace, &mut proxy).await;
    let mut seen = Run::default();
    for way in [Way::Down, Way::Back] {
        proxy.forget();
        if let Some(point) = point.as_ref().filter(|point| point.way == way) {
            proxy.stop_at(&point.write, point.number, point.fate);
        }
        match way {
            Way::Down => scene.go_down().await,
            Way::Back => scene.come_back().await,
        }
        let converge = async {
            converged(&scene, way).await;
            // The world may have stopped behind the last write.
            while proxy.is_stopped() {
                proxy.until_going().await;
                converged(&scene, way).await;
            }
        };
        let mut killed = false;
        tokio::select! {
            () = attend(&mut operator, &proxy, scene.namespace(), &mut killed) => {}
            () = converge => {}
        }
        seen.killed |= killed;
        proxy.go_on();
        let mut writes = proxy.requests();
        // A conflict is met by chance.
        writes.retain(|request| request.matters() && !request.met(409));
        seen.writes.insert(way, writes);
    }
    seen
}

/// Kills the operator where the proxy stops the world, and starts it again.
async fn attend(operator: &mut Operator, proxy: &Proxy, namespace: &Namespace, killed: &mut bool) {
    loop {
        proxy.until_stopped().await;
        *killed = true;
        operator.kill9();
        // Nobody holds it any more. That it runs out by itself is shown elsewhere, and takes longer.
        let leases = namespace.api::<Lease>();
        let deleted = leases.delete("torpor", &DeleteParams::default()).await;
        deleted.expect("the lease is deleted");
        proxy.go_on();
        operator.restart();
    }
}

async fn converged<S: Scenario>(scene: &S, way: Way) {
    match way {
        Way::Down => scene.until_down().await,
        Way::Back => scene.until_back().await,
    }
}

/// Counts the writes in a run without a kill, and then kills the operator at each of them.
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
    let points: Vec<_> = match std::env::var("TORPOR_POINT") {
        Ok(wanted) => {
            points.into_iter().filter(|point| point.to_string().contains(&wanted)).collect()
        }
        Err(_) => points.into_iter().rev().step_by(step).collect(),
    };
    let runs = stream::iter(points)
        .map(|point| async { (point.clone(), tokio::spawn(run::<S>(test, Some(point))).await) })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let (count, mut killed, mut failed) = (runs.len(), 0, Vec::new());
    for (point, outcome) in runs {
        match outcome {
            Ok(seen) if seen.killed => killed += 1,
            Ok(_) if point.is_certain() => failed.push(format!("{point}: never got there")),
            Ok(_) => {}
            Err(error) => failed.push(format!("{point}: {error}")),
        }
    }
    // Past the capture of what tests print.
    let _ = writeln!(
        std::io::stderr(),
        "{test}: {count} of {all} points, killed at {killed}, failed at {}, {} s",
        failed.len(),
        began.elapsed().as_secs(),
    );
    assert!(failed.is_empty(), "it does not converge when killed at\n{}", failed.join("\n"));
}
