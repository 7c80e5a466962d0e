//! `torpor history`: the last transitions of an object.

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::error::Error;
use super::find;
use super::name::Name;
use super::object::Object;
use super::paint::{Paint, Screen};
use super::table::{Cell, Table};
use super::when::{absolute, relative};
use crate::apiserver::client::ClusterArgs;

/// Arguments of `torpor history`.
#[derive(Args, Clone, Debug)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The object: NAME, hib/NAME or mw/NAME
    #[arg(value_name = "NAME")]
    name: Name,
}

/// Runs the command. Returns the output.
pub(super) async fn run(args: HistoryArgs) -> Result<String, Error> {
    let (client, namespace) = args.cluster.connect().await?;
    let object = find::one(&client, &namespace, &args.name).await?.object;
    let zone = object.zone().unwrap_or_else(TimeZone::system);
    Ok(render(&object, Timestamp::now(), &zone, Screen::stdout()))
}

/// Returns the history as a table, newest first. Pure.
fn render(object: &Object, now: Timestamp, zone: &TimeZone, screen: Screen) -> String {
    let entries: Vec<(String, Timestamp, &str)> = match object {
        Object::Hibernation(object) => object
            .status
            .iter()
            .flat_map(|status| &status.history)
            .map(|entry| (format!("{:?}", entry.phase), entry.at.0, entry.message.as_str()))
            .collect(),
        Object::MaintenanceWindow(object) => object
            .status
            .iter()
            .flat_map(|status| &status.history)
            .map(|entry| (format!("{:?}", entry.phase), entry.at.0, entry.message.as_str()))
            .collect(),
    };
    let title = format!("{} in namespace {}", object.display(), object.namespace());
    if entries.is_empty() {
        return format!("{title}: no transition yet\n");
    }
    let mut table = Table::new(&["AT", "", "PHASE", "MESSAGE"]);
    for (phase, at, message) in entries {
        table.add([
            absolute(at, zone).into(),
            Cell::painted(relative(at, now), Paint::Dim),
            phase.into(),
            message.into(),
        ]);
    }
    format!("{}\n\n{}", screen.paint(&title, Paint::Bold), table.render(screen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::golden;

    #[test]
    fn the_last_transitions_are_a_table() {
        let now = "2026-11-30T05:00:00Z".parse().unwrap();
        let says = |name: &str| {
            let object = golden::object(name);
            let zone = object.zone().unwrap_or(TimeZone::UTC);
            render(&object, now, &zone, Screen::plain())
        };
        golden::check("history", &says("hibernated"));
        assert_eq!(says("new"), "Hibernation new in namespace shop: no transition yet\n");
    }
}
