//! The steps that run a Job: the preflight, the truncation, and the fence between it and a wake.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::attempt::{self, Progress, fenced, retry_at};
use super::draft::Draft;
use super::job::{self, Purpose};
use super::observe::JobView;
use super::plan::{Action, Next};
use super::spec::DatabaseEntry;
use super::step::{Step, StepName};
use crate::api::condition::shorten;
use crate::api::hold_state::{
    Attempt, AttemptEnd, EmptiedTable, EpisodeTruncation, Preflight, Truncation,
};
use crate::api::pod::STARTING;
use crate::api::reason::Reason;
use crate::hold::describe::shortened;
use crate::truncate::report::Report;

/// The age up to which a preflight counts before the first hold.
pub(super) const FRESH: SignedDuration = SignedDuration::from_hours(1);
/// The age at which the preflight of an awake object is repeated: keys, privileges and Secrets change without it.
pub const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// Tables in the status.
const LARGEST: usize = 10;

impl Draft<'_> {
    /// Runs the preflight: the dry run of the truncation. It runs whenever `spec.database` changes, and again
    /// where it passed longer ago than `longest`.
    pub(super) fn preflight(&mut self, longest: SignedDuration) -> Step {
        let Some(database) = &self.input.spec.database else {
            let earlier = self.database.preflight.take();
            self.actions.extend(earlier.map(|p| Action::DeleteJob(p.attempt.job)));
            return Step::Done;
        };
        let mut preflight = match self.database.preflight.take() {
            Some(preflight) if preflight.attempt.settings == database.digest => preflight,
            earlier => {
                let earlier = earlier.map(|preflight| preflight.attempt);
                let number = earlier.as_ref().map_or(0, |attempt| attempt.number);
                self.actions.extend(earlier.map(|attempt| Action::DeleteJob(attempt.job)));
                Preflight {
                    attempt: self.attempt(database, Purpose::Preflight, number),
                    passed_at: None,
                    tables: None,
                    rows: None,
                    bytes: None,
                    sessions: Vec::new(),
                    hidden_sessions: None,
                }
            }
        };
        let now = self.input.now;
        let old = |at: &Time| now.duration_since(at.0) >= longest;
        if preflight.attempt.ended == Some(AttemptEnd::Succeeded)
            && preflight.passed_at.as_ref().is_none_or(old)
        {
            preflight.attempt =
                self.attempt(database, Purpose::Preflight, preflight.attempt.number);
        }
        let seen = self.input.observed.preflight.as_ref();
        let (step, report) =
            self.pursue(database, Purpose::Preflight, &mut preflight.attempt, seen);
        if step == Step::Done && preflight.passed_at.as_ref().is_none_or(old) {
            preflight.passed_at = Some(Time(now));
        }
        if let Some(report) = report {
            preflight.tables = Some(clamp(report.totals.tables));
            preflight.rows = Some(clamp(report.totals.rows));
            preflight.bytes = Some(clamp(report.totals.bytes));
            preflight.hidden_sessions =
                Some(clamp(report.hidden_sessions)).filter(|hidden| *hidden > 0);
            let pods = self.input.observed.pods.as_ref();
            let sessions = pods.map(|pods| self.connected(&report, pods)).unwrap_or_default();
            preflight.sessions = sessions.iter().map(|line| shortened(line)).collect();
        }
        self.database.preflight = Some(preflight);
        step
    }

    pub(super) fn truncate(&mut self) -> Step {
        let Some(database) = &self.input.spec.database else {
            self.stop_truncation();
            return Step::Done;
        };
        let Some(episode) = &self.state.episode else { return Step::Done };
        if episode.truncation != EpisodeTruncation::Pending {
            return Step::Done;
        }
        let mut attempt = episode
            .attempt
            .clone()
            .unwrap_or_else(|| self.attempt(database, Purpose::Truncation, 0));
        let seen = self.input.observed.truncation.as_ref();
        let before = attempt.clone();
        let (step, report) = self.pursue(database, Purpose::Truncation, &mut attempt, seen);
        let replaced = (attempt.number != before.number).then_some(before.not_after);
        if let Some(episode) = &mut self.state.episode {
            episode.attempt = Some(attempt);
            episode.earlier_not_after = replaced.or(episode.earlier_not_after.take());
        }
        if step == Step::Done {
            self.record_truncation(report.unwrap_or_default());
        }
        step
    }

    /// Records that this episode has truncated.
    fn record_truncation(&mut self, report: Report) {
        let Some(episode) = &mut self.state.episode else { return };
        episode.truncation = EpisodeTruncation::Done;
        let tables = report.tables.into_iter().take(LARGEST);
        self.database.truncation = Some(Truncation {
            episode: episode.id.clone(),
            at: Time(self.input.now),
            tables: clamp(report.totals.tables),
            rows: clamp(report.totals.rows),
            bytes_freed: clamp(report.totals.bytes),
            largest: tables
                .map(|table| EmptiedTable {
                    name: table.name,
                    rows: clamp(table.rows),
                    bytes: clamp(table.bytes),
                })
                .collect(),
        });
    }

    /// Calls a truncation off that may be running, because the object is not to sleep any more. Its Job is
    /// suspended: its pods get SIGTERM, the command gives up before COMMIT, and a late request can't create
    /// the Job anew. Where COMMIT came first, the truncation is recorded.
    pub(super) fn call_off_truncation(&mut self) {
        let Some(episode) = &mut self.state.episode else { return };
        let Some(attempt) = &mut episode.attempt else { return };
        let Some(job) = &self.input.observed.truncation else { return };
        if attempt.ended.is_some() || job.name != attempt.job || !job.exists {
            return;
        }
        match attempt::progress(attempt, Some(job), self.input.now) {
            Progress::Ended { end, message, report } => {
                attempt.ended = Some(end);
                if end == AttemptEnd::Succeeded {
                    self.record_truncation(report.map(|report| *report).unwrap_or_default());
                } else {
                    attempt.message = Some(message);
                }
            }
            Progress::Running | Progress::Missing => {}
        }
        if !job.finished && !job.suspended && !job.deleting {
            self.actions.push(Action::SuspendJob(job.name.clone()));
        }
    }

    /// Returns a new attempt, the one after `number`. Its time begins when the status records it.
    fn attempt(&self, database: &DatabaseEntry, purpose: Purpose, number: i32) -> Attempt {
        let number = number + 1;
        let id = match purpose {
            Purpose::Preflight => database.digest[..8].to_owned(),
            Purpose::Truncation => self.episode_id(),
        };
        Attempt {
            number,
            job: job::name(&self.input.holder.name, purpose, &id, number),
            not_after: Time(self.input.now + attempt::TIME_LIMIT),
            settings: database.digest.clone(),
            ended: None,
            message: None,
            kept_back: false,
            retry_at: None,
        }
    }

    /// Takes an attempt one step further: creates its Job, waits for it, records its end, begins another.
    /// Returns the report where the attempt has just ended.
    fn pursue(
        &mut self,
        database: &DatabaseEntry,
        purpose: Purpose,
        attempt: &mut Attempt,
        seen: Option<&JobView>,
    ) -> (Step, Option<Report>) {
        let now = self.input.now;
        // The observed Job may be that of an earlier attempt.
        let seen = seen.filter(|job| job.name == attempt.job);
        if attempt.ended.is_none() {
            match attempt::progress(attempt, seen, now) {
                Progress::Missing => {
                    let watch = match self.watch(purpose) {
                        Ok(watch) => watch,
                        Err(step) => return (step, None),
                    };
                    let (sends, failed) = self.sends(&attempt.job);
                    if sends {
                        self.actions.push(Action::CreateJob(attempt.clone(), purpose, watch));
                    }
                    let blocked = |(reason, message)| Step::Blocked { reason, message };
                    return (failed.map_or_else(|| begun(attempt), blocked), None);
                }
                Progress::Running => return (running(attempt, seen), None),
                Progress::Ended { end, message, report } => {
                    let names_sessions = report.as_ref().is_some_and(|r| !r.sessions.is_empty());
                    if names_sessions && self.input.observed.pods.is_none() {
                        // Whose sessions they are.
                        return (Step::Observe, None);
                    }
                    let kept_back = report.as_ref().filter(|report| attempt::is_kept_back(report));
                    let pods = self.input.observed.pods.as_ref();
                    let message = match kept_back.zip(pods) {
                        Some((report, pods)) => shorten(&self.kept_back(report, pods)),
                        None => message,
                    };
                    attempt.kept_back = kept_back.is_some();
                    attempt.ended = Some(end);
                    attempt.message = None;
                    if end != AttemptEnd::Succeeded {
                        attempt.message = Some(message);
                        attempt.retry_at = Some(Time(retry_at(end, attempt.number, now)));
                    }
                    // The Job of a refused truncation stays: as long as its name is taken nobody can create it
                    // once more, and no wake has to wait for its fence.
                    if end == AttemptEnd::Failed || purpose == Purpose::Preflight {
                        self.actions.push(Action::DeleteJob(attempt.job.clone()));
                    } else if seen.is_some_and(|job| !job.finished) {
                        // Another container runs on beside it: no pod of the Job may follow this one.
                        self.actions.push(Action::SuspendJob(attempt.job.clone()));
                    }
                    if end == AttemptEnd::Succeeded {
                        return (Step::Done, report.map(|report| *report));
                    }
                }
            }
        }
        if attempt.ended == Some(AttemptEnd::Succeeded) {
            return (Step::Done, None);
        }
        let due = attempt.retry_at.as_ref().is_none_or(|at| now >= at.0);
        // A stopped attempt may still commit: the next one waits for its fence, whatever has changed.
        let over = attempt.ended == Some(AttemptEnd::Refused) || fenced(attempt, now);
        if due || (over && attempt.settings != database.digest) {
            let watch = match self.watch(purpose) {
                Ok(watch) => watch,
                Err(step) => return (step, None),
            };
            if attempt.ended == Some(AttemptEnd::Refused) && purpose == Purpose::Truncation {
                self.actions.push(Action::DeleteJob(attempt.job.clone()));
            }
            // The last error stays readable while the next attempt runs.
            let message = attempt.message.take().filter(|_| attempt.settings == database.digest);
            let kept_back = attempt.kept_back && message.is_some();
            let next = self.attempt(database, purpose, attempt.number);
            *attempt = Attempt { message, kept_back, ..next };
            self.actions.push(Action::CreateJob(attempt.clone(), purpose, watch));
            return (begun(attempt), None);
        }
        let message = attempt.message.clone().unwrap_or_default();
        if let Some(step) = still_kept_back(attempt) {
            return (step, None);
        }
        if attempt.ended == Some(AttemptEnd::Refused) {
            let reason = match purpose {
                Purpose::Preflight => Reason::PreflightRefused,
                Purpose::Truncation => Reason::TruncationRefused,
            };
            return (Step::Blocked { reason, message }, None);
        }
        (Step::Wait(vec![format!("Job {} failed: {message}", attempt.job)]), None)
    }

    /// Deletes the Job of a truncation that may be running, because a writer turned up. The next attempt
    /// begins once this one can't commit any more.
    pub(super) fn stop_truncation(&mut self) {
        let Some(attempt) =
            self.state.episode.as_mut().and_then(|episode| episode.attempt.as_mut())
        else {
            return;
        };
        let has_result = self.input.observed.truncation.as_ref().is_some_and(attempt::has_result);
        match attempt.ended {
            None if !has_result => {
                attempt.ended = Some(AttemptEnd::Failed);
                attempt.kept_back = false;
                attempt.message =
                    Some("Torpor deleted the Job: a pod or workload may write".to_owned());
                attempt.retry_at = Some(Time(attempt.not_after.0 + attempt::CLOCK_MARGIN));
            }
            // An operator may have crashed before it deleted the Job.
            Some(AttemptEnd::Failed) if !fenced(attempt, self.input.now) => {}
            _ => return,
        }
        let job = attempt.job.clone();
        self.actions.push(Action::DeleteJob(job));
    }

    /// Deletes the Job of the truncation before its episode is forgotten: nobody would know of it any
    /// more. A Job that a foreign finalizer keeps delays nothing.
    pub(super) fn delete_truncation_job(&mut self) -> Option<Step> {
        self.state.episode.as_ref()?.attempt.as_ref()?;
        let Some(job) = &self.input.observed.truncation else {
            // Torpor observes it once the status says that the wake has begun.
            return Some(Step::Act);
        };
        // Nor does one whose deletion the API server rejects.
        if !job.exists || job.deleting || self.failed(&job.name).is_some() {
            return None;
        }
        self.actions.push(Action::DeleteJob(job.name.clone()));
        Some(Step::Wait(vec![format!("Job {} is being deleted", job.name)]))
    }

    /// Keeps everything down while a truncation could still commit.
    pub(super) fn waking_fence(&self) -> Step {
        let Some(episode) = &self.state.episode else { return Step::Done };
        let Some(attempt) = &episode.attempt else { return Step::Done };
        // A later step of the wake is under way. The Job may be deleted by now.
        let fence = StepName::Fence.to_string();
        let past = self.state.step.as_ref().is_some_and(|step| step.name != fence);
        if episode.waking_since.is_some() && past {
            return Step::Done;
        }
        // The Job of the earlier attempt is deleted, but a late request may still create it.
        let earlier = episode.earlier_not_after.as_ref();
        if let Some(at) = earlier.filter(|at| self.input.now <= at.0 + attempt::CLOCK_MARGIN) {
            let job = &attempt.job;
            let until = at.0 + attempt::CLOCK_MARGIN;
            return Step::Wait(vec![format!(
                "the attempt before Job {job} may still commit until {until}"
            )]);
        }
        let finished = self.input.observed.truncation.as_ref().is_some_and(attempt::is_over);
        // The container of such a Job was observed ended, and the Job stays.
        let over = matches!(attempt.ended, Some(AttemptEnd::Succeeded | AttemptEnd::Refused));
        if finished || over || fenced(attempt, self.input.now) {
            return Step::Done;
        }
        let until = attempt.not_after.0 + attempt::CLOCK_MARGIN;
        Step::Wait(vec![format!(
            "Job {} is called off, and may still commit until {until}",
            attempt.job
        )])
    }

    /// Observes the preflight of an awake object when it may have something to report.
    pub(super) fn wait_for_preflight(&mut self) {
        let Next::Wait(_) = self.next else { return };
        let attempt = self.database.preflight.as_ref().map(|preflight| &preflight.attempt);
        let retry = attempt.and_then(|attempt| attempt.retry_at.as_ref());
        let left = retry.map(|at| at.0.duration_since(self.input.now));
        self.next = Next::Wait(left.unwrap_or_default().max(SignedDuration::from_secs(2)));
    }
}

