//! Each metric, as Prometheus reads it, and the page about all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;

/// Returns metrics with a value for each name and label.
fn counted() -> Metrics {
    let metrics = Metrics::new();
    metrics.reconciled(ObjectKind::Hibernation, Outcome::Settled, Duration::from_millis(3));
    let counted = |phase: &str, stalled: Option<&str>, reconciling: Option<&str>| Counted {
        phase: Some(phase.to_owned()),
        stalled: stalled.map(str::to_owned),
        reconciling: reconciling.map(str::to_owned),
    };
    let nowhere = Counted::default();
    let awake = counted("Awake", None, None);
    let going_down = counted("Hibernating", None, Some("Waiting"));
    let contested = counted("Hibernated", Some("Contested"), None);
    let left_behind = counted("Restoring", Some("LeftBehind"), None);
    let kind = ObjectKind::Hibernation;
    metrics.counted(kind, &nowhere, &awake);
    metrics.counted(kind, &nowhere, &awake);
    metrics.counted(kind, &awake, &going_down);
    metrics.counted(kind, &going_down, &contested);
    metrics.counted(kind, &nowhere, &left_behind);
    metrics.counted(kind, &left_behind, &nowhere);
    metrics.left_behind(kind);
    metrics.wrote("Deployment", WriteResult::Conflict);
    metrics.truncated(4096);
    metrics.set_leader(true);
    metrics
}

#[test]
fn every_metric_is_encoded() {
    let text = counted().encode().unwrap();
    for line in [
        concat!(
            "torpor_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\",revision=\"unknown\"} 1"
        ),
        r#"torpor_reconciles_total{kind="Hibernation",outcome="Settled"} 1"#,
        r#"torpor_reconcile_duration_seconds_bucket{le="0.004",kind="Hibernation"} 1"#,
        r#"torpor_objects{kind="Hibernation",phase="Awake"} 1"#,
        r#"torpor_objects{kind="Hibernation",phase="Hibernated"} 1"#,
        r#"torpor_objects{kind="Hibernation",phase="Restoring"} 0"#,
        r#"torpor_stalled_objects{kind="Hibernation",phase="Hibernated",reason="Contested"} 1"#,
        r#"torpor_reconciling_objects{kind="Hibernation",phase="Hibernating",reason="Waiting"} 0"#,
        r#"torpor_orders_left_behind_total{kind="Hibernation"} 1"#,
        r#"torpor_orders_left_behind_total{kind="MaintenanceWindow"} 0"#,
        r#"torpor_writes_total{resource="Deployment",result="Conflict"} 1"#,
        "torpor_truncated_bytes_total 4096",
        "torpor_leader 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

/// Returns the page of all metrics: one row each, from its help text, type and labels.
fn page() -> String {
    let text = counted().encode().unwrap();
    let mut types = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut helps = Vec::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            types.insert(name, kind);
        } else if let Some(help) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            helps.push(help);
        } else if let Some((name, rest)) = line.split_once('{') {
            let names = rest.split("=\"").filter_map(|part| part.rsplit(['{', ',']).next());
            let names = names.filter(|name| name.bytes().all(|b| b.is_ascii_lowercase()));
            labels.entry(name).or_default().extend(names.filter(|name| *name != "le"));
        }
    }
    let mut page = include_str!("metrics_page.md").to_owned();
    for (name, help) in helps {
        let kind = types[name];
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let series = labels.iter().filter(|(series, _)| series.starts_with(name));
        let of_metric = series.flat_map(|(_, labels)| labels).copied().collect::<BTreeSet<_>>();
        let of_metric: Vec<_> = of_metric.into_iter().map(|label| format!("`{label}`")).collect();
        let help = help.trim_end_matches('.');
        let (full, of_metric) = (format!("{name}{suffix}"), of_metric.join(", "));
        writeln!(page, "| `{full}` | {kind} | {of_metric} | {help} |").unwrap();
    }
    page
}

#[test]
fn the_page_of_metrics_has_every_metric_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("TORPOR_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, page(), "docs/metrics.md is not up to date: run make docs");
}

#[test]
fn every_metric_is_named_as_prometheus_has_it_and_names_no_object() {
    let page = page();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `torpor_")).collect();
    assert!(rows.len() > 9, "{page}");
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let (name, kind) = (cells[0].trim_matches(['|', ' ', '`']), cells[1]);
        assert_eq!(name.ends_with("_total"), kind == "counter", "{row}");
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{row}");
        assert!(
            !["name", "namespace", "object"].iter().any(|l| cells[2].contains(&format!("`{l}`"))),
            "{row}"
        );
    }
}
