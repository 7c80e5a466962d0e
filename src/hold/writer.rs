//! Sends the writes of holds. The number of concurrent writes is bounded, and a conflict leads to a new
//! decision.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time;

use super::foreign::Foreign;
use super::lever::Kind;
use super::plan::{Decision, Write};
use super::refusal::Refusal;
use super::subject::Subject;
use crate::apiserver::request::{self, call, patch_params};
use crate::metrics::{Metrics, WriteResult};

/// The tries of one write after conflicts. The next reconcile takes over after them.
const TRIES: usize = 5;

/// Sends the writes of holds.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    in_flight: Arc<Semaphore>,
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
    /// The object does not exist any more.
    Gone,
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

fn result<T>(sent: &Result<T, request::Error>) -> WriteResult {
    let Err(error) = sent else { return WriteResult::Done };
    match error.code() {
        Some(409) => WriteResult::Conflict,
        Some(..500) => WriteResult::Refused,
        _ => WriteResult::Failed,
    }
}

impl Writer {
    /// Returns a writer that has at most `in_flight` writes under way at a time.
    pub fn new(client: Client, in_flight: usize, metrics: Arc<Metrics>) -> Self {
        Self { client, in_flight: Arc::new(Semaphore::new(in_flight)), metrics }
    }

    fn api(&self, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.api_resource())
    }

    /// Decides and writes. A conflict leads to a new read and a new decision. `skip_missed_runs` sets
    /// `status.lastScheduleTime` of a CronJob before it is unsuspended.
    pub async fn write(
        &self,
        subject: &Subject,
        skip_missed_runs: bool,
        decide: impl Fn(&Subject) -> Decision,
    ) -> Result<Outcome, Error> {
        let _slot = self.in_flight.acquire().await;
        let api = self.api(subject.kind, &subject.namespace);
        let mut current = subject.clone();
        let mut written = None;
        for _ in 0..TRIES {
            let write = match decide(&current) {
                Decision::Unchanged => {
                    return Ok(written.map_or(Outcome::Unchanged, Outcome::Written));
                }
                Decision::Refuse(refusal) => return Ok(Outcome::Refused(refusal)),
                Decision::Write(write) => write,
            };
            let sent = self.send(&api, &current, &write, skip_missed_runs).await;
            self.metrics.wrote(current.kind.name, result(&sent));
            match sent {
                Ok(answer) => {
                    let foreign = written.get_or_insert_with(Vec::new);
                    foreign.extend(write.foreign);
                    match Self::read(&current, &answer).filter(|_| write.unfinished) {
                        Some(read) => current = read,
                        None => return Ok(Outcome::Written(written.unwrap_or_default())),
                    }
                    continue;
                }
                Err(error) if error.is_not_found() => return Ok(Outcome::Gone),
                Err(error) if error.is_conflict() => {}
                Err(error) => match error.retry_after() {
                    Some(pause) => {
                        time::sleep(pause).await;
                        continue;
                    }
                    None => return Err(error.into()),
                },
            }
            let read = call(current.display(), api.get_opt(&current.name)).await?;
            let read = read.filter(|o| o.metadata.uid.as_deref() == Some(current.uid.as_str()));
            match read.and_then(|object| Self::read(&current, &object)) {
                Some(read) => current = read,
                None => return Ok(Outcome::Gone),
            }
        }
        Err(Error::Contended(current.display()))
    }

    /// Parses the same object from an answer.
    fn read(before: &Subject, object: &DynamicObject) -> Option<Subject> {
        let pointers: Vec<String> = before.levers.keys().cloned().collect();
        Subject::read(before.kind, object, &pointers)
    }

    async fn send(
        &self,
        api: &Api<DynamicObject>,
        subject: &Subject,
        write: &Write,
        skip_missed_runs: bool,
    ) -> Result<DynamicObject, request::Error> {
        let mut patch = write.patch.clone();
        if write.unsuspends && skip_missed_runs {
            // A CronJob that is unsuspended starts a run that it missed since `status.lastScheduleTime`.
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let status = json!({
                "metadata": {"resourceVersion": subject.resource_version},
                "status": {"lastScheduleTime": now},
            });
            let status = Patch::Merge(&status);
            let params = patch_params();
            let sent = api.patch_status(&subject.name, &params, &status);
            let answer = call(subject.display(), sent).await?;
            patch["metadata"]["resourceVersion"] = json!(answer.metadata.resource_version);
        }
        let patch = Patch::Merge(&patch);
        let params = PatchParams { field_manager: Some(write.manager.clone()), ..patch_params() };
        let sent = api.patch(&subject.name, &params, &patch);
        call(subject.display(), sent).await
    }
}
