//! Does what a plan says, in its order: the status first, then the actions.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::cast::memory_key;
use super::job::{self, Owner, Purpose};
use super::observe::{self, call};
use super::plan::{Action, Contest, Contests, FINALIZER};
use super::validate::DatabaseEntry;
use crate::api::hibernation::{Attempt, Hibernation, HibernationStatus};
use crate::hold::MANAGER;
use crate::hold::apply::{self, Outcome, Writer, is_status};
use crate::hold::plan::{Foreign, Wish, decide, keep};
use crate::hold::record::Holder;
use crate::hold::subject::Subject;

/// Writes of an object's own actions that are under way at once; the writer bounds all of them.
const AT_ONCE: usize = 64;
/// Foreign writes this close together are one contest.
const CONTEST_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// How long a rejected write waits: admission may have changed its mind by then.
const REJECTED: SignedDuration = SignedDuration::from_secs(15);
/// Foreign writes before the retries slow down.
const PATIENCE: u32 = 3;

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A write of the hold.
    #[error(transparent)]
    Hold(#[from] apply::Error),
    /// Any other request.
    #[error(transparent)]
    Request(#[from] observe::Error),
    /// A manifest that does not parse: a defect of this program.
    #[error("building a Job: {0}")]
    Manifest(#[from] serde_json::Error),
    /// Several of them, the first shown.
    #[error("{first} (and {more} more)")]
    Several {
        /// The first.
        first: Box<Error>,
        /// How many more.
        more: usize,
    },
}

/// Writes the status of an object. A conflict means that it has changed since it was read: nothing
/// of the plan is done then.
pub async fn write_status(
    client: &Client,
    writer: &Writer,
    object: &Hibernation,
    status: &HibernationStatus,
) -> Result<Hibernation, Error> {
    writer.permitted()?;
    let patch = json!({
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "Hibernation",
        "metadata": {"resourceVersion": object.resource_version()},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<Hibernation> = Api::namespaced(client.clone(), &namespace);
    let (name, patch) = (object.name_any(), Patch::Apply(&patch));
    Ok(call("the status", api.patch_status(&name, &params, &patch)).await?)
}

/// Carries out plans for one object.
pub struct Applier<'a> {
    /// The client.
    pub client: Client,
    /// The writer of holds, and the permit to write.
    pub writer: &'a Writer,
    /// The object.
    pub object: &'a Hibernation,
    /// The object, as a holder.
    pub holder: &'a Holder,
    /// Image of the Jobs.
    pub image: &'a str,
}

impl Applier<'_> {
    fn api(&self) -> Api<Hibernation> {
        Api::namespaced(self.client.clone(), &self.holder.namespace)
    }

    /// Carries out the actions. Holds are written side by side, everything else in order.
    pub async fn act(
        &self,
        actions: Vec<Action>,
        database: Option<&DatabaseEntry>,
        contests: &mut Contests,
        let_go: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let mut settling = Vec::new();
        let mut remove_finalizer = false;
        for action in actions {
            match action {
                Action::AddFinalizer => self.finalizer(true).await?,
                Action::RemoveFinalizer => remove_finalizer = true,
                Action::CreateJob(attempt, purpose) => {
                    if let Some(database) = database {
                        match self.create(database, &attempt, purpose).await {
                            Err(Error::Request(error)) if error.is_rejection() => {
                                reject(contests, &attempt.job, error.to_string());
                            }
                            other => other?,
                        }
                    }
                }
                Action::DeleteJob(name) => self.delete(&name).await?,
                Action::Settle { .. } | Action::Keep(_) => settling.push(action),
            }
        }
        let outcomes: Vec<_> = stream::iter(settling)
            .map(async |action| (lets_go(&action), self.settle(action).await))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut errors = Vec::new();
        for (key, outcome) in outcomes {
            if matches!(outcome.1, Ok(Outcome::Written(_) | Outcome::Unchanged | Outcome::Gone)) {
                let_go.extend(key);
            }
            match outcome {
                (uid, Ok(Outcome::Written(foreign))) => record(contests, &uid, &foreign),
                (_, Ok(_)) => {}
                (uid, Err(error)) if error.is_rejection() => {
                    reject(contests, &uid, error.to_string());
                }
                (_, Err(error)) => errors.push(Error::from(error)),
            }
        }
        if remove_finalizer {
            self.finalizer(false).await?;
        }
        let more = errors.len().saturating_sub(1);
        match errors.into_iter().next() {
            None => Ok(()),
            Some(first) if more == 0 => Err(first),
            Some(first) => Err(Error::Several { first: Box::new(first), more }),
        }
    }

    async fn settle(&self, action: Action) -> (String, Result<Outcome, apply::Error>) {
        match action {
            Action::Settle { subject, wants, episode, remembered, skip_missed_runs } => {
                let decide = |subject: &Subject| {
                    let remembered = remembered.as_ref();
                    let wish =
                        Wish { holder: self.holder, episode: &episode, wants: &wants, remembered };
                    decide(subject, &wish)
                };
                let outcome = self.writer.settle(&subject, skip_missed_runs, decide).await;
                (subject.uid, outcome)
            }
            Action::Keep(subject) => {
                let decide = |subject: &Subject| keep(subject, self.holder);
                let outcome = self.writer.settle(&subject, false, decide).await;
                (subject.uid, outcome)
            }
            _ => (String::new(), Ok(Outcome::Unchanged)),
        }
    }

    async fn finalizer(&self, wanted: bool) -> Result<(), Error> {
        self.writer.permitted()?;
        let mut finalizers = self.object.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        let merge = json!({"metadata": {
            "resourceVersion": self.object.resource_version(),
            "finalizers": finalizers,
        }});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        let (name, api) = (self.object.name_any(), self.api());
        match call("the finalizer", api.patch(&name, &params, &Patch::Merge(&merge))).await {
            Err(observe::Error::Api { source, .. }) if is_status(&source, 404) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    async fn create(
        &self,
        database: &DatabaseEntry,
        attempt: &Attempt,
        purpose: Purpose,
    ) -> Result<(), Error> {
        self.writer.permitted()?;
        let owner = Owner {
            namespace: &self.holder.namespace,
            name: &self.holder.name,
            uid: &self.object.uid().unwrap_or_default(),
        };
        let manifest: Value = job::manifest(&owner, database, attempt, purpose, self.image);
        let job: Job = serde_json::from_value(manifest)?;
        let api: Api<Job> = Api::namespaced(self.client.clone(), owner.namespace);
        let params =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match call("creating a Job", api.create(&params, &job)).await {
            // It is there already: created before a crash, or by a stale answer.
            Err(observe::Error::Api { source, .. }) if is_status(&source, 409) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        self.writer.permitted()?;
        let api: Api<Job> = Api::namespaced(self.client.clone(), &self.holder.namespace);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match call("deleting a Job", api.delete(name, &params)).await {
            Err(observe::Error::Api { source, .. }) if is_status(&source, 404) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }
}

/// The key in `status.originals` of what an action lets go of altogether.
fn lets_go(action: &Action) -> Option<String> {
    match action {
        Action::Settle { subject, wants, .. } if wants.is_empty() => Some(memory_key(subject)),
        _ => None,
    }
}

/// Counts foreign writes; from the third on the retries slow down, to minutes, never to none.
fn record(contests: &mut Contests, uid: &str, foreign: &[Foreign]) {
    // A deploy counts too: one that comes again and again is a controller that puts things back.
    let Some(last) = foreign.last() else { return };
    let now = Timestamp::now();
    let known = contests.get(uid).filter(|known| now.duration_since(known.last) < CONTEST_WINDOW);
    let count = known.map_or(0, |known| known.count) + 1;
    let quiet = match count.checked_sub(PATIENCE) {
        None => SignedDuration::ZERO,
        Some(more) => SignedDuration::from_secs((10 << more.min(5)).min(300)),
    };
    let manager = last.owner.as_ref().map_or("somebody", |owner| owner.manager.as_str()).to_owned();
    let contest = Contest { count, last: now, quiet_until: now + quiet, manager, rejected: None };
    contests.insert(uid.to_owned(), contest);
}

/// Remembers a no of the API server, for as long as the write is not tried again.
fn reject(contests: &mut Contests, written: &str, answer: String) {
    let now = Timestamp::now();
    let contest = Contest {
        count: 0,
        last: now,
        quiet_until: now + REJECTED,
        manager: String::new(),
        rejected: Some(answer),
    };
    contests.insert(written.to_owned(), contest);
}

/// What of the contests is still of interest.
pub fn forget_old(contests: &mut Contests, now: Timestamp) {
    contests.retain(|_, contest| now.duration_since(contest.last) < CONTEST_WINDOW);
}
