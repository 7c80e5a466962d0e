//! Sends the writes of holds. The number of concurrent writes is bounded, and a conflict leads to a new
//! decision.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time;

use super::answer::{Altered, Undo};
use super::document::Parser;
use super::foreign::Foreign;
use super::lever::Kind;
use super::patch::Write;
use super::plan::Decision;
use super::refusal::Refusal;
use super::subject::Subject;
use crate::apiserver::documents;
use crate::apiserver::pool::Pool;
use crate::apiserver::request::{self, call, patch_params};
use crate::metrics::{Metrics, WriteResult};

/// The tries of one write after conflicts. The next reconcile takes over after them.
const TRIES: usize = 5;

/// Sends the writes of holds.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    in_flight: Arc<Pool>,
    metrics: Arc<Metrics>,
}

/// The result of a decision.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The object needed no write.
    Unchanged,
    /// The object was written; the foreign writes that this reverted.
    Written(Vec<Foreign>),
    /// The object cannot be held or restored.
    Refused(Refusal),
    /// Admission changed the write, and the object is as before.
    Altered(Altered),
    /// The object does not exist any more.
    Gone,
}

/// How an object is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// A CronJob that is unsuspended skips the runs before this time; none where it makes up for them.
    pub skip_runs_before: Option<Timestamp>,
    /// Whether a dry run comes first, because admission changed the last write. While admission still does,
    /// the object is not written.
    pub dry_run_first: bool,
}

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request failed.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// Every try met a conflict.
    #[error("{0} is not written: other clients changed it during each of {TRIES} tries")]
    Contended(String),
}

impl Error {
    /// Returns whether the API server rejected the write: RBAC, an admission policy, or validation. The same
    /// write would be rejected again.
    pub fn is_rejection(&self) -> bool {
        matches!(self, Self::Request(error) if error.is_rejection())
    }
}

/// Waits before the next try, and counts. 10 ms, 50 ms, 250 ms and so on are what client-go recommends for an object
/// that other clients work on (`k8s.io/client-go/util/retry`, `DefaultBackoff`).
async fn after_conflict(conflicts: &mut u32) {
    time::sleep(Duration::from_millis(10 * 5_u64.pow((*conflicts).min(3)))).await;
    *conflicts += 1;
}

fn result<T>(sent: &Result<T, request::Error>) -> WriteResult {
    let Err(error) = sent else { return WriteResult::Done };
    match error.code() {
        Some(409) => WriteResult::Conflict,
        Some(..500) => WriteResult::Refused,
        _ => WriteResult::Failed,
    }
}

impl Writer {
    /// Returns a writer that has at most `in_flight` writes under way at a time in one namespace, and half as many
    /// more in all others together: a slow webhook of one tenant does not take the writes of all.
    pub fn new(client: Client, in_flight: usize, metrics: Arc<Metrics>) -> Self {
        let all = in_flight + in_flight.div_ceil(2);
        Self { client, in_flight: Arc::new(Pool::new(all, in_flight)), metrics }
    }

