//! Times and spans, as a person reads them.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Returns a time on the wall clock of a zone, with the abbreviation of the zone: `Mon 2026-11-30 07:00 EET`.
pub(super) fn absolute(at: Timestamp, zone: &TimeZone) -> String {
    let zoned = at.to_zoned(zone.clone());
    let clock = if zoned.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    zoned.strftime(&format!("%a %Y-%m-%d {clock} %Z")).to_string()
}

/// Returns a time, and how far away it is: `Mon 2026-11-30 07:00 EET (in 3 h)`.
pub(super) fn moment(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    format!("{} ({})", absolute(at, zone), relative(at, now))
}

/// Returns how far away a time is: `in 3 h 20 min`, `5 min ago` or `now`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second().saturating_sub(now.as_second());
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {}", long(seconds)),
        _ => format!("{} ago", long(-seconds)),
    }
}

/// Returns a span in at most two units: `3 d 4 h`, `3 h 20 min`, `5 min`, `40 s`.
pub(super) fn span(span: SignedDuration) -> String {
    long(span.as_secs().abs())
}

fn long(seconds: i64) -> String {
    let two = |large: i64, large_unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{large} {large_unit}")
        } else {
            format!("{large} {large_unit} {small} {small_unit}")
        }
    };
    match seconds {
        DAY.. => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        HOUR.. => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "min"),
        // The seconds matter only while somebody waits for them.
        _ if seconds >= 10 * MINUTE => format!("{} min", seconds / MINUTE),
        MINUTE.. => two(seconds / MINUTE, "min", seconds % MINUTE, "s"),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_span_has_at_most_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (200, "3 min 20 s"),
            (659, "10 min"),
            (3600, "1 h"),
            (3 * 3600 + 1230, "3 h 20 min"),
            (86_400, "1 d"),
            (3 * 86_400 + 4 * 3600 + 59, "3 d 4 h"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), text);
            assert_eq!(span(SignedDuration::from_secs(-seconds)), text);
        }
    }

    #[test]
    fn a_moment_says_where_the_clock_is_and_how_far_away_it_is() {
        let zone = crate::schedule::time_zone("Europe/Kyiv").unwrap();
        let now = at("2026-10-24T20:00:00Z");
        let says = |time: &str| moment(at(time), now, &zone);
        assert_eq!(says("2026-10-24T23:30:00Z"), "Sun 2026-10-25 02:30 EEST (in 3 h 30 min)");
        assert_eq!(says("2026-10-25T05:00:00Z"), "Sun 2026-10-25 07:00 EET (in 9 h)");
        assert_eq!(says("2026-10-24T19:59:15Z"), "Sat 2026-10-24 22:59:15 EEST (45 s ago)");
        assert_eq!(relative(now, now), "now");
    }
}
