//! Each room of src/ uses only the rooms below it: docs/architecture.md has the picture.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, from the top. A room may use the rooms of the layers below its own, never one above it or
/// beside it.
const LAYERS: [&[&str]; 12] = [
    &["main"],
    &["cli"],
    &["operator", "release", "plugin", "self_test", "uninstall_check"],
    &["reconcile"],
    &["hibernation", "maintenance"],
    &["transition", "bridge"],
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

/// Returns the statements of a file, a `use` of several lines as one, each with the number of its first line.
/// Comments are left out.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        match statements.last_mut() {
            Some((_, begun)) if is_open => begun.push_str(code.trim()),
            _ => statements.push((index + 1, code.to_owned())),
        }
        let (_, last) = statements.last().expect("a line was added");
        let is_use = last.trim_start().starts_with("use ") || last.contains(") use ");
        is_open = is_use && !last.contains(';');
    }
    statements
}

/// Returns the rooms that a statement uses: the first segment of each path that begins at the crate.
fn used(code: &str) -> Vec<String> {
    let paths = code.split("crate::").skip(1).chain(code.split("torpor::").skip(1));
    paths
        .flat_map(|path| match path.strip_prefix('{') {
            // A list: `use crate::{api::{Hibernation, Phase}, hold::plan}`.
            Some(list) => members(list),
            None => vec![path.to_owned()],
        })
        .map(|path| path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .filter(|room: &String| !room.is_empty())
        .collect()
}

/// Returns the paths of a list, whose opening brace is taken off.
fn members(list: &str) -> Vec<String> {
    let (mut depth, mut members) = (0_usize, vec![String::new()]);
    for c in list.chars().filter(|c| !c.is_whitespace()) {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => members.push(String::new()),
            _ => {
                depth = depth + usize::from(c == '{') - usize::from(c == '}');
                members.last_mut().expect("there is one").push(c);
            }
        }
    }
    members
}

/// Returns the uses that point up or sideways.
fn violations(room: &str, name: &str, text: &str) -> Vec<String> {
    let uses =
        |(number, code): (usize, String)| used(&code).into_iter().map(move |used| (number, used));
    let pointing = statements(text).into_iter().flat_map(uses);
    pointing
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
    assert_eq!(
        of(
            "use crate::{\n    api::{Hibernation, Phase},\n    bridge::auth,\n    operator::run,\n};"
        ),
        2
    );
    assert_eq!(violations("bridge", "x.rs", "use crate::reconcile::kind::Managed;").len(), 1);
    assert_eq!(violations("hold", "x.rs", "use crate::schedule::Cron;").len(), 1);
}
