//! `docs/conditions.md` is written from the list of reasons. `TORPOR_WRITE_DOCS=1` writes the page, any
//! other run compares it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use torpor::api::reason::{Reason, SECTIONS};

/// Returns the page.
fn page() -> String {
    let mut page = include_str!("head.md").to_owned();
    for section in SECTIONS {
        write!(page, "\n## {}\n\n", section.heading).unwrap();
        if !section.introduction.is_empty() {
            write!(page, "{}\n\n", section.introduction).unwrap();
        }
        page.push_str("| reason | meaning | remedy |\n|---|---|---|\n");
        for row in section.rows {
            writeln!(page, "| `{}` | {} | {} |", row.name, row.meaning, row.remedy).unwrap();
        }
    }
    page + include_str!("tail.md")
}

#[test]
fn the_page_of_conditions_has_every_reason_with_its_remedy_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conditions.md");
    if std::env::var_os("TORPOR_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, page(), "docs/conditions.md is not up to date: run make docs");
}

#[test]
fn every_reason_is_one_word_in_camel_case_and_has_one_row() {
    let mut names = BTreeSet::new();
    for row in SECTIONS.iter().flat_map(|section| section.rows) {
        assert!(names.insert(row.name), "{} has two rows", row.name);
        let first = row.name.chars().next().unwrap();
        assert!(first.is_ascii_uppercase(), "{}", row.name);
        assert!(row.name.chars().all(|letter| letter.is_ascii_alphanumeric()), "{}", row.name);
        assert!(row.meaning.ends_with('.') && row.remedy.ends_with('.'), "{}", row.name);
        assert_eq!(Reason::named(row.name).unwrap().as_str(), row.name);
    }
    assert_eq!(Reason::named("CreateContainerError"), None, "the kubelet's reasons are its own");
}
