//! Bridge to an application that keeps its orders, deals and tasks in PostgreSQL: a query says what
//! binds, and optional statements announce, drain and resume.
//!
//! What is read is read in a READ ONLY transaction; what is changed, in one transaction for each
//! change. Every value goes in as a bound parameter.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::time::timeout;

use self::statement::{Change, RowError, Statement};
use self::time::Instant;
use super::changes::Progress;
use super::{Error, Market};
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{Commitments, Complete, Drain, Failure, Id, LONGEST_LIST, List, Order};
use crate::truncate::access::Access;

mod statement;
mod time;

/// How long a look or a change may take besides its statement: connection, checks, COMMIT.
const PATIENCE: Duration = Duration::from_secs(15);

/// What follows the options in the help.
pub(super) const AFTER_HELP: &str = "\
Environment:
  DATABASE_URL  The database, as the application names it: postgresql://, or with a driver as in
                postgresql+asyncpg://. No part of it is ever shown.

The query returns a row for each thing that binds, in columns of these names and types:
  id         text         its name
  kind       text         deal, order or task
  term       text         Fixed or Open for a deal, null for others
  ends_at    timestamptz  the end of a Fixed term, else null
  counterparty, restore   text, optional; restore goes back to --resume

Example, with the orders of an application that is to finish or withdraw them before it sleeps:
      torpor bridge postgres --listen 127.0.0.1:8080 --insecure-no-authentication \\
          --query \"SELECT id::text, 'order' AS kind, NULL AS term, NULL::timestamptz AS ends_at
                   FROM orders WHERE state = 'open'\" \\
          --drain \"UPDATE orders SET state = 'withdrawn' WHERE id::text = ANY(\\$1)\" \\
          --resume \"UPDATE orders SET state = 'open' WHERE id::text = ANY(\\$1)\"";

/// The database and what to run in it.
#[derive(Clone, Debug, Args)]
pub struct PostgresArgs {
    /// Query for what binds at the moment
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_QUERY", value_name = "SQL")]
    pub query: String,

    /// Statement that announces the maintenance: $1 timestamptz, null when it is taken back
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_ANNOUNCE", value_name = "SQL")]
    pub announce: Option<String>,

    /// Statement that drains: $1 text[] orders, $2 text[] deals, $3 text[] tasks, by id
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_DRAIN", value_name = "SQL", requires = "resume")]
    pub drain: Option<String>,

    /// Statement that offers orders again: $1 text[] ids, $2 text[] their restore. It may be run
    /// again for some that are back
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_RESUME", value_name = "SQL", requires = "drain")]
    pub resume: Option<String>,

    /// How long a statement may take, by the database's clock
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_STATEMENT_TIMEOUT", value_name = "DURATION",
          default_value = "15s", value_parser = super::duration)]
    pub statement_timeout: Duration,

    /// Read the database's URL from this file instead of `DATABASE_URL`. It is read at the start
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    pub url_file: Option<PathBuf>,

    /// Trust this certificate authority (PEM) for TLS to the database
    #[arg(long, env = "DATABASE_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// A database, and the statements.
pub struct Postgres {
    access: Access,
    statement_timeout: Duration,
    query: Statement,
    announce: Option<Statement>,
    /// Both or none: what is withdrawn has to come back.
    drain_and_resume: Option<(Statement, Statement)>,
}

