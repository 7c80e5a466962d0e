//! The table in `docs/rbac.md`: the granted rights, and the features that use them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use crate::support::{
    audit::{Asked, Right},
    cluster::ROOT,
};

const PAGE: &str = "docs/rbac.md";
const WRITE: &str = "TORPOR_WRITE_DOCS";
const VERBS: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

/// Group and resource.
type Resource = (String, String);
/// The cells behind group and resource: the granted verbs, and the verbs that each feature used.
type Rows = BTreeMap<Resource, Vec<BTreeSet<String>>>;

/// Compares the page with the rights. The page names each granted right, and no use that was not seen; it may leave out a
/// use that depends on timing, such as a read after a conflict.
pub(super) fn compare(granted: &BTreeSet<Right>, features: &[(&str, Asked)]) {
    let path = Path::new(ROOT).join(PAGE);
    let page = std::fs::read_to_string(&path).expect("the page is readable");
    let seen = rows(granted, features);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, written(&page, &table(&seen, features)))
            .expect("the page is written");
        return;
    }
    let told = read(&page);
    let stale = format!("{PAGE} is stale: run {WRITE}=1 hack/test --test cluster -- each_right");
    assert_eq!(told.keys().collect::<Vec<_>>(), seen.keys().collect::<Vec<_>>(), "{stale}");
    for (resource, cells) in &told {
        assert_eq!(cells[0], seen[resource][0], "{stale}: {resource:?}");
        assert_eq!(cells.len(), features.len() + 1, "{stale}: {resource:?}");
        for (told, (seen, (feature, _))) in
            cells[1..].iter().zip(seen[resource][1..].iter().zip(features))
        {
            assert!(told.is_subset(seen), "{stale}: {resource:?}, {feature}: {told:?}, {seen:?}");
        }
    }
}

fn rows(granted: &BTreeSet<Right>, features: &[(&str, Asked)]) -> Rows {
    let mut rows = Rows::new();
    for right in granted {
        let resource = (right.group.clone(), right.resource.clone());
        let cells =
            rows.entry(resource).or_insert_with(|| vec![BTreeSet::new(); features.len() + 1]);
        cells[0].insert(right.verb.clone());
        for (number, (cell, (_, asked))) in cells[1..].iter_mut().zip(features).enumerate() {
            // The first feature is about the Lease alone: it may end before the operator lists anything, and the others
            // may end before the Lease is renewed.
            if asked.used.contains(right) && (number == 0) == (right.resource == "leases") {
                cell.insert(right.verb.clone());
            }
        }
    }
    rows
}

fn table(rows: &Rows, features: &[(&str, Asked)]) -> String {
    let mut table = "| API group | resource | granted |".to_owned();
    for (feature, _) in features {
        let _ = write!(table, " {feature} |");
    }
    let _ = write!(table, "\n|{}\n", "---|".repeat(features.len() + 3));
    for ((group, resource), cells) in rows {
        let _ = write!(table, "| {group} | {resource} |");
        for cell in cells {
            let verbs: Vec<_> = VERBS.into_iter().filter(|verb| cell.contains(*verb)).collect();
            let _ = write!(table, " {} |", verbs.join(", "));
        }
        table.push('\n');
    }
    table
}

/// Returns the page with this table in the place of its own.
fn written(page: &str, table: &str) -> String {
    let is_row = |line: &&str| line.starts_with('|');
    let before: Vec<_> = page.lines().take_while(|line| !is_row(line)).collect();
    let after: Vec<_> = page.lines().skip(before.len()).skip_while(|line| is_row(line)).collect();
    format!("{}\n{table}{}\n", before.join("\n"), after.join("\n"))
}

fn read(page: &str) -> Rows {
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let mut next = || cells.next().unwrap_or_default().to_owned();
        let resource = (next(), next());
        let verbs =
            |cell: &str| cell.split(", ").filter(|v| !v.is_empty()).map(str::to_owned).collect();
        (resource, cells.map(verbs).collect())
    })
    .collect()
}
