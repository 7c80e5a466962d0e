//! Applies the actions of a plan, in their order.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Patch, PropagationPolicy};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::context::Context;
use super::kind::Managed;
use super::object::whole_seconds;
use crate::api::hold_state::Attempt;
use crate::apiserver::request::{self, call, patch_params, post_params};
use crate::hold::answer::Altered;
use crate::hold::plan::{Desired, decide, mark_kept};
use crate::hold::record::Holder;
use crate::hold::subject::Subject;
use crate::hold::writer::{self, Manner, Outcome, Writer};
use crate::transition::contest;
use crate::transition::job::{self, Owner, Purpose, Watch};
use crate::transition::plan::{Action, FINALIZER, FailedWrite, Failures, PlanState};
use crate::transition::spec::DatabaseEntry;

/// Writes in flight for one object. The writer bounds those of all objects.
const AT_ONCE: usize = 64;
/// Seconds before a failed write is sent again, doubled with each failure. A webhook may answer by then, or a
/// policy may have changed.
const RETRY: i64 = 5;
/// The longest of these times, in seconds.
const LONGEST_RETRY: i64 = 60;
/// Tries to suspend a Job after conflicts.
const SUSPEND_TRIES: usize = 5;
/// How long a failure is remembered that is not tried again.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The write of a hold failed.
    #[error(transparent)]
    Hold(#[from] writer::Error),
    /// Admission changed the write.
    #[error("{0}")]
    Altered(Altered),
    /// Another request failed.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// A manifest or a status does not serialise: a defect of this program.
    #[error("a Job or a status does not serialise, which is a defect of Torpor: {0}")]
    Manifest(#[from] serde_json::Error),
}

impl Error {
    /// Returns whether another replica holds the lease.
    fn is_not_permitted(&self) -> bool {
        let request = match self {
            Self::Request(error) | Self::Hold(writer::Error::Request(error)) => error,
            Self::Hold(writer::Error::Contended(_)) | Self::Altered(_) | Self::Manifest(_) => {
                return false;
            }
        };
        matches!(request, request::Error::NotPermitted(_))
    }
}

/// An object that was written.
#[derive(Default)]
struct Written {
    /// Kind and name.
    name: String,
    uid: String,
    /// The episode of the write; empty where the object was only marked.
    episode: String,
}

/// Applies the plans of one object.
pub struct Applier<'a, K> {
    client: Client,
    writer: &'a Writer,
    object: &'a K,
    holder: &'a Holder,
    /// Of the Jobs.
    image: &'a str,
}

impl<'a, K: Managed> Applier<'a, K> {
    /// Returns an applier for an object as it was read.
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

    /// Applies the actions. Holds are written side by side, everything else in order. A write that fails is
    /// remembered as that object's failure, and keeps no other back. Adds a line to `foreign_changes` for each
    /// foreign change that a person should know. Fails where the finalizer could not be written, or another
    /// replica holds the lease.
    pub async fn apply(
        &self,
        actions: Vec<Action>,
        database: Option<&DatabaseEntry>,
        memory: &mut PlanState,
        foreign_changes: &mut Vec<String>,
    ) -> Result<(), Error> {
        let mut holds = Vec::new();
        let mut remove_finalizer = false;
        for action in actions {
            let (job, sent) = match action {
                Action::AddFinalizer => {
                    self.finalizer(true).await?;
                    continue;
                }
                Action::RemoveFinalizer => {
                    remove_finalizer = true;
                    continue;
                }
                Action::Hold { .. } | Action::MarkKept(_) => {
                    holds.push(action);
                    continue;
                }
                Action::CreateJob(attempt, purpose, watch) => match database {
                    Some(database) => {
                        let sent = self.create(database, &attempt, purpose, &watch).await;
                        (attempt.job, sent)
                    }
                    None => continue,
                },
                Action::SuspendJob(name) => {
                    let sent = self.suspend(&name).await;
                    (name, sent)
                }
                Action::DeleteJob(name) => {
                    let sent = self.delete(&name).await;
                    (name, sent)
                }
            };
            remember(&mut memory.failures, &job, sent)?;
        }
        // Admission changed the last write: a dry run tells whether it still does.
        let dry_runs: BTreeSet<String> = memory
            .failures
            .iter()
            .filter(|(_, failed)| failed.altered)
            .map(|(uid, _)| uid.clone())
            .collect();
        let outcomes: Vec<_> = stream::iter(holds)
            .map(|action| self.write(action, &dry_runs))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut not_permitted = None;
        let now = whole_seconds(Timestamp::now());
        for (Written { name, uid, episode }, outcome) in outcomes {
            // The change that admission made was no foreign write.
            if let Ok(Outcome::Written(foreign)) = &outcome
                && !dry_runs.contains(&uid)
                && contest::record(&mut memory.contests, &name, &episode, foreign, now)
            {
                foreign_changes.extend(foreign.last().map(|f| format!("{name}: {f}")));
            }
            let sent = match outcome {
                Ok(Outcome::Altered(altered)) => Err(Error::Altered(altered)),
                other => other.map(drop).map_err(Error::from),
            };
            not_permitted = remember(&mut memory.failures, &uid, sent).err().or(not_permitted);
        }
        if let Some(error) = not_permitted {
            return Err(error);
        }
        if remove_finalizer {
            self.finalizer(false).await?;
        }
        Ok(())
    }