impl Postgres {
    /// Takes the URL apart and looks at the statements. A database that cannot be reached now may be
    /// there later: the looks say so until then.
    pub async fn new(args: PostgresArgs) -> Result<Self, Error> {
        let wrong = Error::Configuration;
        let url = match &args.url_file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| wrong(format!("--url-file cannot be read: {}", error.kind())))?,
            None => std::env::var(crate::truncate::URL_VARIABLE)
                .map_err(|_| wrong("neither DATABASE_URL nor --url-file is given".to_owned()))?,
        };
        let access = Access::new(&url, args.ca_file.as_deref()).map_err(wrong)?;
        let bridge = Self {
            access,
            statement_timeout: args.statement_timeout,
            query: Statement::query(args.query),
            announce: args.announce.map(|sql| Statement::change(Change::Announce, sql)),
            drain_and_resume: args.drain.zip(args.resume).map(|(drain, resume)| {
                (Statement::change(Change::Drain, drain), Statement::change(Change::Resume, resume))
            }),
        };
        match bridge.check().await {
            Ok(()) => {}
            Err(problem) if problem.kind == ProblemType::Misconfigured => {
                return Err(wrong(problem.detail));
            }
            Err(problem) => {
                tracing::warn!(detail = problem.detail, "the statements could not be checked yet");
            }
        }
        Ok(bridge)
    }

    /// Looks at every statement without running it.
    async fn check(&self) -> Result<(), Problem> {
        self.session(async |connection| {
            let changes = self.drain_and_resume.iter().flat_map(|(one, other)| [one, other]);
            for statement in [&self.query].into_iter().chain(&self.announce).chain(changes) {
                self.prepare(connection, statement).await?;
            }
            Ok(())
        })
        .await
    }

    /// Whether it returns and takes what it should, as the database understands it now.
    async fn prepare(
        &self,
        connection: &mut PgConnection,
        statement: &Statement,
    ) -> Result<usize, Problem> {
        let sql = AssertSqlSafe(statement.sql.clone());
        let prepared = connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await;
        let prepared = prepared.map_err(|error| self.problem(statement, &error))?;
        statement.check(&prepared).map_err(|text| ProblemType::Misconfigured.because(text))
    }

    /// With a connection of its own, within the time for all.
    async fn session<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let session = async {
            let connected = self.access.connect().await;
            let mut connection =
                connected.map_err(|text| ProblemType::MarketUnreachable.because(text))?;
            let done = work(&mut connection).await;
            // Where it doesn't go politely, the socket is closed all the same.
            drop(connection.close().await);
            done
        };
        timeout(self.statement_timeout + PATIENCE, session).await.unwrap_or_else(|_| {
            Err(ProblemType::MarketTimeout.because("the database took too long in all"))
        })
    }

    /// Begins a transaction, runs, commits.
    async fn transaction<T>(
        &self,
        begin: &'static str,
        statement: &Statement,
        work: impl AsyncFnOnce(&mut PgConnection, usize) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.session(async |connection| {
            let failed = |error| self.problem(statement, &error);
            let mut transaction = connection.begin_with(begin).await.map_err(failed)?;
            let timeout =
                format!("SET LOCAL statement_timeout = {}", self.statement_timeout.as_millis());
            transaction.execute(AssertSqlSafe(timeout)).await.map_err(failed)?;
            let parameters = self.prepare(&mut transaction, statement).await?;
            let done = work(&mut transaction, parameters).await?;
            transaction.commit().await.map_err(failed)?;
            Ok(done)
        })
        .await
    }

    /// Runs a statement that changes something.
    async fn change(
        &self,
        statement: &Statement,
        bind: impl FnOnce(usize) -> Result<PgArguments, sqlx::error::BoxDynError>,
    ) -> Result<(), Problem> {
        self.transaction("BEGIN READ WRITE", statement, async |connection, parameters| {
            let arguments = bind(parameters).map_err(|_| {
                ProblemType::InvalidRequest.because("the time is out of the database's range")
            })?;
            let query = sqlx::query_with(AssertSqlSafe(statement.sql.clone()), arguments);
            let done = query.execute(connection).await;
            done.map(drop).map_err(|error| self.problem(statement, &error))
        })
        .await
    }

    fn problem(&self, statement: &Statement, error: &sqlx::Error) -> Problem {
        let kind = match error {
            sqlx::Error::Database(error) => match error.code().as_deref().unwrap_or_default() {
                "57014" | "55P03" | "25P03" => ProblemType::MarketTimeout,
                code if ["08", "53", "57", "58", "40"]
                    .iter()
                    .any(|class| code.starts_with(class)) =>
                {
                    ProblemType::MarketUnreachable
                }
                // Syntax, names, types, rights, or writing while reading.
                code if ["42", "25", "0A"].iter().any(|class| code.starts_with(class)) => {
                    ProblemType::Misconfigured
                }
                _ => ProblemType::MarketRefused,
            },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => ProblemType::MarketUnreachable,
            _ => ProblemType::MarketInvalid,
        };
        kind.because(format!("{}: {}", statement.option, self.access.in_words(error)))
    }
}

