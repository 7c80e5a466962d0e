//! The world in which the planner is tested: what it writes is so, and its Jobs are there. Time
//! passes only where a test says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::plan::{Input, plan};
use super::validate::{Valid, validate};
use crate::api::hibernation::HibernationStatus;
use crate::api::hold_state::Episode;
use crate::api::schedule::DesiredState;
use crate::hold::plan::{Decision, Desired, mark_kept};
use crate::hold::record::Holder;
use crate::schedule::Basis;
use crate::transition::contest;
use crate::transition::job::{Purpose, Watch};
use crate::transition::observe::{JobView, Observed, Pods};
use crate::transition::plan::{Action, FailedWrite, Next, Plan, PlanState};
use crate::transition::pod::PodView;
use crate::transition::test_world::{deployment, merge, subject, write};
use crate::transition::unavailable::Unavailable;

/// A namespace, an object in it, and what an operator remembers.
pub(crate) struct World {
    pub(crate) holder: Holder,
    pub(crate) spec: Valid,
    pub(crate) status: HibernationStatus,
    pub(crate) finalizer: bool,
    pub(crate) deleting_since: Option<Timestamp>,
    pub(crate) memory: PlanState,
    pub(crate) now: Timestamp,
    pub(crate) plans: u32,
    pub(crate) objects: Vec<Value>,
    pub(crate) config_maps: Vec<Value>,
    pub(crate) pods: Vec<PodView>,
    pub(crate) replica_sets: Vec<Value>,
    pub(crate) jobs: Vec<Value>,
    /// Kinds of the table that cannot be listed.
    pub(crate) unavailable: BTreeMap<&'static str, Unavailable>,
    /// The truncation's Job.
    pub(crate) job: JobView,
    /// The report of each preflight.
    pub(crate) preflight_report: Option<Value>,
    /// Truncation Jobs, in the order of their creation.
    pub(crate) created: Vec<String>,
    /// The sessions for which each of them looks.
    pub(crate) watches: Vec<Watch>,
    pub(crate) deleted: Vec<String>,
    pub(crate) suspended: Vec<String>,
}

impl World {
    pub(crate) fn new(spec: Value, objects: impl IntoIterator<Item = Value>) -> Self {
        Self {
            holder: "Hibernation/ns/project".parse().unwrap(),
            spec: validate(&serde_json::from_value(spec).unwrap()).unwrap(),
            status: HibernationStatus::default(),
            finalizer: false,
            deleting_since: None,
            memory: PlanState::default(),
            now: "2026-12-01T00:00:00Z".parse().unwrap(),
            plans: 0,
            objects: objects.into_iter().collect(),
            config_maps: Vec::new(),
            pods: Vec::new(),
            replica_sets: Vec::new(),
            jobs: Vec::new(),
            unavailable: BTreeMap::new(),
            job: JobView::default(),
            preflight_report: None,
            created: Vec::new(),
            watches: Vec::new(),
            deleted: Vec::new(),
            suspended: Vec::new(),
        }
    }

    /// Everything is down, and the truncation's Job has just been created.
    pub(crate) fn truncating() -> Self {
        let mut world = Self::new(emptying(json!({})), [deployment("worker", 2)]);
        world.run();
        world.after(5);
        assert_eq!(world.created.len(), 1);
        world
    }

    pub(crate) fn ask(&mut self, state: DesiredState) {
        self.spec.basis = Basis::State(state);
        self.run();
    }

    pub(crate) fn after(&mut self, seconds: i64) -> Plan<HibernationStatus> {
        self.now += SignedDuration::from_secs(seconds);
        self.run()
    }

    /// Iterates until there is nothing to do but wait.
    pub(crate) fn run(&mut self) -> Plan<HibernationStatus> {
        for _ in 0..50 {
            let plan = self.iterate();
            self.obey(&plan);
            if plan.next != Next::Again {
                return plan;
            }
        }
        panic!("it comes to no end: {:?}", self.status);
    }

    /// One plan, with its status written and none of its actions done: the operator may die here.
    pub(crate) fn iterate(&mut self) -> Plan<HibernationStatus> {
        self.plans += 1;
        contest::take_over(&mut self.memory.contests, &self.status.hold);
        let episode = self.status.hold.episode.as_ref();
        let waking = episode.is_some_and(|episode| episode.waking_since.is_some());
        let attempt = episode.and_then(|episode| episode.attempt.as_ref());
        let deleting = self.deleting_since.is_some();
        let job_matters =
            attempt.is_some_and(|attempt| attempt.ended.is_none() || waking || deleting);
        let report = self.preflight_report.iter().map(|report| (0, report.to_string()));
        let passed = JobView {
            exists: true,
            finished: true,
            succeeded: true,
            terminated: report.collect(),
            ..JobView::default()
        };
        let mut observed =
            Observed {
                workloads: self
                    .objects
                    .iter()
                    .map(subject)
                    .filter(|subject| !self.unavailable.contains_key(subject.kind.name))
                    .map(Arc::new)
                    .collect(),
                unavailable: self.unavailable.clone(),
                config_maps: self.config_maps.iter().map(subject).map(Arc::new).collect(),
                preflight: self.status.database.preflight.as_ref().map(|preflight| JobView {
                    name: preflight.attempt.job.clone(),
                    ..passed.clone()
                }),
                truncation: attempt
                    .filter(|_| job_matters)
                    .map(|attempt| JobView { name: attempt.job.clone(), ..self.job.clone() }),
                ..Observed::default()
            };
        let planned = self.planned(&observed);
        let planned = if planned.next == Next::ObservePods {
            let (began, complete) = (self.now, self.now);
            let running = self.pods.clone();
            observed.pods = Some(Pods {
                began,
                complete,
                running,
                replica_sets: self.replica_sets.iter().map(subject).collect(),
                jobs: self.jobs.iter().map(subject).collect(),
                controllers: observed.workloads.iter().map(|of| (**of).clone()).collect(),
                ..Pods::default()
            });
            self.planned(&observed)
        } else {
            planned
        };
        self.status = planned.status.clone();
        self.memory.confirmations = planned.confirmations.clone();
        self.memory.market = planned.market.clone();
        planned
    }

