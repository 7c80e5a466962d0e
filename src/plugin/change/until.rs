//! `--for` and `--until`.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

use crate::plugin::error::Error;
use crate::plugin::when::{absolute, relative};

/// The longest time that an override may last from now.
const LONGEST: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);

/// The end of a state, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Until {
    /// No end.
    Open,
    /// `--for`.
    For(SignedDuration),
    /// `--until`, with its UTC offset.
    At(Timestamp),
    /// `--until`, on the wall clock of the time zone.
    Wall(DateTime),
    /// `--until`, the next such time of the day.
    Clock(Time),
}

impl Until {
    /// Parses both options, of which at most one is given.
    pub(super) fn parse(for_: Option<&str>, until: Option<&str>) -> Result<Self, Error> {
        match (for_, until) {
            (Some(text), _) => duration(text).map(Self::For),
            (None, Some(text)) => time(text),
            (None, None) => Ok(Self::Open),
        }
    }

    /// Returns the time at which the state ends; none without an end. Fails if the time is not after `now`.
    pub(super) fn resolve(
        &self,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Result<Option<Timestamp>, Error> {
        let beyond = |_| Error::refused("--until: the time is beyond the calendar");
        let at = match self {
            Self::Open => return Ok(None),
            Self::For(duration) => now
                .checked_add(*duration)
                .map_err(|_| Error::refused("--for: the time is beyond the calendar"))?,
            Self::At(at) => *at,
            Self::Wall(wall) => zone.to_timestamp(*wall).map_err(beyond)?,
            Self::Clock(clock) => {
                let today = zone.to_datetime(now).date();
                let on = |date: Date| zone.to_timestamp(date.to_datetime(*clock)).map_err(beyond);
                let at = on(today)?;
                if at > now { at } else { on(today.tomorrow().map_err(beyond)?)? }
            }
        };
        // The API keeps whole seconds. A fraction must not make the state end too early.
        let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
        let at = if whole < at {
            whole.checked_add(SignedDuration::from_secs(1)).unwrap_or(whole)
        } else {
            whole
        };
        if at <= now {
            return Err(Error::Refused(format!(
                "--until: {} is in the past ({}): write a later time",
                absolute(at, zone),
                relative(at, now)
            )));
        }
        if at.duration_since(now) > LONGEST {
            return Err(Error::refused(
                "the time is more than ten years away: leave out --for and --until, or write an earlier time",
            ));
        }
        Ok(Some(at))
    }
}

fn duration(text: &str) -> Result<SignedDuration, Error> {
    let invalid = || {
        Error::Refused(format!(
            "--for: {text:?} is not a duration: write for example 2h, 90m or 1d12h"
        ))
    };
    let span: Span = text.trim().parse().map_err(|_| invalid())?;
    // A month or a year is no fixed time.
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(Error::Refused(format!(
            "--for: {text:?} has months or years, which differ in length: write days, for example 30d"
        )));
    }
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| invalid())?;
    if duration < SignedDuration::from_secs(1) {
        return Err(Error::Refused(format!(
            "--for: {text:?} is no time in the future: write at least 1s, for example 2h"
        )));
    }
    if duration > LONGEST {
        return Err(Error::Refused(format!(
            "--for: {text:?} is longer than ten years: leave out --for, or write a shorter time"
        )));
    }
    Ok(duration)
}

fn time(text: &str) -> Result<Until, Error> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Until::At(at));
    }
    // `2026-12-01` alone could mean the beginning or the end of the day.
    let is_date = text.parse::<Date>().is_ok() && text.len() == 10;
    if let Ok(wall) = text.parse::<DateTime>()
        && !is_date
    {
        return Ok(Until::Wall(wall));
    }
    if let Ok(clock) = text.parse::<Time>()
        && text.contains(':')
    {
        return Ok(Until::Clock(clock));
    }
    let what = if is_date { "is a date without a time" } else { "is not a time" };
    Err(Error::Refused(format!(
        "--until: {text:?} {what}: write for example 2026-12-01T07:00:00Z, 2026-12-01T07:00 or 07:00"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn resolved(for_: Option<&str>, until: Option<&str>) -> Result<Option<Timestamp>, String> {
        let zone = crate::schedule::time_zone("Europe/Kyiv").unwrap();
        let until = Until::parse(for_, until).map_err(|error| error.to_string())?;
        until.resolve(at("2026-11-30T10:00:00Z"), &zone).map_err(|error| error.to_string())
    }

    #[test]
    fn a_duration_counts_from_now() {
        for (text, end) in [
            ("2h", "2026-11-30T12:00:00Z"),
            ("1h30m", "2026-11-30T11:30:00Z"),
            ("90m", "2026-11-30T11:30:00Z"),
            ("1d12h", "2026-12-01T22:00:00Z"),
            ("PT45M", "2026-11-30T10:45:00Z"),
            ("2 hours", "2026-11-30T12:00:00Z"),
        ] {
            assert_eq!(resolved(Some(text), None), Ok(Some(at(end))), "{text}");
        }
        assert_eq!(resolved(None, None), Ok(None));
    }

    #[test]
    fn a_time_is_that_of_the_schedules_zone_unless_it_has_an_offset() {
        for (text, end) in [
            ("2026-12-01T07:00:00Z", "2026-12-01T07:00:00Z"),
            ("2026-12-01T07:00:00+01:00", "2026-12-01T06:00:00Z"),
            ("2026-12-01T07:00", "2026-12-01T05:00:00Z"),
            ("2026-12-01 07:00", "2026-12-01T05:00:00Z"),
            // It is 12:00 in Kyiv.
            ("12:30", "2026-11-30T10:30:00Z"),
            ("12:00", "2026-12-01T10:00:00Z"),
            ("07:00", "2026-12-01T05:00:00Z"),
            ("2026-11-30T10:00:00.5Z", "2026-11-30T10:00:01Z"),
        ] {
            assert_eq!(resolved(None, Some(text)), Ok(Some(at(end))), "{text}");
        }
    }

    #[test]
    fn an_end_that_is_none_is_refused_with_what_to_write() {
        for (for_, until, says) in [
            (Some("0s"), None, "no time in the future"),
            (Some("-2h"), None, "no time in the future"),
            (Some("2h ago"), None, "no time in the future"),
            (Some("soon"), None, "write for example 2h"),
            (Some("7"), None, "write for example 2h"),
            (Some(""), None, "write for example 2h"),
            (Some("1mo"), None, "write days"),
            (Some("200000h"), None, "ten years"),
            (None, Some("2026-11-30T09:00:00Z"), "is in the past (1 h ago): write a later time"),
            (None, Some("2026-11-30T10:00:00Z"), "is in the past (now)"),
            (None, Some("2026-12-01"), "is a date without a time"),
            (None, Some("tomorrow"), "is not a time"),
            (None, Some("25:00"), "is not a time"),
            (None, Some("7"), "is not a time"),
            (None, Some("2126-12-01T00:00:00Z"), "ten years"),
        ] {
            let error = resolved(for_, until).unwrap_err();
            assert!(error.contains(says), "{for_:?} {until:?}: {error}");
        }
    }
}
