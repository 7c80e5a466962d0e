//! A worker: what it sells (plans), what runs on it (tasks), and when it goes down.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{Address, Terms};

/// A worker and the host that it runs on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worker {
    pub address: Address,
    pub master: Address,
    pub admin: Option<Address>,
    /// What was announced, kept over restarts.
    pub next_maintenance: Option<Timestamp>,
    /// What it says as long as nothing was announced: a hundred years after its start.
    pub default_maintenance: Timestamp,
    pub started: Timestamp,
    /// Whether its process runs at all.
    pub running: bool,
    pub plans: BTreeMap<String, Plan>,
    pub tasks: BTreeMap<String, Task>,
    /// How many plans it has made: a part of the next one's id.
    pub plans_made: u64,
    /// Plans that a call is removing at the moment.
    pub removing: BTreeSet<String>,
    /// Defects, as far as they have to be switched on.
    pub defects: Defects,
    /// The plan whose removal holds up the present sync.
    pub stalled_on: Option<String>,
    /// The plans that Optimus has made, by the place of their terms in its list.
    pub optimus_plans: BTreeMap<usize, String>,
}

/// What is wrong with a worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defects {
    /// Cancelling tasks takes them from the list and then fails: their containers run on.
    pub lose_containers: bool,
    /// Plans whose removal in a sync never ends, and with it the sync.
    pub stuck_plans: BTreeSet<String>,
    /// The worker has locked itself out of its plans: calls that need them hang until it is restarted.
    pub deadlocked: bool,
    /// What Optimus offers whenever it isn't, until maintenance begins.
    pub optimus: Vec<Terms>,
}

/// An ask plan. It is good for one order and one deal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub id: String,
    pub terms: Terms,
    pub order: Option<u64>,
    /// Known in memory only: a restart forgets it.
    pub deal: Option<u64>,
    /// Marked for deletion, which is never taken back.
    pub pending_deletion: bool,
    pub created: Timestamp,
    pub last_order_placed: Option<Timestamp>,
}

/// A task of a consumer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub id: String,
    pub deal: u64,
    pub image: String,
    pub status: TaskStatus,
    pub since: Timestamp,
    /// Whether the worker shows it.
    pub listed: bool,
    /// The truth: whether its container runs.
    pub container: bool,
}

/// `TaskStatusReply.Status`, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStatus {
    Unknown = 0,
    Spooling = 1,
    Spawning = 2,
    Running = 3,
    Finished = 4,
    Broken = 5,
    KilledOom = 6,
}

impl TaskStatus {
    /// Whether there is a container in this state, or about to be one.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Spooling | Self::Spawning | Self::Running)
    }
}

impl Worker {
    pub fn new(now: Timestamp, address: Address, master: Address, admin: Option<Address>) -> Self {
        Self {
            address,
            master,
            admin,
            next_maintenance: None,
            default_maintenance: in_a_hundred_years(now),
            started: now,
            running: true,
            plans: BTreeMap::new(),
            tasks: BTreeMap::new(),
            plans_made: 0,
            removing: BTreeSet::new(),
            defects: Defects::default(),
            stalled_on: None,
            optimus_plans: BTreeMap::new(),
        }
    }

    /// When maintenance begins, as far as it knows.
    pub fn maintenance(&self) -> Timestamp {
        self.next_maintenance.unwrap_or(self.default_maintenance)
    }

    /// Whether this account may manage it.
    pub fn may_be_managed_by(&self, account: &Address) -> bool {
        [Some(&self.address), Some(&self.master), self.admin.as_ref()].contains(&Some(account))
    }

    /// Forgets what was in memory only.
    pub fn restart(&mut self, now: Timestamp) {
        self.started = now;
        self.default_maintenance = in_a_hundred_years(now);
        self.removing.clear();
        self.stalled_on = None;
        self.defects.deadlocked = false;
        for plan in self.plans.values_mut() {
            plan.deal = None;
        }
    }

    /// For how long an order that is placed now may last at most; none if none may be placed.
    pub fn time_to_sell(&self, now: Timestamp, gap: u64) -> Option<u64> {
        let gap = SignedDuration::from_secs(i64::try_from(gap).unwrap_or(i64::MAX));
        let last = self.maintenance().saturating_sub(gap).unwrap_or(Timestamp::MIN);
        u64::try_from(last.duration_since(now).as_secs()).ok().filter(|seconds| *seconds > 0)
    }
}

fn in_a_hundred_years(now: Timestamp) -> Timestamp {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.to_zoned(TimeZone::UTC).saturating_add(100.years()).timestamp()
}
