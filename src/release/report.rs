//! The output of `torpor release`.

use super::Released;
use super::target::written;
use crate::hold::lever;
use crate::hold::plan::originals;
use crate::hold::record::{Found, Holder};
use crate::hold::subject::Subject;

/// The longest value that the table shows, in characters.
const LONGEST: usize = 40;

/// The table of held objects, and the results.
#[derive(Default)]
pub(super) struct Report {
    rows: Vec<[String; 5]>,
    restored: usize,
    still_held: usize,
    gone: usize,
    failed: usize,
}

impl Report {
    /// Returns whether an object was not restored.
    pub(super) fn failed(&self) -> bool {
        self.failed > 0
    }

    /// Prints an error and counts it.
    pub(super) fn fail(&mut self, why: &str) {
        eprintln!("error: {why}");
        self.failed += 1;
    }

    /// Adds one row per held lever of an object.
    pub(super) fn add_rows(&mut self, subject: &Subject, releases: impl Fn(&Holder) -> bool) {
        let object = name(subject);
        let Found::Record(record) = &subject.found else {
            let unknown = "(its annotation is gone or was changed)".to_owned();
            self.rows.push([object, String::new(), String::new(), unknown, String::new()]);
            return;
        };
        let originals = originals(subject);
        for (pointer, held) in &record.levers {
            let view = subject.levers.get(pointer).cloned().unwrap_or_default();
            let stays = held.holders.iter().any(|holding| !releases(&holding.holder));
            let original = originals.get(pointer).cloned().flatten();
            let restored = if stays { "(stays held)".to_owned() } else { shown(original.as_ref()) };
            let who: Vec<String> = held
                .holders
                .iter()
                .map(|holding| {
                    let kept = if holding.kept { " (kept)" } else { "" };
                    format!("{}{kept}", written(&holding.holder))
                })
                .collect();
            let who = if who.is_empty() { "(released)".to_owned() } else { who.join(", ") };
            let lever = lever::segments(pointer).last().unwrap_or_default();
            self.rows.push([object.clone(), lever, shown(view.value.as_ref()), restored, who]);
        }
    }

    /// Adds the result for an object.
    pub(super) fn add_result(&mut self, subject: &Subject, result: Released) {
        match result {
            Released::Restored => self.restored += 1,
            Released::StillHeld(by) => {
                let by: Vec<String> = by.iter().map(written).collect();
                println!("{}: still held by {}", name(subject), by.join(", "));
                self.still_held += 1;
            }
            Released::Gone => {
                println!("{}: does not exist any more, or is already released", name(subject));
                self.gone += 1;
            }
        }
    }

    pub(super) fn print_table(&self) {
        let header = ["OBJECT", "LEVER", "NOW", "RESTORED TO", "HELD BY"].map(str::to_owned);
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&header]).map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        for row in [&header].into_iter().chain(&self.rows) {
            let line: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            println!("{}", line.join("   ").trim_end());
        }
    }

    pub(super) fn print_summary(&self) {
        let mut counts = vec![format!("{} restored", self.restored)];
        for (number, what) in [
            (self.still_held, "still held by others"),
            (self.gone, "gone"),
            (self.failed, "not restored"),
        ] {
            if number > 0 {
                counts.push(format!("{number} {what}"));
            }
        }
        println!("{}", counts.join(", "));
    }
}

fn name(subject: &Subject) -> String {
    format!("{}/{}", subject.kind.name.to_lowercase(), subject.name)
}

/// Returns a value in one line.
fn shown(value: Option<&serde_json::Value>) -> String {
    let text = match value {
        None => return "(not set)".to_owned(),
        Some(serde_json::Value::String(text)) => text.escape_debug().to_string(),
        Some(value) => value.to_string(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    let short: String = text.chars().take(LONGEST - 1).collect();
    format!("{short}…")
}
