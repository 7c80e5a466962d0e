//! How far a Job of Torpor's own has come, and what that means: pure functions.

use jiff::{SignedDuration, Timestamp};

use super::observe::JobView;
use crate::api::condition::shorten;
use crate::api::hibernation::{Attempt, AttemptEnd};
use crate::truncate::Reason;
use crate::truncate::report::Report;

/// How long an attempt may take, by the database's clock.
pub const TIME_LIMIT: SignedDuration = SignedDuration::from_mins(3);
/// How far clocks may differ.
pub const CLOCK_MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// How far an attempt has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Its Job is not there, or was not looked for: not created yet, or deleted.
    Missing,
    /// It runs, or waits to; why it does not start, where that is known.
    Running(Option<(String, String)>),
    /// It is over.
    Ended {
        /// How.
        end: AttemptEnd,
        /// What it said.
        message: String,
        /// The report, where there is one.
        report: Option<Report>,
    },
}

/// Judges an attempt by its Job.
pub fn progress(attempt: &Attempt, job: Option<&JobView>, now: Timestamp) -> Progress {
    let Some(job) = job else { return Progress::Missing };
    if job.exists && job.finished {
        return finished(job);
    }
    if fenced(attempt, now) {
        return Progress::Ended {
            end: AttemptEnd::Failed,
            message: match &job.waiting {
                Some((reason, message)) => format!("it did not start in time: {reason}: {message}"),
                None => "it did not finish in time".to_owned(),
            },
            report: None,
        };
    }
    if job.exists { Progress::Running(job.waiting.clone()) } else { Progress::Missing }
}

/// Whether nothing of an attempt can commit any more, whoever may still run or create it.
pub fn fenced(attempt: &Attempt, now: Timestamp) -> bool {
    now > attempt.not_after.0 + CLOCK_MARGIN
}

fn finished(job: &JobView) -> Progress {
    let reports: Vec<(i32, Option<Report>)> = job
        .terminated
        .iter()
        .map(|(code, message)| (*code, serde_json::from_str(message).ok()))
        .collect();
    let (end, code) = if job.succeeded {
        (AttemptEnd::Succeeded, 0)
    } else if let Some((code, report)) = reports.iter().find(|(code, _)| matches!(code, 2 | 3)) {
        (
            if came_too_late(report.as_ref()) { AttemptEnd::Failed } else { AttemptEnd::Refused },
            *code,
        )
    } else {
        (AttemptEnd::Failed, reports.last().map_or(1, |(code, _)| *code))
    };
    let report = reports.into_iter().rev().find(|(c, _)| *c == code).and_then(|(_, r)| r);
    let message = match &report {
        Some(report) => in_words(report),
        None if end == AttemptEnd::Succeeded => "done".to_owned(),
        None => format!("its container ended with exit status {code} and said nothing"),
    };
    Progress::Ended { end, message: shorten(&message), report }
}

/// Whether it was refused for its time alone: the next attempt has a new one.
fn came_too_late(report: Option<&Report>) -> bool {
    let late = format!("{:?}", Reason::NotAfterPassed);
    report.is_some_and(|r| !r.refusals.is_empty() && r.refusals.iter().all(|r| r.reason == late))
}

/// What a report says, its refusals one by one.
fn in_words(report: &Report) -> String {
    if report.refusals.is_empty() {
        return report.message.clone();
    }
    let mut words: Vec<String> = report.refusals.iter().map(|r| r.message.clone()).collect();
    if report.omitted_refusals > 0 {
        words.push(format!("and {} more", report.omitted_refusals));
    }
    words.join("; ")
}

/// When another attempt may begin: soon after a fault, later each time; after a refusal, when
/// somebody may have had the time to clear what stood in the way.
pub fn retry_at(end: AttemptEnd, number: i32, now: Timestamp) -> Timestamp {
    let wait = match end {
        AttemptEnd::Refused => SignedDuration::from_mins(5),
        AttemptEnd::Failed | AttemptEnd::Succeeded => {
            let doublings = u32::try_from(number.clamp(1, 6) - 1).unwrap_or_default();
            SignedDuration::from_secs(5 << doublings)
        }
    };
    now + wait
}
