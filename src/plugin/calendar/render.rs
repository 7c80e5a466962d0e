//! A timeline as a table, and its first week as a drawing. Pure.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::timeline::{MOST, State, Timeline, length};
use crate::plugin::name::Kind;
use crate::plugin::object::Object;
use crate::plugin::paint::{Paint, Screen};
use crate::plugin::table::{Cell, Table};
use crate::plugin::when::{absolute, relative, span};

/// The days of the drawing.
const DAYS: usize = 7;
/// Minutes of a cell of the drawing.
const CELL: i64 = 30;
/// The cells of a day.
const CELLS: i64 = 24 * 60 / CELL;

/// Returns the calendar of an object.
pub(super) fn render(
    object: &Object,
    timeline: &Timeline,
    zone: &TimeZone,
    screen: Screen,
) -> String {
    let namespace = match object.namespace() {
        "" => String::new(),
        namespace => format!(" in namespace {namespace}"),
    };
    let until = absolute(timeline.end, zone);
    let title = format!("{}{namespace}, until {until}", object.display());
    let mut parts = vec![
        screen.paint(&title, Paint::Bold) + "\n",
        table(object, timeline, zone).render(screen),
        notes(object, timeline, zone),
        week(object, timeline, zone, screen),
    ];
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// Returns the name of a state.
fn name(kind: Kind, state: State) -> &'static str {
    match (kind, state) {
        (Kind::Hibernation, State::Up) => "Awake",
        (Kind::Hibernation, State::Down) => "Hibernated",
        (Kind::MaintenanceWindow, State::Up) => "Operating",
        (Kind::MaintenanceWindow, State::Down) => "InMaintenance",
    }
}

fn table(object: &Object, timeline: &Timeline, zone: &TimeZone) -> Table {
    let mut table = Table::new(&["AT", "", "STATE", "FOR", "BY"]);
    let now = timeline.from;
    for part in &timeline.parts {
        let (at, away) = if part.from == now {
            ("now".to_owned(), String::new())
        } else {
            (absolute(part.from, zone), relative(part.from, now))
        };
        let paint = if part.state == State::Down { Paint::Yellow } else { Paint::Green };
        table.add([
            at.into(),
            Cell::painted(away, Paint::Dim),
            Cell::painted(name(object.kind(), part.state), paint),
            length(part).map_or("no end".to_owned(), span).into(),
            part.by.as_str().into(),
        ]);
    }
    table
}

/// Returns the notes below the table: clock changes, and the transitions that are left out.
fn notes(object: &Object, timeline: &Timeline, zone: &TimeZone) -> String {
    let mut notes = Vec::new();
    if timeline.is_cut {
        notes.push(format!(
            "There are more transitions: the table ends after {MOST}; write fewer --days."
        ));
    }
    if let Object::MaintenanceWindow(window) = object {
        if window.spec.suspend {
            notes.push("spec.suspend is set: no window begins.".to_owned());
        } else if window.spec.after.is_some() && window.status.is_none() {
            notes.push("spec.after counts from now, as if the object were created now.".to_owned());
        }
    }
    let changes = zone.following(timeline.from).map(|change| change.timestamp());
    notes.extend(
        changes.take_while(|at| *at < timeline.end).filter_map(|at| clock_change(at, zone)),
    );
    notes.push(String::new());
    notes.join("\n")
}

/// Returns a change of the clock in words; none where only the abbreviation of the zone changes.
fn clock_change(at: Timestamp, zone: &TimeZone) -> Option<String> {
    let before = zone.to_offset(at.checked_sub(SignedDuration::from_nanos(1)).ok()?);
    let after = zone.to_offset(at);
    let direction = match after.seconds().cmp(&before.seconds()) {
        std::cmp::Ordering::Less => "back",
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => "forward",
    };
    let wall = before.to_datetime(at);
    let date = wall.strftime("%a %Y-%m-%d");
    let (from, to) = (wall.strftime("%H:%M"), zone.to_datetime(at).strftime("%H:%M"));
    Some(format!("On {date} the clock goes {direction} from {from} to {to}."))
}

