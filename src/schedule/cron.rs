//! Cron expressions, and the search for the next and the latest time at which they fire.
//!
//! The `croner` crate parses an expression and matches a day. The search is written by hand on purpose.
//! The search of croner treats an expression with several hours or minutes differently from one with a
//! single time: a clock change skips the former, or lets it fire twice. It also fails where a clock
//! change skips more than two hours.

use croner::parser::{CronParser, Seconds, Year};
use croner::{CronPattern, Weekday};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::wall;

/// The range of a search, in years. The rarest expressions fire in years whose February has five of one
/// weekday. Such years are 40 years apart around a century without a leap day.
pub const HORIZON_YEARS: i16 = 41;

const MINUTES: usize = 24 * 60;
const WORDS: usize = MINUTES.div_ceil(64);

/// Why a cron expression is invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CronError {
    /// The expression does not have five fields, or a field has a letter that it does not accept.
    #[error(
        "'{0}' is not a cron expression of five fields (minute, hour, day of month, month, day of \
         week); write one such as '0 20 * * 1-5'"
    )]
    Fields(String),
    /// A field does not parse.
    #[error(
        "the cron expression '{text}' cannot be read ({why}); write one such as '0 20 * * 1-5', and \
         a range that wraps around as two ('22-23,0-6')"
    )]
    Field {
        /// The expression.
        text: String,
        /// The problem.
        why: String,
    },
    /// No year has the date.
    #[error(
        "the cron expression '{0}' never fires: no year has such a day; write a day that the month \
         has ('L' is its last one)"
    )]
    Never(String),
}

/// A cron expression of five fields that fires at some time. The syntax is that of a `CronJob`, with `L`,
/// `W` and `#` in addition.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    pattern: CronPattern,
    pub(super) minutes: DayMinutes,
    pub(super) months: Months,
}

impl Cron {
    /// Parses an expression. Fails if the expression never fires.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let letters_are_valid = fields.iter().enumerate().all(|(place, field)| {
            field.chars().all(|c| match c {
                '0'..='9' | '*' | ',' | '/' | '-' => true,
                'a'..='z' | 'A'..='Z' => {
                    place >= 3 || (place == 2 && matches!(c, 'L' | 'l' | 'W' | 'w'))
                }
                '?' => place == 2 || place == 4,
                '#' => place == 4,
                _ => false,
            })
        });
        if fields.len() != 5 || !letters_are_valid {
            return Err(CronError::Fields(text.to_owned()));
        }
        let invalid = |why: croner::errors::CronError| CronError::Field {
            text: text.to_owned(),
            why: why.to_string(),
        };
        let pattern = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(text)
            .map_err(invalid)?
            .pattern;
        let mut minutes = DayMinutes::default();
        for hour in pattern.hours.values() {
            for minute in pattern.minutes.values() {
                minutes.insert(hour * 60 + minute);
            }
        }
        let months = pattern.months.values().into_iter().fold(Months::default(), Months::with);
        let cron = Self { text: text.to_owned(), pattern, minutes, months };
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
        let at = latest(wall::reached(zone, now), self.months, |date| self.minutes_on(date))?;
        wall::instant(zone, at)
    }

    fn next_wall(&self, after: DateTime) -> Option<DateTime> {
        next(after, self.months, |date| self.minutes_on(date))
    }

    fn minutes_on(&self, date: Date) -> DayMinutes {
        if self.fires_on(date) { self.minutes } else { DayMinutes::default() }
    }

    /// Returns whether the expression fires on a day.
    pub(super) fn fires_on(&self, date: Date) -> bool {
        if !self.months.contain(date) {
            return false;
        }
        let weekday = Weekday::from_days_from_sunday(u32::from(
            date.weekday().to_sunday_zero_offset().unsigned_abs(),
        ));
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        self.pattern
            .day_match(i32::from(date.year()), u32::from(month), u32::from(day), weekday)
            .unwrap_or(false)
    }
}

/// A set of months.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Months(u16);

