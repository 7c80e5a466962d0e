//! Does what a plan says, in its order: the status first, then the actions.

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Patch, PropagationPolicy};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::api::hibernation::Attempt;
use crate::apiserver::request::{self, call, patch_params, post_params};
use crate::hibernation::job::{self, Owner, Purpose};
use crate::hibernation::plan::{Action, Contest, Contests, FINALIZER};
use crate::hibernation::validate::DatabaseEntry;
use crate::hold::foreign::Foreign;
use crate::hold::plan::{Desired, decide, keep};
use crate::hold::record::Holder;
use crate::hold::subject::Subject;
use crate::hold::writer::{self, Outcome, Writer};
use crate::reconcile::context::Context;
use crate::reconcile::kind::Managed;

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
    Hold(#[from] writer::Error),
    /// Any other request.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// A manifest or a status that is no JSON: a defect of this program.
    #[error("building a Job or a status: {0}")]
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

/// Writes the status of an object: what has changed of it, by a merge patch. An apply would leave behind
/// what somebody else has written there too, as a restore from a backup does, and what is half left
/// behind is not valid. A conflict means that it has changed since it was read: nothing of the plan is
/// done then.
pub async fn write_status<K: Managed>(
    client: &Client,
    writer: &Writer,
    object: &K,
    status: &K::Status,
) -> Result<K, Error> {
    writer.permitted()?;
    let before = serde_json::to_value(object.status().cloned().unwrap_or_default())?;
    let patch = json!({
        "metadata": {"resourceVersion": object.resource_version()},
        "status": difference(&before, serde_json::to_value(status)?),
    });
    let params = patch_params();
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let (name, patch) = (object.name_any(), Patch::Merge(&patch));
    Ok(call("the status", api.patch_status(&name, &params, &patch)).await?)
}

/// What makes one document of another as a merge patch (RFC 7386). Neither has nulls.
fn difference(before: &Value, after: Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, &after) else { return after };
    let mut patch = serde_json::Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        match before.get(key) {
            Some(same) if same == value => {}
            Some(old) => {
                patch.insert(key.clone(), difference(old, value.clone()));
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

/// Carries out plans for one object.
pub struct Applier<'a, K> {
    client: Client,
    writer: &'a Writer,
    object: &'a K,
    holder: &'a Holder,
    /// Of the Jobs.
    image: &'a str,
}

impl<'a, K: Managed> Applier<'a, K> {
    /// For an object, as it is now, that is this holder.
    pub fn new(context: &'a Context, object: &'a K, holder: &'a Holder) -> Self {
        Self {
            client: context.client.clone(),
            writer: &context.writer,
            object,
            holder,
            image: &context.image,
        }
    }
}

impl<K: Managed> Applier<'_, K> {
    fn api(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.holder.namespace)
    }

    /// Carries out the actions. Holds are written side by side, everything else in order. `told` gets
    /// what others were found to have written, where a person should be told.
    pub async fn act(
        &self,
        actions: Vec<Action>,
        database: Option<&DatabaseEntry>,
        contests: &mut Contests,
        told: &mut Vec<String>,
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
            .map(|action| self.settle(action))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut errors = Vec::new();
        for outcome in outcomes {
            match outcome {
                ((name, uid), Ok(Outcome::Written(foreign))) => {
                    if record(contests, &uid, &foreign) {
                        told.extend(foreign.last().map(|f| format!("{name}: {}", f.in_words())));
                    }
                }
                (_, Ok(_)) => {}
                ((_, uid), Err(error)) if error.is_rejection() => {
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

    /// Writes one hold. Returns name and uid of the object with the outcome.
    async fn settle(&self, action: Action) -> ((String, String), Result<Outcome, writer::Error>) {
        match action {
            Action::Settle { subject, wants, episode, remembered, skip_missed_runs } => {
                let decide = |subject: &Subject| {
                    let remembered = remembered.as_ref();
                    let wish = Desired {
                        holder: self.holder,
                        episode: &episode,
                        wants: &wants,
                        remembered,
                    };
                    decide(subject, &wish)
                };
                let outcome = self.writer.settle(&subject, skip_missed_runs, decide).await;
                ((subject.display(), subject.uid), outcome)
            }
            Action::Keep(subject) => {
                let decide = |subject: &Subject| keep(subject, self.holder);
                let outcome = self.writer.settle(&subject, false, decide).await;
                ((subject.display(), subject.uid), outcome)
            }
            _ => (<(String, String)>::default(), Ok(Outcome::Unchanged)),
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
        let params = patch_params();
        let (name, api) = (self.object.name_any(), self.api());
        match call("the finalizer", api.patch(&name, &params, &Patch::Merge(&merge))).await {
            Err(error) if error.is_not_found() => Ok(()),
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
        let params = post_params();
        match call("creating a Job", api.create(&params, &job)).await {
            // It is there already: created before a crash, or by a stale answer.
            Err(error) if error.is_conflict() => Ok(()),
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
            Err(error) if error.is_not_found() => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }
}

/// Counts foreign writes; from the third on the retries slow down, to minutes, never to none.
/// Returns whether a person should be told of it.
fn record(contests: &mut Contests, uid: &str, foreign: &[Foreign]) -> bool {
    // A deploy counts too: one that comes again and again is a controller that puts things back.
    let Some(last) = foreign.last() else { return false };
    let now = Timestamp::now();
    let known = contests.get(uid).filter(|known| now.duration_since(known.last) < CONTEST_WINDOW);
    let count = known.map_or(0, |known| known.count) + 1;
    let quiet = match count.checked_sub(PATIENCE) {
        None => SignedDuration::ZERO,
        Some(more) => SignedDuration::from_secs((10 << more.min(5)).min(300)),
    };
    let contest = Contest {
        count,
        last: now,
        quiet_until: now + quiet,
        manager: last.manager().to_owned(),
        said: last.in_words(),
        rejected: None,
    };
    contests.insert(uid.to_owned(), contest);
    // Once in a contest, and a deploy is no news: it has its own events.
    count == 1 && !last.kept
}

/// Remembers a no of the API server, for as long as the write is not tried again.
fn reject(contests: &mut Contests, written: &str, answer: String) {
    let now = Timestamp::now();
    let contest = Contest {
        count: 0,
        last: now,
        quiet_until: now + REJECTED,
        manager: String::new(),
        said: String::new(),
        rejected: Some(answer),
    };
    contests.insert(written.to_owned(), contest);
}

/// What of the contests is still of interest.
pub fn forget_old(contests: &mut Contests, now: Timestamp) {
    contests.retain(|_, contest| now.duration_since(contest.last) < CONTEST_WINDOW);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_says_what_has_changed_and_what_is_gone() {
        let before = json!({"phase": "Waking", "counts": {"held": 1, "down": 1}, "list": [1, 2]});
        let after =
            json!({"phase": "Awake", "counts": {"held": 1, "down": 0}, "list": [2], "new": {}});
        let patch = json!({"phase": "Awake", "counts": {"down": 0}, "list": [2], "new": {}});
        assert_eq!(difference(&before, after.clone()), patch);
        assert_eq!(
            difference(&before, json!({"list": [1, 2]})),
            json!({"phase": null, "counts": null})
        );
        assert_eq!(difference(&after, after.clone()), json!({}));
    }
}
