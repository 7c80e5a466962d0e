//! Checks the columns and parameters of a statement, and parses the rows of the query.

use jiff::Timestamp;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow, PgStatement};
use sqlx::{Arguments as _, Column as _, Either, Row as _, Statement as _, TypeInfo as _};

use super::time::Instant;
use crate::deals::types::{Deal, Id, Order, Restore, Task, Term};

/// Columns of the query: name, type, and whether the column is required.
const COLUMNS: [(&str, &str, bool); 6] = [
    ("id", "text", true),
    ("kind", "text", true),
    ("term", "text", true),
    ("ends_at", "timestamptz", true),
    ("counterparty", "text", false),
    ("restore", "text", false),
];

/// The type of a statement that makes a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Announce,
    Drain,
    Resume,
}

/// A statement and the flag that set it.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) option: &'static str,
    pub(super) sql: String,
    change: Option<Change>,
}

impl Statement {
    pub(super) fn query(sql: String) -> Self {
        Self { option: "--query", sql, change: None }
    }

    pub(super) fn change(change: Change, sql: String) -> Self {
        let option = match change {
            Change::Announce => "--announce",
            Change::Drain => "--drain",
            Change::Resume => "--resume",
        };
        Self { option, sql, change: Some(change) }
    }

    /// Checks the prepared statement's columns and parameters. Returns the number of parameters.
    pub(super) fn check(&self, prepared: &PgStatement) -> Result<usize, String> {
        let parameters: Vec<String> = match prepared.parameters() {
            Some(Either::Left(types)) => {
                types.iter().map(|parameter| parameter.name().to_ascii_lowercase()).collect()
            }
            _ => Vec::new(),
        };
        let columns: Vec<(String, String)> = prepared
            .columns()
            .iter()
            .map(|column| {
                (column.name().to_owned(), column.type_info().name().to_ascii_lowercase())
            })
            .collect();
        match self.change {
            None => check_query(&columns, &parameters)?,
            Some(change) => check_parameters(change, &parameters)?,
        }
        Ok(parameters.len())
    }
}

fn check_query(columns: &[(String, String)], parameters: &[String]) -> Result<(), String> {
    let wanted: Vec<String> = COLUMNS
        .iter()
        .map(|(name, kind, needed)| {
            format!("{name} {kind}{}", if *needed { "" } else { " (optional)" })
        })
        .collect();
    let refuse = |text: String| {
        Err(format!("--query must return the columns {}, but {text}", wanted.join(", ")))
    };
    if !parameters.is_empty() {
        return refuse("it has parameters, and a query takes no parameters".to_owned());
    }
    for (name, kind) in columns {
        match COLUMNS.iter().find(|(known, _, _)| known == name) {
            None => return refuse(format!("it also returns {name}: remove that column")),
            Some((_, wanted, _)) if !fits(kind, wanted) => {
                return refuse(format!("its column {name} is {kind}: cast it, {name}::{wanted}"));
            }
            Some(_) if columns.iter().filter(|(other, _)| other == name).count() > 1 => {
                return refuse(format!("it returns {name} twice"));
            }
            Some(_) => {}
        }
    }
    for (name, _, needed) in COLUMNS {
        if needed && !columns.iter().any(|(column, _)| column == name) {
            return refuse(format!("it does not return {name}"));
        }
    }
    Ok(())
}

fn fits(kind: &str, wanted: &str) -> bool {
    kind == wanted || (wanted == "text" && kind == "varchar")
}

fn check_parameters(change: Change, parameters: &[String]) -> Result<(), String> {
    let (text, most, kind) = match change {
        Change::Announce => (
            "--announce takes $1 timestamptz, or null to withdraw the announcement",
            1,
            "timestamptz",
        ),
        Change::Drain => {
            ("--drain takes $1 text[] orders, $2 text[] deals, $3 text[] tasks", 3, "text[]")
        }
        Change::Resume => ("--resume takes $1 text[] ids, $2 text[] restores", 2, "text[]"),
    };
    if parameters.is_empty() || parameters.len() > most {
        let count = parameters.len();
        return Err(format!(
            "{text}; the first is required, and this statement has {}",
            counted(count)
        ));
    }
    match parameters.iter().position(|parameter| parameter != kind) {
        None => Ok(()),
        Some(at) => {
            let (number, found) = (at + 1, &parameters[at]);
            Err(format!("{text}, but its ${number} is {found}: cast it, ${number}::{kind}"))
        }
    }
}

