//! The tests that docs/ names exist: a table that names a removed test fails here.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// Appends the text of every Rust file below a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(&path).expect("it is text"));
        }
    }
}

/// Returns the test names in the last column of the tables of a page.
fn named(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.filter_map(|row| row.rsplit(" | ").next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.filter(|name| name.matches('_').count() > 2).map(str::to_owned).collect()
}

#[test]
fn every_test_that_the_documentation_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    sources(&root.join("src"), &mut text);
    sources(&root.join("tests"), &mut text);
    sources(&root.join("examples"), &mut text);
    for (page, least) in
        [("hold.md", 10), ("install.md", 3), ("maintenance.md", 10), ("runbook.md", 10)]
    {
        let page_text = std::fs::read_to_string(root.join("docs").join(page)).expect("it is there");
        let names = named(&page_text);
        assert!(names.len() > least, "{page} names tests: {names:?}");
        let missing: Vec<_> =
            names.iter().filter(|name| !text.contains(&format!("fn {name}("))).collect();
        assert!(missing.is_empty(), "{page} names tests that are not there: {missing:?}");
    }
}

#[test]
fn the_page_for_gitops_users_has_the_lines_of_the_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(root.join(file)).expect("it is there");
    let page = read("docs/gitops.md");
    let lines: BTreeSet<&str> = page.lines().map(str::trim).collect();
    for (file, begin) in [
        ("flux-kustomization.yaml", "- target: {"),
        ("flux-kustomization.yaml", "paths: ["),
        ("argocd-application.yaml", "- {group: "),
        ("argocd-application.yaml", "syncOptions: "),
    ] {
        let example = read(&format!("examples/gitops/{file}"));
        let all = example.lines().map(str::trim).filter(|line| line.starts_with(begin));
        let all: Vec<&str> = all.collect();
        assert!(!all.is_empty(), "{file} has no line that begins with {begin}");
        for line in all {
            assert!(lines.contains(line), "docs/gitops.md lacks a line of {file}: {line}");
        }
    }
}

#[test]
fn the_scripts_for_argo_cds_repository_are_those_of_the_config_map() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gitops");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).expect("it is there");
    let parse = |text: &str| serde_saphyr::from_str::<Value>(text).expect("it is YAML");
    let config = parse(&read("argocd-cm.yaml"));
    for kind in ["Hibernation", "MaintenanceWindow"] {
        let script = |of: &str| {
            let key = format!("resource.customizations.{of}.torpor.dev_{kind}");
            config["data"][key.as_str()].as_str().expect("the ConfigMap has it").to_owned()
        };
        let file = |file: &str| read(&format!("resource_customizations/torpor.dev/{kind}/{file}"));
        assert_eq!(file("health.lua"), script("health"), "{kind}");
        let actions = parse(&script("actions"));
        assert_eq!(file("actions/discovery.lua"), actions["discovery.lua"], "{kind}");
        let definitions = actions["definitions"].as_array().expect("actions");
        assert_eq!(definitions.len(), 2, "{kind}");
        for action in definitions {
            let name = action["name"].as_str().expect("a name");
            assert_eq!(file(&format!("actions/{name}/action.lua")), action["action.lua"], "{kind}");
        }
    }
}
