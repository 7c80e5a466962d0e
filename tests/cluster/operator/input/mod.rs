//! Invalid specs and their answers, and an operator that is killed while it holds and wakes.
//!
//! The answers are the page `docs/bad-input.md`. The test compares the real answers of API server
//! and operator with the page; with `TORPOR_WRITE_DOCS=1` it rewrites the page.

mod admission;
mod conditions;
mod policy;
mod windows;

use std::collections::BTreeSet;

use axum::http::Request;
use futures::future::{join, join3};
use k8s_openapi::api::apps::v1::Deployment;
use kube::CustomResourceExt;
use serde_json::{Value, json};
use torpor::api::{Hibernation as Definition, MaintenanceWindow};

use crate::support::{
    cluster::ROOT,
    hibernation::{Hibernation, of},
    namespace::Namespace,
    scene::Scene,
    workload::{self, WELL_BEHAVED, authored},
};

/// The path of the page.
const PAGE: &str = "docs/bad-input.md";
/// Set by `make docs`: the test rewrites the page instead of comparing it.
const WRITE: &str = "TORPOR_WRITE_DOCS";

/// The input of one row.
struct Written {
    /// The input as the page shows it.
    shown: String,
    /// The fields of the spec; or, if it begins with `metadata:`, the fields beside the spec.
    yaml: String,
}

impl From<&str> for Written {
    fn from(yaml: &str) -> Self {
        Self { shown: yaml.to_owned(), yaml: yaml.to_owned() }
    }
}

/// Returns an input that is too long for the page.
fn long(shown: &str, yaml: String) -> Written {
    Written { shown: shown.to_owned(), yaml }
}

impl Written {
    /// Returns the whole `MaintenanceWindow`. A spec without a start gets `after: 1h`.
    fn window(&self, name: &str) -> String {
        let kind = "apiVersion: torpor.dev/v1alpha1\nkind: MaintenanceWindow\n";
        if self.yaml.starts_with("metadata:") {
            return format!("{kind}{}\nspec: {{after: 1h}}\n", self.yaml);
        }
        let begins = ["start:", "after:", "schedule:"];
        let said = |line: &str| begins.iter().any(|field| line.starts_with(field));
        let after =
            if self.yaml == "{}" || self.yaml.lines().any(said) { "" } else { "\n  after: 1h" };
        let spec = self.yaml.replace('\n', "\n  ");
        format!("{kind}metadata: {{name: {name}}}\nspec:\n  {spec}{after}\n")
    }

    /// Returns the whole Hibernation. A spec without state and schedule gets `state: Awake`.
    fn manifest(&self, name: &str) -> String {
        let kind = "apiVersion: torpor.dev/v1alpha1\nkind: Hibernation\n";
        if self.yaml.starts_with("metadata:") {
            let spec = if self.yaml.contains("\nspec:") { "" } else { "spec: {state: Awake}\n" };
            return format!("{kind}{}\n{spec}", self.yaml);
        }
        let said = |field: &str| self.yaml.lines().any(|line| line.starts_with(field));
        let state = if self.yaml == "{}" || said("state:") || said("schedule:") {
            ""
        } else {
            "\n  state: Awake"
        };
        let spec = self.yaml.replace('\n', "\n  ");
        format!("{kind}metadata: {{name: {name}}}\nspec:\n  {spec}{state}\n")
    }
}

/// A row of a table of the page.
struct Row {
    written: String,
    caught: String,
    message: String,
}

/// Creates an object with strict field validation as kubectl does, optionally as a dry run.
async fn create(
    namespace: &Namespace,
    manifest: String,
    dry_run: bool,
    author: Option<&str>,
) -> Result<(), String> {
    let dry_run = if dry_run { "&dryRun=All" } else { "" };
    let windows = manifest.contains("\nkind: MaintenanceWindow\n");
    let objects = if windows { "maintenancewindows" } else { "hibernations" };
    let mut request = Request::post(format!(
        "/apis/torpor.dev/v1alpha1/namespaces/{}/{objects}?fieldValidation=Strict{dry_run}",
        namespace.name
    ))
    .header("content-type", "application/yaml");
    if let Some(author) = author {
        request = request.header("impersonate-user", author);
    }
    let request = request.body(manifest.into_bytes()).expect("a request");
    match namespace.client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(in_words(&status)),
        Err(error) => panic!("the API server does not answer: {error}"),
    }
}

/// Returns the API server's message, one line per field.
fn in_words(status: &kube::core::Status) -> String {
    let causes: BTreeSet<String> = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        // It goes with others, and says nothing of the object.
        .filter(|cause| cause.field != "<nil>" && !cause.field.is_empty())
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    if causes.is_empty() {
        return status.message.clone();
    }
    causes.into_iter().collect::<Vec<_>>().join("; ")
}

