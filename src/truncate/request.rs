//! The command line, parsed once: after this only valid requests exist.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::Args;
use super::report::{Refusal, RefusalReason};
use super::sessions::Watched;
use super::setting::{Reader, Setting};
use super::table_name::TableNames;
use crate::api::database::{OPPORTUNITY_TABLES, PRESERVED_TABLES, Scope};

/// A valid request.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// The schema of every table that is named.
    pub(super) schema: String,
    /// The only schema in which the application looks for tables, where the URL names one; else the search_path of
    /// the session counts.
    pub(super) session_schema: Option<String>,
    /// Tables to empty, each once.
    pub(super) asked: Vec<String>,
    /// Tables to leave alone, each once.
    pub(super) kept: Vec<String>,
    /// Those of `kept` that a person named: they must exist. The default lists are for one application; the tables
    /// of another may be missing.
    pub(super) kept_by_name: Vec<String>,
    /// Whether the scope empties everything, so that a name must confirm it.
    pub(super) needs_confirmation: bool,
    /// The name that confirms the database.
    pub(super) confirm: Option<String>,
    /// The longest wait for locks, in all.
    pub(super) lock_timeout: Duration,
    /// The time by which it must be done, by the database's clock.
    pub(super) not_after: Option<Timestamp>,
    /// Whether publications may replicate it.
    pub(super) allow_replicated: bool,
    /// Who reads the messages.
    pub(super) reader: Reader,
    /// The sessions that keep it back.
    pub(super) watched: Watched,
    /// Whether it is a dry run.
    pub(super) dry_run: bool,
}

impl Request {
    /// Validates the command line.
    pub(super) fn of(args: &Args) -> Result<Self, Vec<Refusal>> {
        let lists = [&args.runtime, &args.opportunities, &args.preserved];
        let in_scope = [true, args.scope >= Scope::Opportunities, args.scope >= Scope::All];
        let default = [
            None,
            Some(TableNames::of(&OPPORTUNITY_TABLES)),
            Some(TableNames::of(&PRESERVED_TABLES)),
        ];

        let mut request = Self {
            schema: args.schema.clone().unwrap_or_else(|| "public".to_owned()),
            needs_confirmation: args.scope == Scope::All,
            confirm: args.confirm.clone(),
            lock_timeout: args.lock_timeout,
            not_after: args.not_after,
            allow_replicated: args.allow_replicated,
            watched: if args.refuse_all_sessions {
                Watched::All
            } else if args.sessions_from.is_empty() {
                Watched::Nobody
            } else {
                Watched::From(args.sessions_from.iter().copied().collect())
            },
            reader: if args.of_hibernation { Reader::OfHibernation } else { Reader::OfCommand },
            dry_run: args.dry_run,
            ..Self::default()
        };
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut refusals = Vec::new();
        for ((list, in_scope), default) in lists.into_iter().zip(in_scope).zip(default) {
            let names: BTreeSet<&str> = list.0.iter().map(String::as_str).collect();
            for name in names {
                if !seen.insert(name) {
                    refusals.push(RefusalReason::ListedTwice.refuse(
                        name,
                        format!(
                            "\"{name}\" is in two lists: a table is either to be emptied or to be preserved"
                        ),
                    ));
                } else if in_scope {
                    request.asked.push(name.to_owned());
                } else {
                    request.kept.push(name.to_owned());
                    if default.as_ref() != Some(list) {
                        request.kept_by_name.push(name.to_owned());
                    }
                }
            }
        }
        if request.asked.is_empty() {
            refusals.push(
                RefusalReason::InvalidArgument
                    .refuse("", "no table is to be emptied: the lists are empty"),
            );
        }
        if request.needs_confirmation && request.confirm.is_none() {
            refusals.push(RefusalReason::NotConfirmed.refuse(
                "",
                format!(
                    "the scope All empties users and secrets too: confirm it by the database's name, {}",
                    Setting::Confirm.with(request.reader, "NAME")
                ),
            ));
        }
        if refusals.is_empty() { Ok(request) } else { Err(refusals) }
    }

    /// Takes over the schema that the URL names: the default of `--schema`, which is `given` or not.
    #[must_use]
    pub(super) fn with_schema_of_url(mut self, schema: Option<String>, given: bool) -> Self {
        if let Some(name) = schema.as_ref().filter(|_| !given) {
            self.schema.clone_from(name);
        }
        self.session_schema = schema;
        self
    }
}
