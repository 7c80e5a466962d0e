//! Each room of src/ uses only the rooms below it: docs/architecture.md has the picture.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, from the top. A room may use the rooms of the layers below its own, never one above it or
/// beside it.
const LAYERS: [&[&str]; 12] = [
    &["main"],
    &["cli"],
    &["operator", "release", "plugin", "self_test", "uninstall_check", "bridge"],
    &["reconcile"],
    &["hibernation", "maintenance"],
    &["transition"],
    &["deals"],
    &["hold", "truncate", "schedule"],
    &["lease"],
    &["apiserver"],
    &["api", "metrics", "logging"],
    &["version", "signals"],
];

/// Returns every Rust file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Returns the layer of a room, counted from the top.
fn layer(room: &str) -> usize {
    let found = LAYERS.iter().position(|rooms| rooms.contains(&room));
    found.unwrap_or_else(|| panic!("{room} has no layer: give it one in LAYERS"))
}

/// Returns the rooms that a line of code uses: the first segment of each path that begins at the crate.
fn used(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let paths = code.split("crate::").skip(1).chain(code.split("torpor::").skip(1));
    paths
        .flat_map(|path| match path.strip_prefix('{') {
            // A list: `use crate::{api::Hibernation, hold::plan}`.
            Some(list) => list.split(", ").collect(),
            None => vec![path],
        })
        .map(|path| path.split(|c: char| !c.is_alphanumeric() && c != '_').next())
        .map(Option::unwrap_or_default)
        .filter(|room| !room.is_empty())
        .collect()
}

/// Returns the uses that point up or sideways.
fn violations(room: &str, name: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(number, line)| used(line).into_iter().map(move |used| (number + 1, used)))
        .filter(|(_, used)| *used != room && layer(used) <= layer(room))
        .map(|(number, used)| format!("{name}:{number}: {room} uses {used}"))
        .collect()
}

#[test]
fn each_room_uses_only_the_rooms_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for path in sources(&src) {
        let name = path.strip_prefix(&src).expect("it is below src").display().to_string();
        let room = name.split(['/', '.']).next().unwrap_or_default();
        // A file of unit tests beside its room belongs to the room; lib.rs names all rooms.
        let room = room.strip_suffix("_tests").unwrap_or(room);
        if room != "lib" {
            let text = fs::read_to_string(&path).expect("it is text");
            found.extend(violations(room, &name, &text));
        }
    }
    assert!(found.is_empty(), "uses that point up or sideways:\n{}", found.join("\n"));
}

#[test]
fn a_use_that_points_up_or_sideways_is_found() {
    let of = |line: &str| violations("deals", "x.rs", line).len();
    assert_eq!(of("use crate::hold::record::Holder;"), 0);
    assert_eq!(of("use crate::deals::types::Id; // crate::operator"), 0);
    assert_eq!(of("use crate::transition::spec::Spec;"), 1);
    assert_eq!(of("    Logging(#[from] crate::reconcile::run::Error),"), 1);
    assert_eq!(of("use crate::{api::Hibernation, bridge::auth, operator::run};"), 2);
    assert_eq!(violations("hold", "x.rs", "use crate::schedule::Cron;").len(), 1);
}
