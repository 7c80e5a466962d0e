//! Sends the writes of a hold: bounded in number, each within the lease's claim, decided again on a
//! conflict.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time;

use super::MANAGER;
use super::foreign::Foreign;
use super::lever::Kind;
use super::plan::{Decision, Write};
use super::refusal::Refusal;
use super::subject::Subject;
use crate::operator::metrics::{Metrics, WriteResult};

/// Longest that one request may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a conflict is read and decided again before the next reconcile takes over.
const TRIES: usize = 5;

/// Whether writing is permitted right now: asked before each request.
pub type Permit = Arc<dyn Fn() -> bool + Send + Sync>;

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
    /// Another replica leads.
    #[error("this replica does not lead any more")]
    NotPermitted,
    /// No answer.
    #[error("{0}: no answer within 30 s")]
    Timeout(String),
    /// Changed under our hands again and again.
    #[error("{0} was changed by others each time it was to be written")]
    Contended(String),
    /// The API server's answer.
    #[error("{subject}: {}", in_words(source))]
    Api {
        /// The object.
        subject: String,
        /// The answer.
        source: Box<kube::Error>,
    },
}

impl Error {
    /// Whether the API server said no to the write as such: a right that is missing, an admission
    /// policy, an object that is not valid. It would say so again.
    pub fn is_rejection(&self) -> bool {
        matches!(self, Self::Api { source, .. } if rejects(source))
    }
}

/// What was answered, without all that a program would look at besides.
pub fn in_words(answer: &kube::Error) -> String {
    match answer {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether an answer is a no to the request as such.
pub fn rejects(answer: &kube::Error) -> bool {
    [400, 403, 422].iter().any(|code| is_status(answer, *code))
}

/// Whether an answer is this status code.
pub fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

fn result<T>(sent: &Result<T, Error>) -> WriteResult {
    match sent {
        Ok(_) => WriteResult::Done,
        Err(Error::Api { source, .. }) => match source.as_ref() {
            kube::Error::Api(status) if status.code == 409 => WriteResult::Conflict,
            kube::Error::Api(status) if status.code < 500 => WriteResult::Refused,
            _ => WriteResult::Failed,
        },
        Err(_) => WriteResult::Failed,
    }
}

/// How long an answer asks us to wait.
fn retry_after(error: &kube::Error) -> Duration {
    let seconds = match error {
        kube::Error::Api(status) => status.details.as_ref().map(|d| d.retry_after_seconds),
        _ => None,
    };
    Duration::from_secs(seconds.unwrap_or_default().clamp(1, 30).into())
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
    pub fn permitted(&self) -> Result<(), Error> {
        if (self.permit)() { Ok(()) } else { Err(Error::NotPermitted) }
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
                Err(Error::Api { source, .. }) if is_status(&source, 404) => {
                    return Ok(Outcome::Gone);
                }
                Err(Error::Api { source, .. }) if is_status(&source, 409) => {}
                Err(Error::Api { source, .. }) if is_status(&source, 429) => {
                    time::sleep(retry_after(&source)).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let read = self.call(&current, api.get_opt(&current.name)).await?;
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
    ) -> Result<DynamicObject, Error> {
        let as_manager = |manager: &str| PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
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
            let params = as_manager(MANAGER);
            let sent = api.patch_status(&subject.name, &params, &status);
            let answer = self.call(subject, sent).await?;
            patch["metadata"]["resourceVersion"] = json!(answer.metadata.resource_version);
        }
        self.permitted()?;
        let patch = Patch::Merge(&patch);
        let params = as_manager(&write.manager);
        let sent = api.patch(&subject.name, &params, &patch);
        self.call(subject, sent).await
    }

    /// One request, with a timeout.
    async fn call<T>(
        &self,
        subject: &Subject,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        match time::timeout(CALL_TIMEOUT, request).await {
            Err(_) => Err(Error::Timeout(subject.display())),
            Ok(Err(source)) => {
                Err(Error::Api { subject: subject.display(), source: Box::new(source) })
            }
            Ok(Ok(answer)) => Ok(answer),
        }
    }
}
