//! Cron expressions, and the search for the next and the latest time at which they fire.
//!
//! An expression means what it means for a CronJob: `tests/local/schedule/kubernetes.rs` compares both. The
//! search is written by hand on purpose: a clock change must neither skip a time nor let it fire twice.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::days::{self, Days, Month};
use super::field::{Field, HOUR, MINUTE, MONTH};
use super::minutes::{DayMinutes, MINUTES, minute_of, on};
use super::wall;

/// The range of a search, in years. The rarest expressions fire in years whose February has five of one
/// weekday. Such years are 40 years apart around a century without a leap day.
pub const HORIZON_YEARS: i16 = 41;

/// Why a cron expression is invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CronError {
    /// The expression does not have five fields.
    #[error(
        "'{0}' is not a cron expression of five fields (minute, hour, day of month, month, day of \
         week); write one such as '0 20 * * 1-5'"
    )]
    Fields(String),
    /// A field does not parse.
    #[error("the cron expression '{text}' is invalid: {field} {problem}")]
    Field {
        /// The expression.
        text: String,
        /// The name of the field.
        field: &'static str,
        /// The problem and its remedy.
        problem: String,
    },
    /// No year has the date.
    #[error(
        "the cron expression '{0}' never fires: no year has such a day; write a day that the month \
         has ('L' is its last one)"
    )]
    Never(String),
}

/// A cron expression of five fields that fires at some time. The syntax is that of a `CronJob`, with `7`,
/// `L`, `W` and `#` in addition.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    pub(super) minutes: DayMinutes,
    /// Bit `n` stands for month `n`.
    months: u64,
    days: Days,
}

impl Cron {
    /// Parses an expression. Fails if the expression never fires.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(CronError::Fields(text.to_owned()));
        };
        let invalid = |(field, problem)| CronError::Field { text: text.to_owned(), field, problem };
        let values = |field: Field, text: &str| {
            field.parse(text, |_| Ok(false)).map_err(|problem| invalid((field.name, problem)))
        };
        let minutes = DayMinutes::of(values(HOUR, hour)?, values(MINUTE, minute)?);
        let days = Days::parse(day, weekday).map_err(invalid)?;
        let months = values(MONTH, month)?.bits;
        let cron = Self { text: text.to_owned(), minutes, months, days };
        // Any 40 years contain every combination of date and weekday.
        let start = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
        match cron.next_wall(start) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never(cron.text)),
        }
    }

    /// Returns the text of the expression.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the first time after `now` at which the expression fires in `zone`. A time that a clock change
    /// skips fires at the change; a time that occurs twice fires at the first occurrence. `None` only at
    /// the end of the calendar.
    pub fn next_after(&self, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
        wall::instant(zone, self.next_wall(wall::reached(zone, now))?)
    }

    /// Returns the last time at or before `now` at which the expression fired in `zone`. Clock changes count
    /// as in [`next_after`](Self::next_after).
    pub fn latest_at(&self, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
        let days = |month| self.days(Month::of(month));
        let reached = wall::reached(zone, now);
        let begin = horizon_before(reached);
        wall::instant(zone, latest(reached, begin, days, |_, to| self.minutes.last_to(to))?)
    }

    fn next_wall(&self, after: DateTime) -> Option<DateTime> {
        let days = |month| self.days(Month::of(month));
        next(after, horizon(after), days, |_, from| self.minutes.first_from(from))
    }

    /// Returns the days of a month on which the expression fires. Bit `n` stands for day `n`.
    pub(super) fn days(&self, month: Month) -> u64 {
        if self.months & 1 << month.number == 0 { 0 } else { self.days.of(month) }
    }
}

/// Returns the last day of a search that begins at a time.
pub(super) fn horizon(start: DateTime) -> Date {
    let year = start.year().saturating_add(HORIZON_YEARS);
    Date::new(year, 12, 31).unwrap_or(Date::MAX)
}

/// Returns the first day of a search that goes back from a time.
pub(super) fn horizon_before(end: DateTime) -> Date {
    let year = end.year().saturating_sub(HORIZON_YEARS);
    Date::new(year, 1, 1).unwrap_or(Date::MIN)
}