fn counted(parameters: usize) -> String {
    format!("{parameters} parameter{}", if parameters == 1 { "" } else { "s" })
}

/// Returns the values as bound parameters, in their order.
pub(super) fn arguments<T>(values: impl IntoIterator<Item = T>) -> Result<PgArguments, BoxDynError>
where
    T: for<'q> sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let mut arguments = PgArguments::default();
    for value in values {
        arguments.add(value)?;
    }
    Ok(arguments)
}

/// A row of the query.
pub(super) enum Row {
    Deal(Deal),
    Order(Order),
    Task(Task),
}

/// The message for a row that cannot be used.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct RowError(pub(super) String);

impl Row {
    pub(super) fn of(row: &PgRow) -> Result<Self, RowError> {
        let optional = |name: &str| -> Result<Option<String>, RowError> {
            if row.columns().iter().all(|column| column.name() != name) {
                return Ok(None);
            }
            row.try_get(name).map_err(|_| RowError(format!("its column {name} cannot be decoded")))
        };
        let ends_at: Option<Instant> = row.try_get("ends_at").map_err(|_| {
            RowError("its ends_at cannot be decoded: infinity is not a time".to_owned())
        })?;
        Fields {
            id: optional("id")?,
            kind: optional("kind")?,
            term: optional("term")?,
            ends_at: ends_at.map(|Instant(at)| at),
            counterparty: optional("counterparty")?,
            restore: optional("restore")?,
        }
        .into_row()
    }

    pub(super) fn id(&self) -> &Id {
        match self {
            Self::Deal(deal) => &deal.id,
            Self::Order(order) => &order.id,
            Self::Task(task) => &task.id,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Deal(_) => "deal",
            Self::Order(_) => "order",
            Self::Task(_) => "task",
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Fields {
    id: Option<String>,
    kind: Option<String>,
    term: Option<String>,
    ends_at: Option<Timestamp>,
    counterparty: Option<String>,
    restore: Option<String>,
}

impl Fields {
    fn into_row(self) -> Result<Row, RowError> {
        let refuse = |text: String| RowError(text);
        let id = self.id.ok_or_else(|| refuse("its id is null".to_owned()))?;
        let id = Id::try_from(id).map_err(|error| refuse(format!("its id is invalid: {error}")))?;
        let restore = self.restore.map(Restore::try_from).transpose();
        let restore =
            restore.map_err(|error| refuse(format!("its restore is invalid: {error}")))?;
        let counterparty = self.counterparty.map(Id::try_from).transpose();
        let counterparty = counterparty
            .map_err(|error| refuse(format!("its counterparty is invalid: {error}")))?;
        let only_deal = self.term.is_some() || self.ends_at.is_some() || counterparty.is_some();
        match self.kind.as_deref() {
            Some("deal") => {
                let term = match (self.term.as_deref(), self.ends_at) {
                    (Some("Fixed"), Some(ends_at)) => Term::Fixed { ends_at },
                    (Some("Open"), None) => Term::Open,
                    (Some("Fixed"), None) => {
                        return Err(refuse("a deal with term Fixed needs ends_at".to_owned()));
                    }
                    (Some("Open"), Some(_)) => {
                        return Err(refuse(
                            "a deal with term Open has no ends_at: select null".to_owned(),
                        ));
                    }
                    (other, _) => {
                        let other = other.unwrap_or("null");
                        let text = format!("the term of a deal is Fixed or Open, not {other}");
                        return Err(refuse(text));
                    }
                };
                Ok(Row::Deal(Deal { id, term, counterparty, restore }))
            }
            Some("order" | "task") if only_deal => Err(refuse(
                "only deals have term, ends_at and counterparty: select null for orders and tasks"
                    .to_owned(),
            )),
            Some("order") => {
                let nothing = || Restore::try_from(String::new());
                let restore = restore.map_or_else(nothing, Ok);
                Ok(Row::Order(Order { id, restore: restore.map_err(|e| refuse(e.to_string()))? }))
            }
            Some("task") => Ok(Row::Task(Task { id })),
            other => {
                let other = other.unwrap_or("null");
                Err(refuse(format!("its kind is deal, order or task, not {other}")))
            }
        }
    }
}
