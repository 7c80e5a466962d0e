//! The report of a truncation: for the operator as JSON of at most [`LIMIT`] bytes (a container's termination
//! message holds no more), and for a person as text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::session::Session;

/// Most bytes of a report as JSON: the limit of a container's termination message
/// (<https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>).
pub const LIMIT: usize = 4096;

/// Most bytes of one message, one object's name or the database's name in JSON.
const MESSAGE_LIMIT: usize = 700;
const OBJECT_LIMIT: usize = 300;
const DATABASE_LIMIT: usize = 200;

/// Refusals, and then sessions, may fill the report up to here; tables may fill the rest.
const REFUSALS_UP_TO: usize = 3200;
const SESSIONS_UP_TO: usize = 3200;

/// The outcome of a truncation.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Outcome {
    /// The tables are empty: the database has confirmed the COMMIT.
    Truncated,
    /// A dry run found no obstacle. Nothing was changed.
    Planned,
    /// An obstacle stays until a person removes it. Nothing was changed.
    Refused,
    /// It failed this time (a fault, a lock that was not free). Nothing was changed unless the message says that
    /// this is unknown.
    #[default]
    Failed,
    /// Other sessions may write. Nothing was changed; another try may work once they have ended.
    KeptBack,
}

/// Sums over all tables, those left out of [`Report::tables`] included.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Totals {
    /// Tables that were (or would be) emptied: partitions count, partitioned tables do too.
    pub tables: u64,
    /// Rows in them, estimated by the database's statistics.
    pub rows: u64,
    /// Bytes freed, or for a plan the bytes that the tables, indexes and TOAST occupy.
    pub bytes: u64,
}

/// The kinds of refusal, as [`Refusal::reason`] spells them. All are final: another try ends the same until
/// somebody changes the command, the schema or a privilege.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum RefusalReason {
    /// The command's lists or options contradict each other.
    InvalidArgument,
    /// The scope is `All` and `--confirm` is missing, or it names another database.
    NotConfirmed,
    /// The time in `--not-after` has passed.
    NotAfterPassed,
    /// The database's URL is missing, does not parse, or has an unsupported parameter.
    InvalidUrl,
    /// The URL is that of another database system.
    OtherDatabaseSystem,
    /// The server is not a supported release of PostgreSQL, or a pooler without transactions.
    UnsupportedServer,
    /// The schema does not exist.
    MissingSchema,
    /// A session of this URL finds a listed name in another schema.
    OtherSchema,
    /// A table does not exist.
    MissingTable,
    /// A name in a list is a view, a foreign table, a sequence or the like.
    NotATable,
    /// A table that belongs to the system or to one session.
    SystemTable,
    /// A table is in two lists.
    ListedTwice,
    /// A preserved table is a partition of a table to be emptied.
    PreservedPartition,
    /// A table to be emptied is a part of a preserved table.
    PreservedParent,
    /// A partition of a table to be emptied is half detached.
    DetachingPartition,
    /// A table outside the list inherits from a table to be emptied.
    InheritanceChild,
    /// A table outside the list refers to a table to be emptied.
    ForeignKey,
    /// A sequence that would restart gives values to a table outside the list too.
    SharedSequence,
    /// A trigger would run, with unknown effects.
    TruncateTrigger,
    /// A publication would replicate the truncation.
    Replicated,
    /// The role lacks a privilege.
    MissingPrivilege,
    /// After TRUNCATE the transaction held a lock on a table outside the list.
    OtherTableTouched,
    /// PostgreSQL itself refused.
    RefusedByDatabase,
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl RefusalReason {
    /// Returns a refusal for this reason.
    pub(super) fn refuse(self, object: impl Into<String>, message: impl Into<String>) -> Refusal {
        Refusal { reason: self.to_string(), object: object.into(), message: message.into() }
    }
}

/// One table of a plan or of a truncation.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Table {
    /// Schema and name, quoted as SQL quotes them.
    pub name: String,
    /// Rows, estimated by the database's statistics.
    pub rows: u64,
    /// Bytes, as in [`Totals::bytes`].
    pub bytes: u64,
    /// Whether it goes along as a partition of a requested table.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub along: bool,
    /// The sequences that restart with it, quoted. Only the text has them: JSON has no space.
    #[serde(skip)]
    pub restarts: Vec<String>,
}

/// One obstacle, and its remedy.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Refusal {
    /// A `CamelCase` word for the kind: see [`RefusalReason`]. A string here, since a newer
    /// Job may know more reasons than the operator that reads it.
    pub reason: String,
    /// The table, constraint, sequence or trigger; empty where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// The obstacle and its remedy.
    pub message: String,
}