/// Returns the drawing of the first days: a line for each, a character for each half hour.
fn week(object: &Object, timeline: &Timeline, zone: &TimeZone, screen: Screen) -> String {
    let (down, up) = (name(object.kind(), State::Down), name(object.kind(), State::Up));
    let scale: Vec<String> = (0..8).map(|hour| format!("{:<6}", hour * 3)).collect();
    let scale = screen.paint(scale.concat().trim_end(), Paint::Dim);
    let mut lines = vec![format!("{:12}{scale}", "")];
    let mut date = zone.to_datetime(timeline.from).date();
    for _ in 0..DAYS {
        let cells: String = (0..CELLS).map(|cell| self::cell(timeline, zone, date, cell)).collect();
        if cells.trim().is_empty() {
            break;
        }
        let day = date.strftime("%a %d %b").to_string();
        lines.push(format!("{day:12}{}", cells.trim_end()));
        let Ok(tomorrow) = date.tomorrow() else { break };
        date = tomorrow;
    }
    let lines = lines.join("\n");
    format!("{lines}\n\n█ {down}   · {up}   ▒ both within the half hour\n")
}

/// Returns the character of half an hour. It is a space where the time is past, beyond the end, or skipped by the clock.
fn cell(timeline: &Timeline, zone: &TimeZone, date: Date, cell: i64) -> char {
    let midnight = date.to_datetime(Time::midnight());
    let wall = |minutes: i64| midnight.checked_add(SignedDuration::from_mins(minutes)).ok();
    let Some((begin, end)) = wall(cell * CELL).zip(wall((cell + 1) * CELL)) else { return ' ' };
    let Some(begin) = instant(zone, begin) else { return ' ' };
    // The last second of the half hour, also where the clock jumps at its end.
    let end = instant(zone, end).unwrap_or(begin + SignedDuration::from_mins(CELL));
    let end = end.min(begin + SignedDuration::from_mins(CELL)) - SignedDuration::from_secs(1);
    if end < timeline.from {
        return ' ';
    }
    let states = [begin.max(timeline.from), end].map(|at| timeline.at(at));
    match states {
        [Some(State::Down), Some(State::Down) | None] => '█',
        [Some(State::Up), Some(State::Up) | None] => '·',
        [Some(_), Some(_)] => '▒',
        [None, _] => ' ',
    }
}

/// Returns the first instant at which the clock shows a time; none where the clock skips the time.
fn instant(zone: &TimeZone, wall: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    if matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
        return None;
    }
    ambiguous.earlier().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::timeline;
    use super::*;
    use crate::plugin::golden;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn drawn(object: &Object, now: &str, days: i64) -> String {
        let zone = object.zone().unwrap_or(TimeZone::UTC);
        let from = at(now);
        let end = from + SignedDuration::from_hours(24 * days);
        let timeline = timeline::of(object, from, end).unwrap();
        render(object, &timeline, &zone, Screen::plain())
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    fn file(kind: Kind, spec: Value) -> Object {
        Object::parse(kind, json!({"metadata": {"name": "cornice"}, "spec": spec})).unwrap()
    }

    #[test]
    fn the_next_weeks_of_a_schedule_are_a_table_and_a_drawing() {
        let object = golden::object("hibernated");
        golden::check("calendar", &drawn(&object, "2026-12-18T10:10:00Z", 14));
    }

    #[test]
    fn a_clock_that_goes_back_or_forward_is_told_and_drawn() {
        let spec = json!({"schedule": {"timeZone": "Europe/Kyiv",
            "rules": [{"hibernate": "30 3 * * *", "wake": "15 7 * * *"}]}});
        let object = file(Kind::Hibernation, spec);
        let text = drawn(&object, "2026-10-23T21:00:00Z", 3);
        golden::check("calendar-autumn", &text);
        golden::check("calendar-spring", &drawn(&object, "2027-03-26T22:00:00Z", 3));
    }

    #[test]
    fn windows_are_drawn_as_the_operator_knows_them() {
        golden::check(
            "calendar-window",
            &drawn(&golden::object("window"), "2026-12-05T12:00:00Z", 14),
        );
        let after = file(Kind::MaintenanceWindow, json!({"after": "1h", "duration": "90m"}));
        let text = drawn(&after, "2026-12-05T12:00:00Z", 1);
        assert!(text.contains("Sat 2026-12-05 13:00 UTC   in 1 h"), "{text}");
        assert!(text.contains("1 h 30 min"), "{text}");
        assert!(text.contains("spec.after counts from now"), "{text}");
        let suspended = file(Kind::MaintenanceWindow, json!({"after": "1h", "suspend": true}));
        let text = drawn(&suspended, "2026-12-05T12:00:00Z", 1);
        assert!(text.contains("no window begins"), "{text}");
        assert!(!text.contains('█') || text.ends_with("half hour\n"), "{text}");
    }
}
