//! What a person sees of a release.

use super::Done;
use super::target::written;
use crate::hold::lever;
use crate::hold::plan::originals;
use crate::hold::record::{Found, Holder};
use crate::hold::subject::Subject;

/// Longest value that is shown.
const LONGEST: usize = 40;

/// The table, and how it went.
#[derive(Default)]
pub(super) struct Report {
    rows: Vec<[String; 5]>,
    restored: usize,
    still_held: usize,
    gone: usize,
    failed: usize,
}

impl Report {
    /// Whether something was not restored that was to be.
    pub(super) fn failed(&self) -> bool {
        self.failed > 0
    }

    /// Something could not be done.
    pub(super) fn fail(&mut self, why: &str) {
        eprintln!("error: {why}");
        self.failed += 1;
    }

    /// Rows of what an object comes back to.
    pub(super) fn will(&mut self, subject: &Subject, releases: impl Fn(&Holder) -> bool) {
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
            let back = if stays { "(stays held)".to_owned() } else { shown(original.as_ref()) };
            let who: Vec<String> = held
                .holders
                .iter()
                .map(|holding| {
                    let kept = if holding.kept { " (kept)" } else { "" };
                    format!("{}{kept}", written(&holding.holder))
                })
                .collect();
            let who = if who.is_empty() { "(let go)".to_owned() } else { who.join(", ") };
            let lever = lever::segments(pointer).last().unwrap_or_default();
            self.rows.push([object.clone(), lever, shown(view.value.as_ref()), back, who]);
        }
    }

    /// How it went with an object.
    pub(super) fn did(&mut self, subject: &Subject, done: Done) {
        match done {
            Done::Restored => self.restored += 1,
            Done::StillHeld(by) => {
                let by: Vec<String> = by.iter().map(written).collect();
                println!("{}: still held by {}", name(subject), by.join(", "));
                self.still_held += 1;
            }
            Done::Nothing => {
                println!("{}: gone, or let go meanwhile", name(subject));
                self.gone += 1;
            }
        }
    }

    pub(super) fn print_table(&self) {
        let header = ["OBJECT", "LEVER", "NOW", "BACK TO", "HELD BY"].map(str::to_owned);
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
        let mut words = vec![format!("{} restored", self.restored)];
        for (number, what) in [
            (self.still_held, "still held by others"),
            (self.gone, "gone"),
            (self.failed, "not restored"),
        ] {
            if number > 0 {
                words.push(format!("{number} {what}"));
            }
        }
        println!("{}", words.join(", "));
    }
}

fn name(subject: &Subject) -> String {
    format!("{}/{}", subject.kind.name.to_lowercase(), subject.name)
}

/// A value as a person would write it, in one line.
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