    fn api(&self, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.api_resource())
    }

    /// Decides and writes. A conflict leads to a new read and a new decision. An answer that is not what was
    /// sent leads to the writes that undo it.
    pub async fn write(
        &self,
        subject: &Subject,
        manner: Manner,
        decide: impl Fn(&Subject) -> Decision,
    ) -> Result<Outcome, Error> {
        let api = self.api(subject.kind, &subject.namespace);
        let mut current = subject.clone();
        let mut written = None;
        let mut busy = None;
        let mut conflicts = 0;
        for _ in 0..TRIES {
            let write = match decide(&current) {
                Decision::Unchanged => {
                    return Ok(written.map_or(Outcome::Unchanged, Outcome::Written));
                }
                Decision::Refuse(refusal) => return Ok(Outcome::Refused(refusal)),
                Decision::Write(write) => write,
            };
            if !write.needs_read {
                match self.send(&api, &current, &write, manner).await {
                    Ok(Answer::DryRun(altered)) => return Ok(Outcome::Altered(altered)),
                    Ok(Answer::Stored(object)) => {
                        let Some(stored) = Self::read(&current, &object, &write) else {
                            return Ok(Outcome::Gone);
                        };
                        if let Some(altered) = Altered::of(&write, &stored) {
                            if let Some(undo) = Undo::of(&current, &write, &stored) {
                                self.undo(&api, &current, &write, undo, *object).await?;
                            }
                            return Ok(Outcome::Altered(altered));
                        }
                        let foreign = written.get_or_insert_with(Vec::new);
                        foreign.extend(write.foreign);
                        if !write.unfinished {
                            return Ok(Outcome::Written(written.unwrap_or_default()));
                        }
                        current = stored;
                        continue;
                    }
                    Err(error) if error.is_not_found() => return Ok(Outcome::Gone),
                    Err(error) if error.is_conflict() => {
                        busy = None;
                        after_conflict(&mut conflicts).await;
                    }
                    Err(error) => match error.retry_after() {
                        Some(pause) => {
                            time::sleep(pause).await;
                            busy = Some(error);
                            continue;
                        }
                        None => return Err(error.into()),
                    },
                }
            }
            let object = self.read_again(&api, &current, &write).await?;
            match object.and_then(|object| Self::read(&current, &object, &write)) {
                Some(read) => current = read,
                None => return Ok(Outcome::Gone),
            }
        }
        Err(busy.map_or_else(|| Error::Contended(current.display()), Error::from))
    }

    /// Puts back the part of an altered write that was stored. `object` is the answer.
    async fn undo(
        &self,
        api: &Api<DynamicObject>,
        before: &Subject,
        altered: &Write,
        mut undo: Undo,
        mut object: DynamicObject,
    ) -> Result<(), Error> {
        let mut conflicts = 0;
        for _ in 0..TRIES {
            let read = |object: &DynamicObject| Self::read(before, object, altered);
            let Some((subject, write)) = undo.next(&object, read) else { return Ok(()) };
            match self.send(api, &subject, &write, Manner::default()).await {
                Ok(Answer::Stored(stored)) => {
                    object = *stored;
                    if !undo.wrote(write) {
                        return Ok(());
                    }
                }
                Err(error) if error.is_conflict() => {
                    after_conflict(&mut conflicts).await;
                    match self.read_again(api, before, altered).await? {
                        Some(now) => object = now,
                        None => return Ok(()),
                    }
                }
                Ok(Answer::DryRun(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended(before.display()))
    }

    /// Reads an object again; none where it is gone or another one of its name.
    async fn read_again(
        &self,
        api: &Api<DynamicObject>,
        before: &Subject,
        write: &Write,
    ) -> Result<Option<DynamicObject>, request::Error> {
        let url = api.resource_url();
        let read = documents::get(&self.client, before.display(), url, &before.name).await?;
        let object = read.map(|document| Self::parse(before, write, &document)).transpose()?;
        Ok(object.filter(|object| object.metadata.uid.as_deref() == Some(before.uid.as_str())))
    }

    /// Parses what Torpor reads of an object.
    fn parse(
        before: &Subject,
        write: &Write,
        document: &str,
    ) -> Result<DynamicObject, request::Error> {
        let pointers = before.levers.keys().chain(write.values.keys()).cloned();
        let object = Parser::new(before.kind, pointers.collect()).object(document.as_bytes());
        object.map_err(|error| request::Error::unreadable(before.display(), error))
    }

    /// Parses the same object from an answer, with its managedFields.
    fn read(before: &Subject, object: &DynamicObject, write: &Write) -> Option<Subject> {
        let pointers = before.levers.keys().chain(write.values.keys());
        let subject = Subject::read(before.kind, object, pointers)?;
        let managed_fields = object.metadata.managed_fields.clone().unwrap_or_default();
        Some(Subject { managed_fields, ..subject })
    }

    /// Sends one write, after a dry run of it where that is wanted. Between the tries of a write that a
    /// busy API server puts off it has no slot.
    async fn send(
        &self,
        api: &Api<DynamicObject>,
        subject: &Subject,
        write: &Write,
        manner: Manner,
    ) -> Result<Answer, request::Error> {
        let _slot = self.in_flight.take(&subject.namespace).await;
        if manner.dry_run_first {
            let answer = self.patch(api, subject, write, &write.patch, true).await?;
            let would_be = Self::read(subject, &answer, write);
            if let Some(altered) = would_be.and_then(|would_be| Altered::of(write, &would_be)) {
                return Ok(Answer::DryRun(altered));
            }
        }
        let sent = self.send_for_real(api, subject, write, manner).await;
        self.metrics.wrote(subject.kind.name, result(&sent));
        sent.map(|object| Answer::Stored(Box::new(object)))
    }

    async fn send_for_real(
        &self,
        api: &Api<DynamicObject>,
        subject: &Subject,
        write: &Write,
        manner: Manner,
    ) -> Result<DynamicObject, request::Error> {
        let mut patch = write.patch.clone();
        // A CronJob that is unsuspended starts a run that it missed since `status.lastScheduleTime`.
        let last = manner.skip_runs_before.map(|before| before - SignedDuration::from_secs(1));
        if let Some(last) = last.filter(|last| subject.last_scheduled().is_none_or(|at| at < *last))
            && write.unsuspends
        {
            let last = last.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let status = json!({
                "metadata": {"resourceVersion": subject.resource_version},
                "status": {"lastScheduleTime": last},
            });
            let status = Patch::Merge(&status);
            let params = patch_params();
            let sent = api.patch_status(&subject.name, &params, &status);
            let answer = call(subject.display(), sent).await?;
            patch["metadata"]["resourceVersion"] = json!(answer.metadata.resource_version);
        }
        self.patch(api, subject, write, &patch, false).await
    }

    async fn patch(
        &self,
        api: &Api<DynamicObject>,
        subject: &Subject,
        write: &Write,
        patch: &Value,
        dry_run: bool,
    ) -> Result<DynamicObject, request::Error> {
        let field_manager = Some(write.manager.clone());
        let params = PatchParams { field_manager, dry_run, ..patch_params() };
        let (what, url, name) = (subject.display(), api.resource_url(), &subject.name);
        let answer = documents::patch(&self.client, what, url, name, &params, patch).await?;
        Self::parse(subject, write, &answer)
    }
}

/// The answer to a write.
enum Answer {
    /// The object as it is stored.
    Stored(Box<DynamicObject>),
    /// The object was not written: admission would change the write.
    DryRun(Altered),
}
