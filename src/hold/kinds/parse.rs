//! Parses a table. Everything that is wrong is said at once, by entry, with what to write instead.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{Also, Check, Entry};
use crate::hold::lever::{ANNOTATIONS, CONFIG_MAP, Kind, WORKLOADS, annotation, segments};

/// The most entries.
const MOST: usize = 64;
/// The longest value, in bytes of JSON: `status.originals` keeps it as a whole.
const LONGEST_VALUE: usize = 256;

/// Everything that is wrong with a table: one line an entry and error.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub struct Invalid(pub Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    kind: String,
    group: String,
    version: String,
    plural: String,
    lever: String,
    value: Value,
    #[serde(default)]
    down: Option<Vec<Check>>,
    #[serde(default)]
    ready: Vec<Check>,
    #[serde(default)]
    target_ref: Option<String>,
    #[serde(default)]
    also: Option<Also>,
}

/// Parses a table: a YAML list of entries.
///
/// # Errors
///
/// Everything that is wrong with the entries.
pub fn parse(text: &str) -> Result<Vec<Kind>, Invalid> {
    let written: Option<Vec<Value>> = serde_saphyr::from_str(text).map_err(|error| {
        Invalid(vec![format!("it is not a YAML list of entries (docs/kinds.md): {error}")])
    })?;
    let written = written.unwrap_or_default();
    let mut wrong = Vec::new();
    if written.len() > MOST {
        wrong.push(format!("it has {} entries: remove some, {MOST} are permitted", written.len()));
    }
    let mut kinds: Vec<Kind> = Vec::new();
    let mut names = BTreeSet::new();
    for (index, entry) in written.into_iter().enumerate() {
        let name = entry["kind"].as_str().unwrap_or("no kind").to_owned();
        let mut errors = Vec::new();
        match serde_json::from_value::<Written>(entry) {
            Err(error) => errors.push(format!("{error} (docs/kinds.md has the fields)")),
            Ok(written) => {
                errors.extend(check(&written));
                if !names.insert(written.kind.clone()) {
                    errors.push("the kind has an entry before: remove one of them".to_owned());
                }
                kinds.push(kind(written));
            }
        }
        let line = |error| format!("entry {} ({name}): {error}", index + 1);
        wrong.extend(errors.into_iter().map(line));
    }
    if wrong.is_empty() { Ok(kinds) } else { Err(Invalid(wrong)) }
}

/// Returns the kind of an entry. Its texts live as long as the process, like the table.
fn kind(written: Written) -> Kind {
    let Written { kind, group, version, plural, lever, value, down, ready, target_ref, also } =
        written;
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    Kind {
        name: leak(kind),
        group: leak(group),
        version: leak(version),
        plural: leak(plural),
        stop: Some(leak(lever)),
        template: "/spec",
        entry: Some(Entry { value, down, ready, target_ref, also }),
    }
}

/// Returns what is wrong with an entry.
fn check(written: &Written) -> Vec<String> {
    let Written { kind, group, version, plural, lever, value, down, ready, target_ref, also } =
        written;
    let mut wrong = Vec::new();
    let mut expect = |is: bool, message: String| {
        if !is {
            wrong.push(message);
        }
    };
    let letters = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    let capital = kind.starts_with(|c: char| c.is_ascii_uppercase());
    expect(
        capital && letters(kind) && kind.len() <= 63,
        format!("kind {kind:?}: write it as in a manifest, for example ScaledObject"),
    );
    let built_in = WORKLOADS.iter().chain([&CONFIG_MAP]).any(|known| known.name == kind);
    let own = ["Hibernation", "MaintenanceWindow"].contains(&kind.as_str());
    expect(
        !built_in && !own,
        format!("kind {kind} is built in, and its lever cannot be changed: remove the entry"),
    );
    let lower = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
    };
    expect(
        lower(group, ".-") && group.contains('.') && group != "torpor.dev",
        format!("group {group:?}: write the API group of another project, for example keda.sh"),
    );
    expect(
        lower(version, "") && version.starts_with('v'),
        format!(
            "version {version:?}: write a version that the cluster serves, for example v1alpha1"
        ),
    );
    expect(
        lower(plural, "-"),
        format!(
            "plural {plural:?}: write it as `kubectl api-resources` does, for example scaledobjects"
        ),
    );
    wrong.extend(lever_error("lever", lever).or_else(|| value_error("value", lever, value)));
    if let Some(Also { lever: second, value, r#where }) = also {
        wrong.extend(lever_error("also.lever", second));
        wrong.extend(value_error("also.value", second, value));
        wrong.extend(r#where.as_ref().and_then(|value| value_error("also.where", second, value)));
        if second == lever {
            wrong.push("also.lever is the lever itself: remove `also`".to_owned());
        }
    }
    if target_ref.as_ref().is_some_and(|pointer| !pointer.starts_with("/spec/")) {
        wrong.push(
            "targetRef: write a pointer in the spec, for example /spec/scaleTargetRef".to_owned(),
        );
    }
    let checks = [("down", down.as_deref().unwrap_or_default()), ("ready", ready)];
    for (field, checks) in checks {
        for (index, check) in checks.iter().enumerate() {
            let error = check.invalid();
            wrong.extend(error.map(|error| format!("{field}[{index}]: {error}")));
        }
    }
    wrong
}

/// Returns why a pointer can't be a lever.
fn lever_error(field: &str, pointer: &str) -> Option<String> {
    let why = if !(pointer.starts_with("/spec/") || pointer.starts_with(ANNOTATIONS)) {
        "Torpor writes fields of the spec and annotations: write for example /spec/suspend, or \
         /metadata/annotations/cnpg.io~1hibernation (a / in a name is ~1)"
    } else if segments(pointer).any(|segment| segment.is_empty()) || bad_escape(pointer) {
        "an empty name, or a ~ that is neither ~0 nor ~1: correct the pointer (RFC 6901)"
    } else if segments(pointer).any(|segment| segment.bytes().all(|b| b.is_ascii_digit())) {
        "an element of a list cannot be written by a merge patch: name a field of an object"
    } else if pointer.starts_with(ANNOTATIONS) && pointer[ANNOTATIONS.len()..].contains('/') {
        "an annotation is one name: write a / in it as ~1"
    } else if annotation(pointer).is_some_and(|name| is_reserved(&name)) {
        "this annotation belongs to Torpor or to kubectl: name another one"
    } else {
        return None;
    };
    Some(format!("{field} {pointer:?} cannot be written: {why}"))
}

fn is_reserved(annotation: &str) -> bool {
    annotation.starts_with("torpor.dev/") || annotation.starts_with("kubectl.kubernetes.io/")
}

fn bad_escape(pointer: &str) -> bool {
    pointer.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']))
}

/// Returns why a lever can't have a value.
fn value_error(field: &str, lever: &str, value: &Value) -> Option<String> {
    let why = match value {
        Value::Null => "it is null, and a hold sets a value",
        Value::Object(_) | Value::Array(_) => {
            "it is an object or a list, and a hold sets one field: name a field in it"
        }
        value if value.to_string().len() > LONGEST_VALUE => "it is longer than 256 bytes",
        Value::String(_) => return None,
        _ if annotation(lever).is_some() => {
            "an annotation is a text: put it in quotes, for example \"true\""
        }
        _ => return None,
    };
    Some(format!("{field}: {why}"))
}
