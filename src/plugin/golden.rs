//! Golden files: real objects, and the screens that are made from them. `TORPOR_GOLDEN=write` writes the screens anew.

use std::path::PathBuf;

use serde_json::Value;

use super::name::Kind;
use super::object::Object;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/plugin/golden").join(name)
}

/// Returns the JSON of a real object.
pub(super) fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(folder("objects").join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Returns a real object.
pub(super) fn object(name: &str) -> Object {
    let value = json(name);
    let kind = Kind::named(value["kind"].as_str().unwrap()).unwrap();
    Object::parse(kind, value).unwrap()
}

/// Compares a screen with its golden file.
pub(super) fn check(name: &str, screen: &str) {
    let file = folder("screens").join(format!("{name}.txt"));
    if std::env::var_os("TORPOR_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&file, screen).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        golden == screen,
        "{} differs (TORPOR_GOLDEN=write writes it anew):\n{screen}",
        file.display()
    );
}
