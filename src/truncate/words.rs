//! A report as text, for a person at a terminal or the log of a Job.

use std::fmt::Write as _;

use super::report::{Outcome, Refusal, Report, Table, bounded};
use super::session::hidden_in_words;
use crate::api::text::{grouped, size};

/// More tables than this are summed up.
const MOST_TABLES: usize = 200;

/// More refusals than this are counted.
const MOST_REFUSALS: usize = 50;

/// Most bytes of a name in a column.
const NAME_LIMIT: usize = 100;

/// Returns the whole report as text.
pub(super) fn describe(report: &Report) -> String {
    let mut text = String::new();
    let database = report.database.as_deref().map(printable).unwrap_or_default();
    if !report.tables.is_empty() {
        text.push_str(&table_of_tables(report));
        text.push('\n');
    }
    let totals = report.totals;
    let sequences = report.tables.iter().map(|table| table.restarts.len() as u64).sum();
    let restart = match sequences {
        0 => String::new(),
        number => format!(", and restart {}", count(number, "sequence")),
    };
    // Writing to a String doesn't fail.
    let _ = match report.outcome {
        Outcome::Truncated => writeln!(
            text,
            "Emptied {} with about {} in database \"{database}\"; {} freed.",
            count(totals.tables, "table"),
            count(totals.rows, "row"),
            size(totals.bytes),
        ),
        Outcome::Planned => writeln!(
            text,
            "Would empty {} with about {} in database \"{database}\", which occupy {}{restart}. \
             Nothing was changed.",
            count(totals.tables, "table"),
            count(totals.rows, "row"),
            size(totals.bytes),
        ),
        Outcome::Refused => {
            for refusal in report.refusals.iter().take(MOST_REFUSALS) {
                let Refusal { reason, object, message } = refusal;
                let message = printable(message);
                let _ = if object.is_empty() {
                    writeln!(text, "{reason}:\n  {message}")
                } else {
                    writeln!(text, "{reason} {}:\n  {message}", bounded(object, NAME_LIMIT * 3))
                };
            }
            if report.refusals.len() > MOST_REFUSALS {
                let (all, shown) = (report.refusals.len() as u64, MOST_REFUSALS as u64);
                let _ = writeln!(
                    text,
                    "... and {} more, {} in all",
                    grouped(all - shown),
                    grouped(all)
                );
            }
            writeln!(text, "Refused; nothing was changed. Another try ends the same.")
        }
        Outcome::KeptBack => {
            let message = printable(&report.message);
            let _ = writeln!(text, "Kept back: {message}");
            writeln!(text, "Nothing was changed; another try may work once they have ended.")
        }
        Outcome::Failed => {
            writeln!(text, "Failed; another try may work: {}", printable(&report.message))
        }
    };
    if report.outcome == Outcome::Planned && !report.sessions.is_empty() {
        text.push_str("Sessions that would keep the truncation back:\n");
        for session in &report.sessions {
            let _ = writeln!(text, "  {}", session.in_words());
        }
    }
    if let Some(hidden) = hidden_in_words(report.hidden_sessions) {
        let _ = writeln!(text, "{hidden}.");
    }
    text
}

/// Returns the text without characters that a terminal or a log obeys.
fn printable(text: &str) -> String {
    bounded(text, usize::MAX)
}

fn table_of_tables(report: &Report) -> String {
    let shown: Vec<&Table> = report.tables.iter().take(MOST_TABLES).collect();
    let names: Vec<String> = shown
        .iter()
        .map(|table| {
            let name = bounded(&table.name, NAME_LIMIT);
            if table.along { format!("  {name} (partition, goes along)") } else { name }
        })
        .collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default().max(5);
    let restarts = shown.iter().any(|table| !table.restarts.is_empty());
    let last = if restarts { "  RESTARTS" } else { "" };
    let mut text = format!("{:<width$}  {:>16}  {:>12}{last}\n", "TABLE", "ROWS (ABOUT)", "SIZE");
    for (table, name) in shown.iter().zip(&names) {
        let restarts: Vec<String> =
            table.restarts.iter().map(|name| bounded(name, NAME_LIMIT)).collect();
        let line = format!(
            "{name:<width$}  {:>16}  {:>12}  {}",
            grouped(table.rows),
            size(table.bytes),
            restarts.join(", ")
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if report.tables.len() > shown.len() {
        let _ = writeln!(text, "... and {} more", report.tables.len() - shown.len());
    }
    text
}

fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_refusals_are_counted_and_not_all_shown() {
        let refusal = Refusal { reason: "ForeignKey".to_owned(), ..Refusal::default() };
        let refusals = vec![refusal; 2000];
        let text = describe(&Report { outcome: Outcome::Refused, refusals, ..Report::default() });
        assert!(text.contains("... and 1,950 more, 2,000 in all"), "{text}");
        assert!(text.lines().count() < 110, "{text}");
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        let report = Report {
            outcome: Outcome::Planned,
            tables: vec![Table { name: "public.\"a\u{1b}[2J\nb\"".to_owned(), ..Table::default() }],
            ..Report::default()
        };
        let text = describe(&report);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(text.lines().count(), 4, "{text:?}");
    }
}
