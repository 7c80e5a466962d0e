//! The rows of `MaintenanceWindow`s.

use futures::future::join_all;

use super::{Row, Written, create, long};
use crate::support::{
    hibernation::{condition, message},
    namespace::Namespace,
    object::reason,
    scene::Scene,
    window::Window,
};

/// The text above the table of the operator's answers.
pub(super) const FOUND: &str = "The operator reports these within seconds, before any maintenance. `kubectl describe mw` shows the message.";

/// Returns `MaintenanceWindow`s that are refused, each for one reason.
fn written() -> Vec<Written> {
    let mut rows: Vec<Written> = [
        "{}",
        "start: \"2026-12-01T02:00:00Z\"\nafter: 1h",
        "after: 1h\nschedule: {cron: \"0 2 * * SUN\"}\nduration: 2h",
        "start: 2026-12-01",
        "start: \"2026-12-01 02:00\"",
        "after: 10000h",
        "after: -1h",
        "after: soon",
        "after: 1d",
        "duration: 0s",
        "duration: 8761h",
        "duration: 2 hours",
        "schedule: {cron: \"0 2 * * SUN\"}",
        "schedule: {cron: \"0 2 * *\"}\nduration: 2h",
        "schedule: {cron: \"@weekly\"}\nduration: 2h",
        "schedule: {timeZone: Mars/Olympus, cron: \"0 2 * * SUN\"}\nduration: 2h",
        "schedule: {timeZone: Europe/Kyiv}\nduration: 2h",
        "schedule: {cron: \"0 2 * * *\", exceptions: [{from: 24.12.2026, to: 2027-01-02}]}\nduration: 2h",
        "schedule: {cron: \"0 2 * * *\", exceptions: [{from: 2026-12-24, to: 2026-12-23}]}\nduration: 2h",
        "suspend: \"yes\"",
        "progressDeadline: 1s",
        "state: Hibernated",
        "configMaps: [{name: env}]",
        "configMaps: [{set: {MODE: down}}]",
        "configMaps: [{name: env, selector: {matchLabels: {app: worker}}, set: {MODE: down}}]",
        "configMaps: [{selector: {}, set: {MODE: down}}]",
        "configMaps: [{name: env, set: {}}]",
        "configMaps: [{name: env, set: {\"THE MODE\": down}}]",
        "deals: {forward: Wait}",
    ]
    .map(Written::from)
    .into();
    rows.push(long(
        "metadata: {name: 46 letters}",
        format!("metadata: {{name: {}}}", "a".repeat(46)),
    ));
    rows
}

/// Returns the rows with the answers.
pub(super) async fn refused() -> Vec<Row> {
    let namespace = Namespace::create("admission-mw").await;
    let (mut rows, mut admitted) = (Vec::new(), Vec::new());
    for written in written() {
        match create(&namespace, written.window("worker"), true, None).await {
            Ok(()) => admitted.push(written.shown),
            Err(message) => {
                rows.push(Row { written: written.shown, caught: "admission".to_owned(), message });
            }
        }
    }
    assert!(admitted.is_empty(), "admitted:\n{}", admitted.join("\n"));
    rows
}

/// The inputs that only the operator can refuse, each with its reason.
const CONDITIONS: [(&str, &str); 8] = [
    ("schedule: {cron: \"99 2 * * *\"}\nduration: 2h", "ScheduleInvalid"),
    ("schedule: {cron: \"0 2 * * SONNTAG\"}\nduration: 2h", "ScheduleInvalid"),
    ("# the 31st of February\nschedule: {cron: \"0 0 31 2 *\"}\nduration: 2h", "ScheduleInvalid"),
    (
        "# in Kyiv the 24th begins before that\nschedule: {cron: \"0 2 * * *\", timeZone: Europe/Kyiv, exceptions: \
         [{from: 2026-12-24, to: \"2026-12-23T21:00:00Z\"}]}\nduration: 2h",
        "ScheduleInvalid",
    ),
    ("workloads: [{kind: Unicorn, name: worker}]", "UnknownKind"),
    ("configMaps: [{name: missing, set: {MODE: down}}]", "ConfigMapNotFound"),
    ("deals: {source: {service: {name: missing, port: 80}}}", "ServiceNotFound"),
    ("deals: {source: {service: {name: external, port: 80}}}", "ServiceUnusable"),
];

/// Returns the rows with the operator's answers. Nothing may be stopped.
pub(super) async fn found() -> Vec<Row> {
    let scene = Scene::create("conditions-mw").await;
    scene.kubectl(&[
        "create",
        "service",
        "externalname",
        "external",
        "--external-name",
        "example.org",
    ]);
    let rows = CONDITIONS.iter().enumerate().map(async |(number, (yaml, why))| {
        let (written, name) = (Written::from(*yaml), format!("found-{number}"));
        let created = create(&scene.namespace, written.window(&name), false, None).await;
        assert_eq!(created, Ok(()), "{yaml}");
        let window = Window::existing(&scene.namespace, &name);
        let status = window
            .until(why, |s| condition(s, "Stalled") == "True" && reason(s, "Stalled") == *why)
            .await;
        let message = message(&status, "Stalled").to_owned();
        Row { written: written.shown, caught: format!("`{why}`"), message }
    });
    join_all(rows).await
}