/// Returns a section of the page.
fn section(title: &str, about: &str, rows: &[Row]) -> String {
    let cell = |text: &str| text.trim().replace('|', "\\|").replace(['\n', '\r'], " ");
    let mut lines = vec![
        format!("## {title}\n\n{about}\n"),
        "| written | caught | message |".to_owned(),
        "|---|---|---|".to_owned(),
    ];
    for Row { written, caught, message } in rows {
        let written: Vec<_> = written
            .lines()
            .map(|line| format!("`{}`", line.trim_end().replace('|', "\\|")))
            .collect();
        // What is written there in backquotes is shown so here as well.
        lines.push(format!("| {} | {} | {} |", written.join("<br>"), cell(caught), cell(message)));
    }
    lines.join("\n") + "\n"
}

/// Collects the messages of the CEL rules in a CRD.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    if let Some(rules) = schema["x-kubernetes-validations"].as_array() {
        found.extend(rules.iter().filter_map(|rule| rule["message"].as_str()).map(str::to_owned));
    }
    match schema {
        Value::Object(map) => map.values().for_each(|value| messages(value, found)),
        Value::Array(all) => all.iter().for_each(|value| messages(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_write_instead() {
    let sections = Box::pin(conditions::sections());
    let ((admission, windows), policy, (conditions, of_windows)) = join3(
        join(Box::pin(admission::rows()), Box::pin(windows::refused())),
        Box::pin(policy::rows()),
        join(sections, Box::pin(windows::found())),
    )
    .await;

    // What both kinds have in common is written for one of them.
    let all: Vec<&str> = admission.iter().chain(&windows).map(|row| row.message.as_str()).collect();
    for definition in [Definition::crd(), MaintenanceWindow::crd()] {
        let mut rules = BTreeSet::new();
        messages(&serde_json::to_value(definition).expect("it is JSON"), &mut rules);
        assert!(rules.len() > 20, "{rules:?}");
        rules.retain(|rule| !all.iter().any(|message| message.contains(rule)));
        assert!(rules.is_empty(), "nothing written is refused by these rules: {rules:#?}");
    }

    let page = [
        "# Invalid input and its messages\n".to_owned(),
        "A test writes this page from the real answers of the API server and the operator: `make docs` writes it anew.\n\
         Each row shows a part of `spec`. The test adds `state: Awake` to a Hibernation with neither `state` nor \
         `schedule`, and `after: 1h` to a MaintenanceWindow without a start. The fields that both kinds share \
         (workloads, ConfigMaps, deals) have the same answers.\n"
            .to_owned(),
        section("Refused at admission", admission::ABOUT, &admission),
        section("Refused by the policy for authors", policy::ABOUT, &policy),
        conditions.join("\n"),
        section("MaintenanceWindows: refused at admission", admission::ABOUT, &windows),
        section("MaintenanceWindows: found by the operator", windows::FOUND, &of_windows),
    ]
    .join("\n");
    let kept = std::path::Path::new(ROOT).join(PAGE);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&kept, page).expect("the page can be written");
        return;
    }
    let kept = std::fs::read_to_string(&kept).unwrap_or_default();
    let stale: Vec<_> = page.lines().filter(|line| !kept.lines().any(|k| k == *line)).collect();
    assert!(page == kept, "{PAGE} is stale: run `make docs`. New lines:\n{}", stale.join("\n"));
}

// The operator is killed ---------------------------------------------------------------------------

/// Hibernates and wakes two Deployments in two stages. The operator is killed and restarted once a
/// Deployment has so many replicas on the given way.
async fn converges(test: &str, waking: bool, killed_at: (&str, i32)) {
    let mut scene = Scene::create(test).await;
    let mut before = Vec::new();
    for (name, replicas) in [("first", 1), ("second", 2)] {
        let deployment = workload::deployment(name, replicas, WELL_BEHAVED, 2);
        workload::create(&scene.namespace, &deployment).await;
        before.push(authored(&workload::until_ready(&scene.namespace, name).await));
    }
    let spec = of(
        "first",
        json!({"workloads": [
            {"kind": "Deployment", "name": "first", "stage": 0},
            {"kind": "Deployment", "name": "second", "stage": 1},
        ]}),
    );
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    if waking {
        hibernation.until_phase("Hibernated").await;
        hibernation.set_state("Awake").await;
    }
    scene.until_replicas(killed_at.0, killed_at.1).await;
    scene.operator.kill9();
    scene.operator.restart();
    if !waking {
        hibernation.until_phase("Hibernated").await;
        let counts = |d: &Deployment| workload::replicas(d);
        let replicas =
            (counts(&scene.deployment("first").await), counts(&scene.deployment("second").await));
        assert_eq!(replicas, (0, 0));
        hibernation.set_state("Awake").await;
    }
    hibernation.until_phase("Awake").await;
    for (name, before) in ["first", "second"].iter().zip(&before) {
        assert_eq!(&authored(&scene.deployment(name).await), before, "{name}");
    }
}

#[tokio::test]
async fn killed_after_the_first_hold_it_goes_on() {
    converges("killed-first", false, ("first", 0)).await;
}

#[tokio::test]
async fn killed_after_the_last_hold_it_goes_on() {
    converges("killed-last", false, ("second", 0)).await;
}

#[tokio::test]
async fn killed_while_it_wakes_it_goes_on() {
    converges("killed-waking", true, ("second", 2)).await;
}
