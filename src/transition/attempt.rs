//! The progress of a Job of Torpor's own. Pure.

use jiff::{SignedDuration, Timestamp};

use super::job::{KEPT_BACK, REFUSED};
use super::observe::JobView;
use crate::api::condition::shorten;
use crate::api::hold_state::{Attempt, AttemptEnd};
use crate::truncate::report::{Outcome, Report};

/// The time that an attempt may take, by the database's clock.
pub const TIME_LIMIT: SignedDuration = SignedDuration::from_mins(3);
/// The difference that clocks may have.
pub const CLOCK_MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// How long the Job may take to finish once its own container has ended. After that another container runs on
/// beside it.
const FINISHING: SignedDuration = SignedDuration::from_secs(10);

/// The progress of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Its Job does not exist, or was not observed: it is not created yet, or deleted.
    Missing,
    /// Its Job runs, or waits to start.
    Running,
    /// It has ended.
    Ended {
        /// How it ended.
        end: AttemptEnd,
        /// Its message.
        message: String,
        /// The report, where there is one.
        report: Option<Box<Report>>,
    },
}

/// Returns the progress of an attempt, by its Job.
pub fn progress(attempt: &Attempt, job: Option<&JobView>, now: Timestamp) -> Progress {
    let Some(job) = job else { return Progress::Missing };
    if job.exists
        && let Some(ended) = ended(job, now)
    {
        return ended;
    }
    if fenced(attempt, now) {
        return Progress::Ended {
            end: AttemptEnd::Failed,
            message: match &job.waiting {
                Some((reason, message)) => {
                    format!("the Job did not start in time: {reason}: {message}")
                }
                None => "the Job did not finish in time".to_owned(),
            },
            report: None,
        };
    }
    if job.exists { Progress::Running } else { Progress::Missing }
}

/// Returns whether an attempt can't commit any more, even if its Job still runs or is created late.
pub fn fenced(attempt: &Attempt, now: Timestamp) -> bool {
    now > attempt.not_after.0 + CLOCK_MARGIN
}

/// Returns whether no container of a Job can commit any more: all have ended, and the Job creates no other.
pub fn is_over(job: &JobView) -> bool {
    job.exists
        && (job.finished || (job.stopped && job.pods > 0 && job.pods == job.terminated.len()))
}

/// Returns whether a Job has a result that counts, whoever writes meanwhile: it has committed, or was refused.
pub fn has_result(job: &JobView) -> bool {
    let counts = |(code, _): &(i32, String)| *code == 0 || REFUSED.contains(code);
    job.exists && (job.finished || job.terminated.iter().any(counts))
}

/// Returns the end of a Job, by the end of its own container: another container beside it may run on, so that
/// the Job never finishes. A failure that the Job itself tries again is not its end.
fn ended(job: &JobView, now: Timestamp) -> Option<Progress> {
    let recent = job.last_end.is_some_and(|end| now.duration_since(end) < FINISHING);
    if recent && !is_over(job) {
        return None;
    }
    let reports: Vec<(i32, Option<Report>)> = job
        .terminated
        .iter()
        .map(|(code, message)| (*code, serde_json::from_str(message).ok()))
        .collect();
    let succeeded = job.succeeded || reports.iter().any(|(code, _)| *code == 0);
    let (end, code) = if succeeded {
        (AttemptEnd::Succeeded, 0)
    } else if let Some((code, report)) = reports.iter().find(|(code, _)| REFUSED.contains(code)) {
        (
            if report.as_ref().is_some_and(Report::came_too_late) {
                AttemptEnd::Failed
            } else {
                AttemptEnd::Refused
            },
            *code,
        )
    } else if let Some((code, _)) = reports.iter().find(|(code, _)| *code == KEPT_BACK) {
        (AttemptEnd::Failed, *code)
    } else if is_over(job) {
        (AttemptEnd::Failed, reports.last().map_or(1, |(code, _)| *code))
    } else {
        return None;
    };
    let report = reports.into_iter().rev().find(|(c, _)| *c == code).and_then(|(_, r)| r);
    let message = match &report {
        Some(report) => describe(report),
        None if end == AttemptEnd::Succeeded => "done".to_owned(),
        None => {
            format!("the container of the Job ended with exit status {code} and without a report")
        }
    };
    let report = report.map(Box::new);
    Some(Progress::Ended { end, message: shorten(&message), report })
}

/// Returns the message of a report, or its refusals.
fn describe(report: &Report) -> String {
    if report.refusals.is_empty() {
        return report.message.clone();
    }
    let mut words: Vec<String> = report.refusals.iter().map(|r| r.message.clone()).collect();
    if report.omitted_refusals > 0 {
        words.push(format!("and {} more", report.omitted_refusals));
    }
    // Whoever shortens the rest leaves the number.
    let number = match report.refusals.len() as u64 + report.omitted_refusals {
        1 => String::new(),
        number => format!("{number} things are in the way: "),
    };
    format!("{number}{}", words.join("; "))
}

/// Returns whether other sessions kept the truncation back.
pub fn is_kept_back(report: &Report) -> bool {
    report.outcome == Outcome::KeptBack
}

/// Returns when another attempt may begin: soon after a failure, later each time; after a refusal, when a
/// person may have removed the obstacle.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truncate::report::Refusal;

    #[test]
    fn a_message_that_is_cut_says_how_many_things_are_in_the_way() {
        let refusal = Refusal { message: "x".repeat(300), ..Refusal::default() };
        let report = Report {
            refusals: vec![refusal.clone(); 8],
            omitted_refusals: 1992,
            ..Report::default()
        };
        let message = shorten(&describe(&report));
        assert!(message.starts_with("2000 things are in the way: x"), "{message}");
        let one = Report { refusals: vec![refusal], ..Report::default() };
        assert!(describe(&one).starts_with('x'));
    }
}
