//! Sends the writes of a hold: bounded in number, each within the lease's claim, decided again on a
//! conflict.

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
use crate::apiserver::request::{self, Permit, call, patch_params};
use crate::metrics::{Metrics, WriteResult};

/// How often a conflict is read and decided again before the next reconcile takes over.
const TRIES: usize = 5;

/// Sends writes.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    permit: Permit,
    in_flight: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing was to be done.
    Unchanged,
    /// Written; what somebody else had written meanwhile.
    Written(Vec<Foreign>),
    /// It can't be.
    Refused(Refusal),
    /// The object is gone.
    Gone,
}

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request failed.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// The object was changed by others at every try.
    #[error("{0} was changed by others each time it was to be written")]
    Contended(String),
}

impl Error {
    /// Returns whether the API server rejected the write as such: a missing right, an admission
    /// policy, an object that is not valid. It would do so again.
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
    /// At most `in_flight` writes at a time.
    pub fn new(client: Client, permit: Permit, in_flight: usize, metrics: Arc<Metrics>) -> Self {
        Self { client, permit, in_flight: Arc::new(Semaphore::new(in_flight)), metrics }
    }

    /// Asked before each write.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Fails where another replica leads.
    pub fn permitted(&self) -> Result<(), request::Error> {
        if (self.permit)() { Ok(()) } else { Err(request::Error::NotPermitted) }
    }

    fn api(&self, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.api_resource())
    }

    /// Decides and writes; on a conflict reads the object again and decides again.
    pub async fn settle(
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
                Decision::Keep => return Ok(written.map_or(Outcome::Unchanged, Outcome::Written)),
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
                Err(error) if error.code() == Some(429) => {
                    time::sleep(error.retry_after()).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
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

    /// The same object, newer.
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
            // An unsuspended CronJob starts the run that it missed since its last one.
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let status = json!({
                "metadata": {"resourceVersion": subject.resource_version},
                "status": {"lastScheduleTime": now},
            });
            self.permitted()?;
            let status = Patch::Merge(&status);
            let params = patch_params();
            let sent = api.patch_status(&subject.name, &params, &status);
            let answer = call(subject.display(), sent).await?;
            patch["metadata"]["resourceVersion"] = json!(answer.metadata.resource_version);
        }
        self.permitted()?;
        let patch = Patch::Merge(&patch);
        let params = PatchParams { field_manager: Some(write.manager.clone()), ..patch_params() };
        let sent = api.patch(&subject.name, &params, &patch);
        call(subject.display(), sent).await
    }
}
