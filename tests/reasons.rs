//! Every reason that a condition can have is on its page, and the page has no other.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use kube::CustomResourceExt;
use serde_json::Value;
use torpor::api::{Hibernation, MaintenanceWindow};

/// Words in the sources that look like reasons and are none. A new one that stands neither here nor
/// on the page fails the test.
const NO_REASONS: [&str; 76] = [
    // Kinds, and what is said of them in manifests.
    "ConfigMap",
    "ConfigMaps",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "Hibernation",
    "MaintenanceWindow",
    "Job",
    "ReplicaSet",
    "StatefulSet",
    "DisruptionTarget",
    "FailJob",
    "Ignore",
    "In",
    "Never",
    "RuntimeDefault",
    "ClusterIP",
    "Egress",
    "ExternalName",
    "FallbackToLogsOnError",
    "Ingress",
    "NetworkPolicy",
    "None",
    "Recreate",
    "Service",
    "TokenRequest",
    // Conditions and their statuses, of Hibernations, of Jobs and of containers.
    "Ready",
    "Reconciling",
    "Stalled",
    "True",
    "False",
    "Complete",
    "Suspended",
    "ContainerCreating",
    "PodInitializing",
    "PodScheduled",
    "ReplicaFailure",
    "DealsClear",
    // What `spec.deals` may say.
    "Close",
    "Postpone",
    "Refuse",
    "Wait",
    "Withdraw",
    // Of `status.last` of a window that has run its course, and events.
    "Over",
    "Announced",
    // Of `status.workloads[].state`, of a step, and of an attempt that went well.
    "Down",
    "Overridden",
    "Restarted",
    "Restarting",
    "Stopping",
    "Deals",
    "Fence",
    "Keep",
    "Market",
    "Truncation",
    "Succeeded",
    // Printed columns, an event's action, and names in the code.
    "Age",
    "At",
    "Held",
    "Message",
    "Next",
    "Phase",
    "Reconcile",
    "Apply",
    "Update",
    "ForeignChange",
    "Bearer",
    "DealOnTheWire",
    "HibernationStatus",
    "MaintenanceWindowStatus",
    "String",
    "PartialEq",
    "PascalCase",
    "OnDelete",
    "PreflightPassed",
    "Truncated",
];

/// Every word in a string of the operator's sources that could be a reason.
fn words(folder: &Path, found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // What the other commands say is on pages of their own.
            if !["bridge", "release", "truncate"].contains(&name.as_str()) {
                words(&path, found)?;
            }
        } else if !name.ends_with("_tests.rs") && name != "plan_world.rs" {
            let source = fs::read_to_string(&path)?;
            let shipped = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            for line in shipped.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let strings = line.split('"').skip(1).step_by(2);
                found.extend(strings.filter(|text| is_reason(text)).map(str::to_owned));
            }
        }
    }
    Ok(())
}

/// One word in CamelCase, as the API's conventions ask for.
fn is_reason(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|letter| letter.is_ascii_alphabetic())
        && text.chars().any(|letter| letter.is_ascii_lowercase())
}

/// What the status says by the name of a variant, and becomes a reason as it is.
fn variants() -> BTreeSet<String> {
    let definition = serde_json::to_value([Hibernation::crd(), MaintenanceWindow::crd()]).unwrap();
    let status = "spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let episode = format!("0/{status}/episode/properties");
    [
        format!("0/{status}/phase"),
        format!("1/{status}/phase"),
        format!("{episode}/truncation"),
        format!("{episode}/attempt/properties/ended"),
    ]
    .iter()
    .flat_map(|field| {
        let values = definition.pointer(&format!("/{field}/enum")).unwrap();
        values.as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned)
    })
    .collect()
}

/// The reasons of the page: what stands in backquotes in the first column of its tables, each with
/// something that a person can do about it. Kubernetes' own are not looked at.
fn on_the_page() -> BTreeSet<String> {
    let page = include_str!("../docs/conditions.md");
    let (_, reasons) = page.split_once("\n## Reasons on the way").unwrap();
    let (reasons, _) = reasons.split_once("\n## Kubernetes' own").unwrap();
    let mut found = BTreeSet::new();
    for row in reasons.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [names, what, do_this] = cells.as_slice() else { panic!("no three columns: {row}") };
        assert!(!what.trim().is_empty() && !do_this.trim().is_empty(), "not all is said: {row}");
        found.extend(names.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    found
}

#[test]
fn the_page_of_conditions_has_every_reason_of_the_source_and_no_other() {
    let mut source = variants();
    words(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source).unwrap();
    let page = on_the_page();
    let missing: Vec<_> = source
        .iter()
        .filter(|word| !page.contains(*word) && !NO_REASONS.contains(&word.as_str()))
        .collect();
    assert!(missing.is_empty(), "reasons that docs/conditions.md does not tell of: {missing:#?}");
    let unknown: Vec<_> = page.difference(&source).collect();
    assert!(unknown.is_empty(), "reasons of docs/conditions.md that nothing has: {unknown:#?}");
}