/// The result of one run. Unknown fields are ignored and absent ones are empty, so that operator
/// and Job may be of different releases.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// The outcome.
    pub outcome: Outcome,
    /// `current_database()`, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Sums over all tables.
    pub totals: Totals,
    /// The tables, largest first, as many as fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Table>,
    /// How many tables are missing from `tables` for want of space.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted_tables: u64,
    /// The refusals, as many as fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// How many refusals are missing from `refusals` for want of space.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted_refusals: u64,
    /// Sessions that keep a truncation back, by address, as many as fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
    /// How many addresses are missing from `sessions` for want of space.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted_sessions: u64,
    /// How many sessions of other roles show no address.
    #[serde(skip_serializing_if = "is_zero")]
    pub hidden_sessions: u64,
    /// One sentence for a person.
    pub message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A report could not be turned into JSON.
#[derive(Debug, thiserror::Error)]
#[error("the report cannot be written as JSON")]
pub struct ReportError(#[from] serde_json::Error);

impl Refusal {
    /// Returns whether the truncation was refused for this reason.
    pub fn is(&self, reason: RefusalReason) -> bool {
        self.reason == reason.to_string()
    }
}

impl Report {
    /// Returns whether the truncation was refused for its time alone: the next attempt has a new one.
    pub fn came_too_late(&self) -> bool {
        !self.refusals.is_empty()
            && self.refusals.iter().all(|refusal| refusal.is(RefusalReason::NotAfterPassed))
    }

    /// Returns the report as JSON of at most [`LIMIT`] bytes: outcome, totals and message always, then
    /// refusals, sessions and tables as they fit, with the number of those left out.
    pub fn to_json(&self) -> Result<String, ReportError> {
        let mut fitted = Self {
            outcome: self.outcome,
            database: self.database.as_deref().map(|name| bounded(name, DATABASE_LIMIT)),
            totals: self.totals,
            // Counted as if all were left out, so that the numbers can only become shorter.
            omitted_tables: self.omitted_tables.saturating_add(self.tables.len() as u64),
            omitted_refusals: self.omitted_refusals.saturating_add(self.refusals.len() as u64),
            omitted_sessions: self.omitted_sessions.saturating_add(self.sessions.len() as u64),
            hidden_sessions: self.hidden_sessions,
            message: bounded(&self.message, MESSAGE_LIMIT),
            ..Self::default()
        };
        let mut length = serde_json::to_string(&fitted)?.len();
        // The keys and brackets of the lists, which are absent while they are empty.
        length += r#""tables":[],"refusals":[],"sessions":[],"#.len();

        for refusal in &self.refusals {
            let refusal = Refusal {
                reason: bounded(&refusal.reason, OBJECT_LIMIT),
                object: bounded(&refusal.object, OBJECT_LIMIT),
                message: bounded(&refusal.message, MESSAGE_LIMIT),
            };
            let more = serde_json::to_string(&refusal)?.len() + 1;
            if length + more > REFUSALS_UP_TO {
                break;
            }
            length += more;
            fitted.omitted_refusals -= 1;
            fitted.refusals.push(refusal);
        }

        for session in &self.sessions {
            let detail = bounded(&session.detail, OBJECT_LIMIT);
            let session = Session { detail, ..session.clone() };
            let more = serde_json::to_string(&session)?.len() + 1;
            if length + more > SESSIONS_UP_TO {
                break;
            }
            length += more;
            fitted.omitted_sessions -= 1;
            fitted.sessions.push(session);
        }

        let mut largest_first: Vec<&Table> = self.tables.iter().collect();
        largest_first.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        for table in largest_first {
            let table =
                Table { name: bounded(&table.name, OBJECT_LIMIT), restarts: Vec::new(), ..*table };
            let more = serde_json::to_string(&table)?.len() + 1;
            if length + more > LIMIT {
                break;
            }
            length += more;
            fitted.omitted_tables -= 1;
            fitted.tables.push(table);
        }
        Ok(serde_json::to_string(&fitted)?)
    }
}

/// Returns `text` without control characters (a table's name may hold any, and a terminal obeys some), cut so
/// that it takes at most `limit` bytes in JSON.
pub fn bounded(text: &str, limit: usize) -> String {
    const ELLIPSIS: char = '…';
    let mut out = String::new();
    // Two quotes; the ellipsis is counted only where it is needed.
    let mut length = 2;
    let mut cut_at = 0;
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        length += match character {
            '"' | '\\' => 2,
            other => other.len_utf8(),
        };
        if length + ELLIPSIS.len_utf8() <= limit {
            cut_at = out.len() + character.len_utf8();
        }
        if length > limit {
            out.truncate(cut_at);
            out.push(ELLIPSIS);
            return out;
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns text of at most so many characters. It repeats a few of them: they cost most of the time of a test.
    fn any_text(longest: usize) -> impl Strategy<Value = String> {
        (".{0,4}", 0..=longest / 4).prop_map(|(part, times)| part.repeat(times))
    }

    fn any_table() -> impl Strategy<Value = Table> {
        (any_text(200), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
            |(name, rows, bytes, along)| Table { name, rows, bytes, along, ..Table::default() },
        )
    }

    fn any_refusal() -> impl Strategy<Value = Refusal> {
        (any_text(40), any_text(300), any_text(2000))
            .prop_map(|(reason, object, message)| Refusal { reason, object, message })
    }

    fn any_session() -> impl Strategy<Value = Session> {
        let address = any::<Option<[u8; 16]>>();
        (address, any::<u64>(), any_text(300)).prop_map(|(address, count, detail)| Session {
            address: address.map(std::net::IpAddr::from),
            count,
            detail,
        })
    }

    proptest! {
        #[test]
        fn a_report_always_fits_and_parses_and_counts_what_it_leaves_out(
            database in proptest::option::of("\\PC{0,70}"),
            tables in proptest::collection::vec(any_table(), 0..80),
            refusals in proptest::collection::vec(any_refusal(), 0..30),
            sessions in proptest::collection::vec(any_session(), 0..30),
            message in any_text(3000),
            rows in any::<u64>(),
        ) {
            let report = Report {
                outcome: Outcome::Refused,
                database,
                totals: Totals { tables: tables.len() as u64, rows, bytes: u64::MAX },
                tables,
                refusals,
                sessions,
                hidden_sessions: rows,
                message,
                ..Report::default()
            };
            let json = report.to_json().unwrap();
            prop_assert!(json.len() <= LIMIT, "{} bytes", json.len());
            let read: Report = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read.totals, report.totals);
            prop_assert_eq!(read.outcome, report.outcome);
            prop_assert_eq!(
                read.tables.len() as u64 + read.omitted_tables,
                report.tables.len() as u64
            );
            prop_assert_eq!(
                read.refusals.len() as u64 + read.omitted_refusals,
                report.refusals.len() as u64
            );
            prop_assert_eq!(
                read.sessions.len() as u64 + read.omitted_sessions,
                report.sessions.len() as u64
            );
            prop_assert!(!read.message.chars().any(char::is_control));
        }

        #[test]
        fn bounded_text_takes_no_more_than_its_bound(text in any::<String>(), limit in 8_usize..200) {
            let out = bounded(&text, limit);
            prop_assert!(serde_json::to_string(&out).unwrap().len() <= limit);
        }
    }

    #[test]
    fn text_that_fits_is_left_as_it_is() {
        assert_eq!(bounded("public.\"Orders\"", 19), "public.\"Orders\"");
        assert_eq!(bounded("abcdef", 8), "abcdef");
        assert_eq!(bounded("abcdefg", 8), "abc…");
    }

    #[test]
    fn twenty_three_tables_fit_without_loss() {
        let tables: Vec<Table> = (0..23)
            .map(|n| Table {
                name: format!("public.arb_opportunity_instances_{n}"),
                rows: 123_456_789,
                bytes: 123_456_789_012,
                ..Table::default()
            })
            .collect();
        let report = Report { tables, ..Report::default() };
        let read: Report = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert_eq!((read.tables.len(), read.omitted_tables), (23, 0));
    }

    #[test]
    fn the_largest_tables_stay() {
        let tables: Vec<Table> = (0..1000)
            .map(|n| Table { name: format!("public.t{n}"), bytes: n, ..Table::default() })
            .collect();
        let report = Report { tables, ..Report::default() };
        let read: Report = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert_eq!(read.tables.first().map(|t| t.bytes), Some(999));
        assert!(read.tables.len() > 40, "{}", read.tables.len());
    }

    #[test]
    fn a_newer_report_is_read_all_the_same() {
        let read: Report = serde_json::from_str(
            r#"{"outcome":"Truncated","totals":{"tables":2,"rows":3,"bytes":4,"pages":5},
                "tables":[{"name":"public.a","rows":1,"bytes":2,"index":3}],"novel":[{"a":1}]}"#,
        )
        .unwrap();
        assert_eq!(read.outcome, Outcome::Truncated);
        assert_eq!(read.totals, Totals { tables: 2, rows: 3, bytes: 4 });
        assert_eq!(read.tables.len(), 1);
    }
}
