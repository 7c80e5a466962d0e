//! The wall clock of a zone, as a schedule reads it: it never goes back, and it jumps over what a
//! change of the clock skips.
//!
//! Everything about changes of the clock follows from two functions that are each other's inverse.
//! Where the clock goes back, [`reached`] stands still until the wall clock has caught up, so a time
//! that is passed twice counts once, at the first pass. Where it goes forward, [`reached`] jumps, and
//! [`instant`] of each time that was skipped is the instant of the jump.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

/// The zones that this build knows. Never the machine's: an image without zoneinfo, or with half of
/// it, must not change what a schedule means.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// No change of a clock repeats more than a day.
const LONGEST_REPEAT: SignedDuration = SignedDuration::from_hours(26);
const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

/// Returns the zone of that IANA name.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    ZONES.get(name).ok().filter(|zone| !zone.is_unknown())
}

/// Returns the latest time that the zone's wall clocks have shown up to `now`.
pub(super) fn reached(zone: &TimeZone, now: Timestamp) -> DateTime {
    let shown = zone.to_datetime(now);
    let after = now.checked_add(INSTANT).unwrap_or(now);
    zone.preceding(after)
        .map(|change| change.timestamp())
        .take_while(|change| now.duration_since(*change) < LONGEST_REPEAT)
        .filter_map(|change| change.checked_sub(INSTANT).ok())
        .map(|before| zone.to_datetime(before))
        .fold(shown, DateTime::max)
}

/// Returns the first instant at which `wall` is [`reached`], if the calendar goes that far.
pub(super) fn instant(zone: &TimeZone, wall: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    let skipped = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
    let earlier = ambiguous.earlier().ok()?;
    if !skipped {
        return Some(earlier);
    }
    zone.following(earlier)
        .map(|change| change.timestamp())
        .find(|change| zone.to_datetime(*change) >= wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, wall: &str, expected: &str) {
        let zone = zone(name).unwrap();
        let wall: DateTime = wall.parse().unwrap();
        let expected: Timestamp = expected.parse().unwrap();
        assert_eq!(instant(&zone, wall), Some(expected), "{name} {wall}");
        assert!(reached(&zone, expected) >= wall, "{name} {wall}");
        assert!(reached(&zone, expected - INSTANT) < wall, "{name} {wall}");
    }

    #[test]
    fn a_time_that_is_skipped_is_reached_when_the_clock_jumps() {
        check("Europe/Kyiv", "2026-03-29T03:30", "2026-03-29T01:00:00Z");
        check("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30:00Z");
        // No midnight.
        check("Africa/Cairo", "2026-04-24T00:00", "2026-04-23T22:00:00Z");
        check("Africa/Cairo", "2026-04-24T00:59", "2026-04-23T22:00:00Z");
        check("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T03:00:00Z");
        check("Asia/Beirut", "2026-03-29T00:30", "2026-03-28T22:00:00Z");
        // A whole day that never was.
        check("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00:00Z");
    }

    #[test]
    fn a_time_that_comes_twice_is_reached_once() {
        check("Europe/Kyiv", "2026-10-25T03:30", "2026-10-25T00:30:00Z");
        check("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45:00Z");
        // The day after midnight comes twice: 23:00 to 24:00 is repeated.
        check("America/Sao_Paulo", "2018-02-18T00:00", "2018-02-18T03:00:00Z");
        check("America/Sao_Paulo", "2018-02-17T23:30", "2018-02-18T01:30:00Z");
        let kyiv = zone("Europe/Kyiv").unwrap();
        let second_pass = "2026-10-25T01:10:00Z".parse().unwrap();
        assert_eq!(
            reached(&kyiv, second_pass),
            "2026-10-25T03:59:59.999999999".parse::<DateTime>().unwrap()
        );
    }

    #[test]
    fn zones_come_with_the_build() {
        for name in ["Europe/Kyiv", "Etc/UTC", "UTC", "Asia/Kathmandu", "America/Nuuk"] {
            assert!(zone(name).is_some(), "{name}");
        }
        for name in ["", "Local", "Etc/Unknown", "+02:00", "Europe/Nowhere", "EST5EDT4"] {
            assert!(zone(name).is_none(), "{name}");
        }
    }
}