/// Returns how an attempt stands whose Job is being created. While sessions keep the truncation back, each try tells of
/// them until it has ended.
fn begun(attempt: &Attempt) -> Step {
    still_kept_back(attempt).unwrap_or(Step::Act)
}

/// Returns the sessions that kept the attempt back, or the one before it; none where there were none.
fn still_kept_back(attempt: &Attempt) -> Option<Step> {
    let message = attempt.message.clone().filter(|_| attempt.kept_back)?;
    Some(Step::Blocked { reason: Reason::PossibleWriter, message })
}

/// Returns how a Job stands that has not finished. A container that can't start needs a person.
fn running(attempt: &Attempt, job: Option<&JobView>) -> Step {
    match job.and_then(|job| job.waiting.clone()) {
        Some((reason, message)) if !STARTING.contains(&reason.as_str()) => {
            let message = format!("Job {} can't start: {message}", attempt.job);
            Step::Blocked { reason: Reason::Container(reason), message }
        }
        _ => still_kept_back(attempt).unwrap_or_else(|| Step::Wait(vec![waits(attempt, job)])),
    }
}

/// Returns what a Job waits for whose container can start.
fn waits(attempt: &Attempt, job: Option<&JobView>) -> String {
    let name = &attempt.job;
    if job.is_some_and(|job| job.pods == 0) {
        return format!(
            "Job {name} has no pod yet: a quota or a policy may reject it; its Events say so"
        );
    }
    let message = match job.and_then(|job| job.unscheduled.as_ref()) {
        Some(why) => format!("the pod of Job {name} waits: {why}"),
        None => format!("Job {name} is running"),
    };
    match &attempt.message {
        Some(error) => format!("{message}; the attempt before failed: {error}"),
        None => message,
    }
}

/// Returns a count as the API writes it.
fn clamp<T: TryFrom<u64> + Bounded>(number: u64) -> T {
    T::try_from(number).unwrap_or(T::LARGEST)
}

/// The bound of a number type of the API.
trait Bounded {
    const LARGEST: Self;
}

impl Bounded for i32 {
    const LARGEST: Self = Self::MAX;
}

impl Bounded for i64 {
    const LARGEST: Self = Self::MAX;
}