    pub(crate) fn planned(&self, observed: &Observed) -> Plan<HibernationStatus> {
        plan(Input {
            holder: &self.holder,
            generation: Some(1),
            created: self.now,
            deleting_since: self.deleting_since,
            finalizer: self.finalizer,
            spec: &self.spec,
            status: &self.status,
            observed,
            market: None,
            memory: &self.memory,
            now: self.now,
            fresh_id: &format!("episode{}", self.plans),
        })
    }

    pub(crate) fn obey(&mut self, plan: &Plan<HibernationStatus>) {
        for action in &plan.actions {
            match action {
                Action::AddFinalizer => self.finalizer = true,
                Action::RemoveFinalizer => self.finalizer = false,
                Action::Hold { subject, wants, episode, recorded, .. } => {
                    assert!(self.finalizer || wants.is_empty(), "held without the finalizer");
                    let holder = self.holder.clone();
                    let remembered = recorded.as_ref();
                    let wish = Desired { holder: &holder, episode, wants, remembered };
                    let foreign = write(self.object(&subject.name), subject, &wish);
                    let (contests, object) = (&mut self.memory.contests, subject.display());
                    contest::record(contests, &object, episode, &foreign, self.now);
                }
                Action::CreateJob(attempt, Purpose::Truncation, watch) => {
                    self.created.push(attempt.job.clone());
                    self.watches.push(watch.clone());
                    self.job = JobView { exists: true, ..JobView::default() };
                    if let Watch::From(addresses) = watch {
                        self.job.watched.clone_from(addresses);
                    }
                }
                Action::DeleteJob(job) if self.created.contains(job) => {
                    self.deleted.push(job.clone());
                    self.job = JobView::default();
                }
                Action::SuspendJob(job) => {
                    self.suspended.push(job.clone());
                    self.job.suspended = true;
                }
                Action::CreateJob(..) | Action::DeleteJob(_) => {}
                Action::MarkKept(subject) => {
                    let Decision::Write(write) = mark_kept(subject, &self.holder) else {
                        panic!("{} is kept already", subject.name)
                    };
                    merge(self.object(&subject.name), &write.patch);
                }
            }
        }
    }

    pub(crate) fn object(&mut self, name: &str) -> &mut Value {
        let mut objects = self.objects.iter_mut().chain(&mut self.config_maps);
        objects.find(|object| object["metadata"]["name"] == name).unwrap()
    }

    pub(crate) fn replicas(&mut self, name: &str) -> i64 {
        self.object(name)["spec"]["replicas"].as_i64().unwrap()
    }

    pub(crate) fn job_succeeds(&mut self) {
        self.job.finished = true;
        self.job.succeeded = true;
    }

    /// The truncation's Job ends with this exit status.
    pub(crate) fn job_fails(&mut self, code: i32) {
        self.job.finished = true;
        self.job.terminated = vec![(code, String::new())];
    }

    /// The API server says no to each write of an object, for now.
    pub(crate) fn reject(&mut self, name: &str) {
        let retry_at = self.now + SignedDuration::from_hours(1);
        let failed = FailedWrite { tries: 1, retry_at, answer: "no".to_owned(), altered: false };
        self.memory.failures.insert(format!("uid-of-{name}"), failed);
    }

    pub(crate) fn episode(&self) -> &Episode {
        self.status.hold.episode.as_ref().unwrap()
    }

    /// The reason of the condition Stalled, where it is true.
    pub(crate) fn stalled(&self) -> Option<&str> {
        let stalled = |c: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            c.type_ == crate::api::condition::STALLED && c.status == "True"
        };
        self.status.conditions.iter().find(stalled).map(|c| c.reason.as_str())
    }
}

/// A spec that empties the default tables, with more in `truncate`.
pub(crate) fn emptying(truncate: Value) -> Value {
    let secret = json!({"name": "db", "key": "URL"});
    Value::from_iter([
        ("state", json!("Hibernated")),
        ("workloads", json!([{"kind": "Deployment", "name": "worker"}])),
        ("database", Value::from_iter([("secretRef", secret), ("truncate", truncate)])),
    ])
}