const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

impl Market for Postgres {
    async fn look(&self) -> Result<Commitments, Problem> {
        let as_of = Timestamp::now();
        let (mut deals, mut orders, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        self.transaction(READ, &self.query, async |connection, _| {
            let mut seen = BTreeSet::new();
            let mut rows = sqlx::query(AssertSqlSafe(self.query.sql.clone())).fetch(connection);
            while let Some(row) =
                rows.try_next().await.map_err(|error| self.problem(&self.query, &error))?
            {
                if seen.len() == LONGEST_LIST {
                    let text = format!("--query returns more than {LONGEST_LIST} rows");
                    return Err(ProblemType::MarketInvalid.because(text));
                }
                let row = statement::Row::of(&row).map_err(|RowError(text)| {
                    ProblemType::MarketInvalid
                        .because(format!("--query, row {}: {text}", seen.len() + 1))
                })?;
                if !seen.insert((row.kind(), row.id().clone())) {
                    let text = format!("--query returns the {} {} twice", row.kind(), row.id());
                    return Err(ProblemType::MarketInvalid.because(text));
                }
                match row {
                    statement::Row::Deal(deal) => deals.push(deal),
                    statement::Row::Order(order) => orders.push(order),
                    statement::Row::Task(task) => tasks.push(task),
                }
            }
            Ok(())
        })
        .await?;
        Ok(Commitments {
            as_of,
            complete: Complete,
            deals: bounded(deals)?,
            orders: bounded(orders)?,
            tasks: bounded(tasks)?,
            next_maintenance: None,
            failures: List::<Failure>::default(),
        })
    }

    async fn announce(&self, at: Option<Timestamp>) -> Result<(), Problem> {
        // Without a statement there is nobody to tell.
        let Some(statement) = &self.announce else { return Ok(()) };
        self.change(statement, |_| statement::arguments([at.map(Instant)])).await
    }

    async fn drain(&self, what: Drain, progress: Progress) {
        let all = [&what.orders, &what.deals, &what.tasks].map(List::as_slice);
        let Some((statement, _)) = &self.drain_and_resume else {
            for id in all.into_iter().flatten() {
                progress
                    .failed(id, "the bridge has no --drain: the application ends this by itself");
            }
            return;
        };
        if !progress.goes_on() {
            return;
        }
        let mut taken = 0;
        let drained = self.change(statement, |parameters| {
            taken = parameters;
            statement::arguments(all.into_iter().take(parameters).map(texts))
        });
        let drained = drained.await;
        for (place, ids) in all.into_iter().enumerate() {
            for id in ids {
                match &drained {
                    Err(problem) => progress.failed(id, &problem.detail),
                    Ok(()) if place >= taken => {
                        let text = format!("--drain has no ${}: it ends none of these", place + 1);
                        progress.failed(id, &text);
                    }
                    Ok(()) => {}
                }
            }
        }
    }

    async fn resume(&self, orders: Vec<Order>) -> Result<(), Problem> {
        // Nothing was withdrawn, then.
        let Some((_, statement)) = &self.drain_and_resume else { return Ok(()) };
        let ids = orders.iter().map(|order| order.id.as_str().to_owned()).collect::<Vec<_>>();
        let restores = orders.iter().map(|order| order.restore.as_str().to_owned()).collect();
        self.change(statement, |parameters| {
            statement::arguments([ids, restores].into_iter().take(parameters))
        })
        .await
    }
}

fn bounded<T>(entries: Vec<T>) -> Result<List<T>, Problem> {
    List::try_from(entries).map_err(|error| ProblemType::MarketInvalid.because(error.to_string()))
}

fn texts(ids: &[Id]) -> Vec<String> {
    ids.iter().map(|id| id.as_str().to_owned()).collect()
}