    /// Writes one hold. Returns the held object, and the outcome.
    async fn write(
        &self,
        action: Action,
        dry_runs: &BTreeSet<String>,
    ) -> (Written, Result<Outcome, writer::Error>) {
        match action {
            Action::Hold { subject, wants, episode, recorded, skip_runs_before } => {
                let decide = |subject: &Subject| {
                    let remembered = recorded.as_ref();
                    let desired = Desired {
                        holder: self.holder,
                        episode: &episode,
                        wants: &wants,
                        remembered,
                    };
                    decide(subject, &desired)
                };
                let dry_run_first = dry_runs.contains(&subject.uid);
                let manner = Manner { skip_runs_before, dry_run_first };
                let outcome = self.writer.write(&subject, manner, decide).await;
                (Written { name: subject.display(), uid: subject.uid.clone(), episode }, outcome)
            }
            Action::MarkKept(subject) => {
                let decide = |subject: &Subject| mark_kept(subject, self.holder);
                let outcome = self.writer.write(&subject, Manner::default(), decide).await;
                let episode = String::new();
                (Written { name: subject.display(), uid: subject.uid.clone(), episode }, outcome)
            }
            _ => (Written::default(), Ok(Outcome::Unchanged)),
        }
    }

    async fn finalizer(&self, wanted: bool) -> Result<(), Error> {
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
        watch: &Watch,
    ) -> Result<(), Error> {
        let owner = Owner {
            namespace: &self.holder.namespace,
            name: &self.holder.name,
            uid: &self.object.uid().unwrap_or_default(),
        };
        let manifest: Value = job::manifest(&owner, database, attempt, purpose, watch, self.image);
        let job: Job = serde_json::from_value(manifest)?;
        let api: Api<Job> = Api::namespaced(self.client.clone(), owner.namespace);
        let params = post_params();
        match call("creating a Job", api.create(&params, &job)).await {
            Err(error) if error.is_conflict() => {
                // It is there already: created before a crash, or by a stale answer.
                let existing = call("creating a Job", api.get_metadata_opt(&attempt.job)).await?;
                existing.map(drop).ok_or(Error::from(error))
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// Suspends a Job. Its controller counts its pods meanwhile, so that a conflict is read again.
    async fn suspend(&self, name: &str) -> Result<(), Error> {
        let mut sent = self.suspend_as_read(name).await;
        for _ in 1..SUSPEND_TRIES {
            match sent {
                Err(error) if error.is_conflict() => sent = self.suspend_as_read(name).await,
                other => return Ok(other?),
            }
        }
        Ok(sent?)
    }

    /// Reads a Job and suspends it, unless it changes meanwhile.
    async fn suspend_as_read(&self, name: &str) -> Result<(), request::Error> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &self.holder.namespace);
        let Some(job) = call("suspending a Job", api.get_metadata_opt(name)).await? else {
            return Ok(());
        };
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": job.metadata.resource_version},
            "spec": {"suspend": true},
        }));
        match call("suspending a Job", api.patch(name, &patch_params(), &patch)).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
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

/// Remembers a failed write of an object or Job until it succeeds. Returns the error where another replica
/// holds the lease: then nothing more is written.
fn remember(failures: &mut Failures, written: &str, sent: Result<(), Error>) -> Result<(), Error> {
    let Err(error) = sent else {
        failures.remove(written);
        return Ok(());
    };
    if error.is_not_permitted() {
        return Err(error);
    }
    let tries = failures.get(written).map_or(0, |failed| failed.tries) + 1;
    let pause = (RETRY << (tries - 1).min(4)).min(LONGEST_RETRY);
    let retry_at = Timestamp::now() + SignedDuration::from_secs(pause);
    let altered = matches!(error, Error::Altered(_));
    let failed = FailedWrite { tries, retry_at, answer: error.to_string(), altered };
    failures.insert(written.to_owned(), failed);
    Ok(())
}

/// Drops failures that nobody has tried to mend for long: their objects are gone.
pub fn forget_old(failures: &mut Failures, now: Timestamp) {
    failures.retain(|_, failed| now.duration_since(failed.retry_at) < FORGOTTEN);
}
