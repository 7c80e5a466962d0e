//! The table of all objects.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::plugin::object::{Object, Standing};
use crate::plugin::paint::{Paint, Screen};
use crate::plugin::table::{Cell, Table};
use crate::plugin::when::moment;

/// Returns the table. `scope` is the namespace; none for all namespaces.
pub(super) fn render(
    objects: &[Object],
    scope: Option<&str>,
    now: Timestamp,
    screen: Screen,
) -> String {
    if objects.is_empty() {
        let place = scope.map_or("any namespace".to_owned(), |name| format!("namespace {name}"));
        return format!("no Hibernation and no MaintenanceWindow in {place}\n");
    }
    let mut table = Table::new(&["NAMESPACE", "NAME", "PHASE", "READY", "HELD", "NEXT", "MESSAGE"]);
    for object in objects {
        let (ready, paint) = verdict(object);
        let held = object.hold().and_then(|hold| hold.counts).map(|counts| counts.held);
        let held = held.filter(|held| *held > 0).map(|held| held.to_string());
        let zone = object.zone().unwrap_or_else(TimeZone::system);
        let next = object.next();
        let next = next.map(|(state, at)| format!("{state} {}", moment(at, now, &zone)));
        table.add([
            if scope.is_some() { "".into() } else { object.namespace().into() },
            object.argument().into(),
            object.phase().unwrap_or_else(|| "(not observed)".to_owned()).into(),
            Cell::painted(ready, paint),
            held.unwrap_or_default().into(),
            next.unwrap_or_default().into(),
            object.message().into(),
        ]);
    }
    table.render(screen)
}

/// Returns how an object stands, and the colour of that.
fn verdict(object: &Object) -> (&'static str, Paint) {
    match object.standing() {
        Standing::Unobserved => ("not observed", Paint::Yellow),
        Standing::Ready if object.is_stalled() => ("yes, stalled", Paint::Red),
        Standing::Ready => ("yes", Paint::Green),
        Standing::Reconciling => ("reconciling", Paint::Yellow),
        Standing::Stalled => ("no, stalled", Paint::Red),
        Standing::Other => ("no", Paint::Yellow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::golden;

    #[test]
    fn all_objects_are_a_table() {
        let names = ["hibernated", "stalled", "awake", "new", "window"];
        let objects = names.map(golden::object);
        let now = "2026-11-29T23:10:00Z".parse().unwrap();
        golden::check("status-all", &render(&objects, None, now, Screen::plain()));
        let one = render(&objects[..1], Some("shop"), now, Screen::plain());
        assert!(!one.contains("NAMESPACE"), "{one}");
        let none = render(&[], Some("shop"), now, Screen::plain());
        assert_eq!(none, "no Hibernation and no MaintenanceWindow in namespace shop\n");
        let none = render(&[], None, now, Screen::plain());
        assert_eq!(none, "no Hibernation and no MaintenanceWindow in any namespace\n");
    }
}