/// Returns the first minute after `after`, and not after the day `end`. `days` returns the days of the month
/// of a date that have one; bit `n` stands for day `n`. `first_from` returns the first one of a day, from a
/// minute on.
pub(super) fn next(
    after: DateTime,
    end: Date,
    days: impl Fn(Date) -> u64,
    first_from: impl Fn(Date, usize) -> Option<usize>,
) -> Option<DateTime> {
    let today = after.date();
    let mut month = today.first_of_month();
    while month <= end {
        for day in days::each(days(month)) {
            let date = Date::new(month.year(), month.month(), day).ok()?;
            if date < today {
                continue;
            }
            let from = if date == today { minute_of(after) + 1 } else { 0 };
            if let Some(minute) = first_from(date, from) {
                return on(date, minute).filter(|_| date <= end);
            }
        }
        month = month.last_of_month().tomorrow().ok()?;
    }
    None
}

/// Returns the last minute at or before `at`, and not before the day `begin`. `days` and `last_to` are for it
/// what they are for [`next`].
pub(super) fn latest(
    at: DateTime,
    begin: Date,
    days: impl Fn(Date) -> u64,
    last_to: impl Fn(Date, usize) -> Option<usize>,
) -> Option<DateTime> {
    let today = at.date();
    let mut month = today.first_of_month();
    while month.last_of_month() >= begin {
        for day in days::each(days(month)).rev() {
            let date = Date::new(month.year(), month.month(), day).ok()?;
            if date > today {
                continue;
            }
            let to = if date == today { minute_of(at) } else { MINUTES - 1 };
            if let Some(minute) = last_to(date, to) {
                return on(date, minute).filter(|_| date >= begin);
            }
        }
        month = month.yesterday().ok()?.first_of_month();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_invalid_expression_is_refused_with_its_remedy() {
        for bad in ["", "@daily", "0 20 * *", "0 0 20 * * 1"] {
            assert!(matches!(Cron::parse(bad), Err(CronError::Fields(_))), "{bad}");
        }
        for (bad, problem) in [
            ("60 0 * * *", "minute '60' is unknown; write 0 to 59"),
            ("0 24 * * *", "hour '24' is unknown; write 0 to 23"),
            ("0 0 0 * *", "day of month '0' is unknown; write 1 to 31"),
            ("0 0 32 * *", "day of month '32' is unknown; write 1 to 31"),
            ("0 0 * 13 *", "month '13' is unknown; write 1 to 12, or JAN to DEC"),
            ("0 0 * * 8", "day of week '8' is unknown; write 0 to 6, or SUN to SAT"),
            ("0 0 * * MONDAY", "day of week 'MONDAY' is unknown; write 0 to 6, or SUN to SAT"),
            ("0 MON * * 1", "hour 'MON' is unknown; write 0 to 23"),
            ("0 20 * * +1", "day of week '+1' is unknown; write 0 to 6, or SUN to SAT"),
            ("1- * * * *", "minute '' is unknown; write 0 to 59"),
            ("0 22-6 * * *", "'22-6' ends before it begins; write two ranges, '22-23,0-6'"),
            ("0 22-6/2 * * *", "write two ranges, '22-23/2,0-6/2'"),
            ("0 0 * * FRI-MON", "write two ranges, 'FRI-SAT,SUN-MON'"),
            ("0 0 * NOV-FEB *", "write two ranges, 'NOV-DEC,JAN-FEB'"),
            ("0 0 * * 5-0", "write two ranges, '5-6,0-0'"),
            ("*/0 * * * *", "minute '*/0' has the step 0; write a step of 1 or more"),
            ("*/x * * * *", "minute '*/x' has the step 'x'; write a number, such as '0-59/2'"),
            ("1/2/3 * * * *", "minute '1/2/3' has the step '2/3'; write a number"),
            ("* * *-5 * *", "day of month '*-5' is no range; write '*' or '1-5'"),
            (", 0 * * *", "minute ',' has no value; write '*' for all of them"),
            ("0 0 LL * *", "day of month 'LL' is unknown; write 1 to 31"),
            ("0 0 1-5W * *", "day of month '1-5W' is unknown; write a day, such as '15W'"),
            ("0 0 * * L", "day of week 'L' is unknown; write 0 to 6, or SUN to SAT"),
            ("0 0 * * 5#6", "day of week '5#6' is unknown; write '5#1' to '5#5', or '5#L'"),
            ("0 0 * * 7/2", "day of week '7' is unknown; write 0 to 6"),
        ] {
            let error = Cron::parse(bad).expect_err(bad).to_string();
            assert!(
                error.starts_with(&format!("the cron expression '{bad}' is invalid: ")),
                "{error}"
            );
            assert!(error.contains(problem), "{error}");
        }
        for bad in ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert!(matches!(Cron::parse(bad), Err(CronError::Never(_))), "{bad}");
        }
    }

    #[test]
    fn rare_days_are_found_both_ways() {
        let utc = TimeZone::UTC;
        let leap = Cron::parse("0 12 29 2 *").unwrap();
        // 2100 has no leap day.
        assert_eq!(
            leap.next_after(&utc, at("2096-02-29T12:00:00Z")),
            Some(at("2104-02-29T12:00:00Z"))
        );
        assert_eq!(
            leap.latest_at(&utc, at("2104-02-29T11:59:59Z")),
            Some(at("2096-02-29T12:00:00Z"))
        );
        assert_eq!(
            leap.latest_at(&utc, at("2104-02-29T12:00:00Z")),
            Some(at("2104-02-29T12:00:00Z"))
        );
        // Five Mondays in a February.
        let five = Cron::parse("0 0 * 2 MON#5").unwrap();
        assert_eq!(
            five.next_after(&utc, at("2072-03-01T00:00:00Z")),
            Some(at("2112-02-29T00:00:00Z"))
        );
        assert_eq!(
            five.latest_at(&utc, at("2112-02-28T00:00:00Z")),
            Some(at("2072-02-29T00:00:00Z"))
        );
    }

    #[test]
    fn days_of_month_and_week() {
        let utc = TimeZone::UTC;
        let next =
            |text: &str, now: &str| Cron::parse(text).unwrap().next_after(&utc, at(now)).unwrap();
        // Restricted both, either is enough; Sunday is 0 and 7.
        assert_eq!(next("0 0 15 * 1", "2026-06-09T00:00:00Z"), at("2026-06-15T00:00:00Z"));
        assert_eq!(next("0 0 11 * 1", "2026-06-09T00:00:00Z"), at("2026-06-11T00:00:00Z"));
        assert_eq!(next("0 0 * * 7", "2026-06-09T00:00:00Z"), at("2026-06-14T00:00:00Z"));
        assert_eq!(next("0 0 * * SAT-SUN", "2026-06-13T00:00:00Z"), at("2026-06-14T00:00:00Z"));
        assert_eq!(next("0 0 * * SUN-SUN", "2026-06-09T00:00:00Z"), at("2026-06-14T00:00:00Z"));
        assert_eq!(next("0 0 * * 5-7", "2026-06-13T00:00:00Z"), at("2026-06-14T00:00:00Z"));
        assert_eq!(next("0 0 L * *", "2026-02-09T00:00:00Z"), at("2026-02-28T00:00:00Z"));
        assert_eq!(next("0 0 * * 5#L", "2026-06-09T00:00:00Z"), at("2026-06-26T00:00:00Z"));
        assert_eq!(next("0 0 * * fril", "2026-06-09T00:00:00Z"), at("2026-06-26T00:00:00Z"));
        assert_eq!(next("0 0 * * 2-3#2", "2026-06-09T00:00:00Z"), at("2026-06-10T00:00:00Z"));
        assert_eq!(next("0 0 * * 1#1", "2026-06-09T00:00:00Z"), at("2026-07-06T00:00:00Z"));
        // The month ends, and begins, on a Saturday or Sunday.
        assert_eq!(next("0 0 LW * ?", "2026-02-09T00:00:00Z"), at("2026-02-27T00:00:00Z"));
        assert_eq!(next("0 0 LW * ?", "2026-05-09T00:00:00Z"), at("2026-05-29T00:00:00Z"));
        assert_eq!(next("0 0 1W * ?", "2026-07-31T00:00:00Z"), at("2026-08-03T00:00:00Z"));
        assert_eq!(next("0 0 31w * ?", "2026-05-09T00:00:00Z"), at("2026-05-29T00:00:00Z"));
        assert_eq!(next("0 0 13W * ?", "2026-06-09T00:00:00Z"), at("2026-06-12T00:00:00Z"));
        assert_eq!(next("0 0 14W * ?", "2026-06-09T00:00:00Z"), at("2026-06-15T00:00:00Z"));
    }
}
