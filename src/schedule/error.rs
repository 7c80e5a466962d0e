//! Why a schedule, an exception or an override is invalid, with the remedy in each message.

use super::cron::CronError;

/// Why a schedule or an override is invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// Neither `state` nor `schedule` is set, or both are.
    #[error("write exactly one of 'state' and 'schedule'")]
    StateOrSchedule,
    /// The schedule has neither a rule nor an exception.
    #[error(
        "the schedule has neither rules nor exceptions; write at least one, or 'state' instead of \
         'schedule'"
    )]
    Empty,
    /// A rule has neither of its two expressions.
    #[error("rules[{0}] has neither 'hibernate' nor 'wake'; write one of the two or both")]
    Rule(usize),
    /// The schedule has more rules than admission lets in.
    #[error("the schedule has {0} rules; write at most 32")]
    Rules(usize),
    /// The zone database of this build has no such zone.
    #[error(
        "timeZone: '{0}' is not a known time zone; write an IANA name such as 'Europe/Kyiv' or \
         'Etc/UTC'"
    )]
    TimeZone(String),
    /// A cron expression is invalid.
    #[error("rules[{index}].{field}: {source}")]
    Cron {
        /// The index in `rules`.
        index: usize,
        /// `hibernate` or `wake`.
        field: &'static str,
        /// The problem of the expression.
        source: CronError,
    },
    /// A date or time of an exception is invalid.
    #[error("exceptions[{index}].{}", moment(field, text))]
    Moment {
        /// The index in `exceptions`.
        index: usize,
        /// `from` or `to`.
        field: &'static str,
        /// The text of the field.
        text: String,
    },
    /// An exception ends before it begins.
    #[error(
        "exceptions[{index}] ends ('{to}') before it begins ('{from}') in {zone}; write a later 'to' \
         (a date in 'to' is the last day of the exception)"
    )]
    Order {
        /// The index in `exceptions`.
        index: usize,
        /// The text of `from`.
        from: String,
        /// The text of `to`.
        to: String,
        /// The time zone in which dates are read.
        zone: String,
    },
    /// The end of an override is invalid.
    #[error(
        "override.until: '{0}' is not a time with its offset; write one such as \
         '2026-12-28T20:00:00Z'"
    )]
    Until(String),
}

/// Why a period is invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PeriodError {
    /// The text is neither a date nor a time.
    #[error("{}", moment(field, text))]
    Moment {
        /// `from` or `to`.
        field: &'static str,
        /// The text of the field.
        text: String,
    },
    /// The period ends before it begins.
    #[error("it ends before it begins; write a later 'to' (a date in 'to' is the last day)")]
    Order,
}

fn moment(field: &str, text: &str) -> String {
    format!(
        "{field}: '{text}' is neither a date that exists, such as '2026-12-24', nor a time with its \
         offset, such as '2026-12-24T18:00:00Z'; write one of the two"
    )
}