impl Months {
    fn with(self, month: u16) -> Self {
        Self(self.0 | 1 << month)
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn contain(self, date: Date) -> bool {
        self.0 & 1 << date.month() != 0
    }
}

/// A set of minutes of a day, counted on the wall clock from midnight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DayMinutes([u64; WORDS]);

impl DayMinutes {
    fn insert(&mut self, minute: u16) {
        if let Some(word) = self.0.get_mut(usize::from(minute / 64)) {
            *word |= 1 << (minute % 64);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    pub(super) fn remove(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
    }

    pub(super) fn contains(&self, at: DateTime) -> bool {
        let minute = minute_of(at);
        self.0.get(minute / 64).is_some_and(|word| word & 1 << (minute % 64) != 0)
    }

    /// Returns the first minute at or after `minute`.
    fn first_from(&self, minute: usize) -> Option<usize> {
        let words = self.0.iter().enumerate().skip(minute / 64);
        words
            .map(|(at, word)| {
                (at, if at == minute / 64 { word & u64::MAX << (minute % 64) } else { *word })
            })
            .find(|(_, word)| *word != 0)
            .map(|(at, word)| at * 64 + word.trailing_zeros() as usize)
    }

    /// Returns the last minute at or before `minute`.
    fn last_to(&self, minute: usize) -> Option<usize> {
        let words = self.0.iter().enumerate().take(minute / 64 + 1).rev();
        words
            .map(|(at, word)| {
                (at, if at == minute / 64 { word & u64::MAX >> (63 - minute % 64) } else { *word })
            })
            .find(|(_, word)| *word != 0)
            .map(|(at, word)| at * 64 + 63 - word.leading_zeros() as usize)
    }
}

fn minute_of(at: DateTime) -> usize {
    usize::from(at.hour().unsigned_abs()) * 60 + usize::from(at.minute().unsigned_abs())
}

fn on(date: Date, minute: usize) -> Option<DateTime> {
    let hour = i8::try_from(minute / 60).ok()?;
    let minute = i8::try_from(minute % 60).ok()?;
    DateTime::new(date.year(), date.month(), date.day(), hour, minute, 0, 0).ok()
}

/// Returns the first minute after `after` in the sets that `minutes` returns for the days of `months`.
pub(super) fn next(
    after: DateTime,
    months: Months,
    minutes: impl Fn(Date) -> DayMinutes,
) -> Option<DateTime> {
    let mut date = after.date();
    let end = date.year().saturating_add(HORIZON_YEARS);
    let mut from = minute_of(after) + 1;
    while date.year() <= end {
        if months.contain(date) {
            if let Some(minute) = minutes(date).first_from(from) {
                return on(date, minute);
            }
        } else {
            date = date.last_of_month();
        }
        date = date.tomorrow().ok()?;
        from = 0;
    }
    None
}

/// Returns the last minute at or before `at` in the sets that `minutes` returns for the days of `months`.
pub(super) fn latest(
    at: DateTime,
    months: Months,
    minutes: impl Fn(Date) -> DayMinutes,
) -> Option<DateTime> {
    let mut date = at.date();
    let end = date.year().saturating_sub(HORIZON_YEARS);
    let mut to = minute_of(at);
    while date.year() >= end {
        if months.contain(date) {
            if let Some(minute) = minutes(date).last_to(to) {
                return on(date, minute);
            }
        } else {
            date = date.first_of_month();
        }
        date = date.yesterday().ok()?;
        to = MINUTES - 1;
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
    fn what_cannot_fire_or_be_read_is_refused_with_what_to_write() {
        for bad in
            ["", "@daily", "0 20 * *", "0 0 20 * * 1", "0 MON * * 1", "0 20 * * +1", "0 20 L * T@"]
        {
            assert!(matches!(Cron::parse(bad), Err(CronError::Fields(_))), "{bad}");
        }
        for bad in [
            "60 0 * * *",
            "0 24 * * *",
            "0 0 0 * *",
            "0 0 32 * *",
            "0 0 * 13 *",
            "0 0 * * 8",
            "0 22-6 * * *",
            "0 0 * * FRI-MON",
            "*/0 * * * *",
            "0 0 * * MONDAY",
            "1- * * * *",
        ] {
            let error = Cron::parse(bad).expect_err(bad);
            assert!(matches!(error, CronError::Field { .. }), "{bad}");
            assert!(error.to_string().contains("22-23,0-6"), "{error}");
        }
        for bad in ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", ", 0 * * *"] {
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
        assert_eq!(next("0 0 L * *", "2026-02-09T00:00:00Z"), at("2026-02-28T00:00:00Z"));
        assert_eq!(next("0 0 LW * ?", "2026-02-09T00:00:00Z"), at("2026-02-27T00:00:00Z"));
        assert_eq!(next("0 0 * * 5#L", "2026-06-09T00:00:00Z"), at("2026-06-26T00:00:00Z"));
    }

    #[test]
    fn minutes_are_found_at_the_borders_of_words() {
        let mut set = DayMinutes::default();
        for minute in [0, 63, 64, 1439] {
            set.insert(minute);
        }
        let first: Vec<_> = [0, 1, 63, 64, 65, 1439, 1440].map(|m| set.first_from(m)).to_vec();
        assert_eq!(first, [Some(0), Some(63), Some(63), Some(64), Some(1439), Some(1439), None]);
        let last: Vec<_> = [0, 62, 63, 64, 1438, 1439].map(|m| set.last_to(m)).to_vec();
        assert_eq!(last, [Some(0), Some(0), Some(63), Some(64), Some(64), Some(1439)]);
    }
}
