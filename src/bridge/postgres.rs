//! Bridge to an application that keeps its orders, deals and tasks in PostgreSQL. A query returns the
//! commitments; optional statements announce, drain and resume.
//!
//! The query runs in a READ ONLY transaction, each change in a transaction of its own. All values are
//! bound parameters.

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
use super::signature::Secret;
use super::{Error, Market};
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{Commitments, Complete, Drain, Failure, Id, LONGEST_LIST, List, Order};
use crate::truncate::access::Access;

mod statement;
mod time;

/// Time for an observation or a change besides its statement: connection, checks, COMMIT.
const OVERHEAD: Duration = Duration::from_secs(15);

/// The end of the help of `torpor bridge postgres`.
pub(super) const AFTER_HELP: &str = "\
Environment:
  DATABASE_URL  URL of the database, as in the application's configuration: postgresql://, or with a
                driver, as in postgresql+asyncpg://. The bridge never shows a part of the URL.

The query returns a row for each open deal, order or task, with columns of these names and types:
  id         text         the id, unique for its kind
  kind       text         deal, order or task
  term       text         Fixed or Open for a deal, null for others
  ends_at    timestamptz  the end of a Fixed term, else null
  counterparty, restore   text, optional; --resume gets restore back

Example for an application whose open orders are withdrawn before it hibernates:
      torpor bridge postgres --listen 127.0.0.1:8080 --insecure-no-authentication \\
          --query \"SELECT id::text, 'order' AS kind, NULL AS term, NULL::timestamptz AS ends_at
                   FROM orders WHERE state = 'open'\" \\
          --drain \"UPDATE orders SET state = 'withdrawn' WHERE id::text = ANY(\\$1)\" \\
          --resume \"UPDATE orders SET state = 'open' WHERE id::text = ANY(\\$1)\"";

/// The flags of `torpor bridge postgres`.
#[derive(Clone, Debug, Args)]
pub(super) struct PostgresArgs {
    /// Query that returns the open deals, orders and tasks
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_QUERY", value_name = "SQL")]
    query: String,

    /// Statement that announces the maintenance: $1 timestamptz, or null to withdraw the announcement
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_ANNOUNCE", value_name = "SQL")]
    announce: Option<String>,

    /// Statement that drains: $1 text[] orders, $2 text[] deals, $3 text[] tasks, by id
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_DRAIN", value_name = "SQL", requires = "resume")]
    drain: Option<String>,

    /// Statement that offers orders again: $1 text[] ids, $2 text[] their restore. The bridge may
    /// run it again for orders that are offered already
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_RESUME", value_name = "SQL", requires = "drain")]
    resume: Option<String>,

    /// `statement_timeout` of the database for each statement
    #[arg(long, env = "TORPOR_BRIDGE_POSTGRES_STATEMENT_TIMEOUT", value_name = "DURATION",
          default_value = "15s", value_parser = super::duration)]
    statement_timeout: Duration,

    /// File with the database's URL, instead of `DATABASE_URL`. The bridge reads it once, at the start
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    url_file: Option<PathBuf>,

    /// Certificate authority (PEM) to trust for TLS to the database
    #[arg(long, env = "DATABASE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// The bridge: access to a database, and the statements.
pub(super) struct Postgres {
    access: Access,
    /// The database's URL.
    secret: Secret,
    statement_timeout: Duration,
    query: Statement,
    announce: Option<Statement>,
    /// Both or none: a drain without a resume would lose the orders.
    drain_and_resume: Option<(Statement, Statement)>,
}

impl Postgres {
    /// Creates the bridge and checks the statements. If the database cannot be reached yet, the bridge
    /// starts all the same, and observations fail until it can.
    pub(super) async fn new(args: PostgresArgs) -> Result<Self, Error> {
        let wrong = Error::Configuration;
        let url = match &args.url_file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| wrong(format!("--url-file cannot be read: {}", error.kind())))?,
            None => std::env::var(crate::truncate::URL_VARIABLE).map_err(|_| {
                wrong("the database's URL is missing: set DATABASE_URL or --url-file".to_owned())
            })?,
        };
        let access = Access::new(&url, args.ca_file.as_deref()).map_err(wrong)?;
        let bridge = Self {
            access,
            secret: Secret::new(url.trim()),
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
                tracing::warn!(
                    detail = problem.detail,
                    "the database cannot check the statements yet: each call checks its statement"
                );
            }
        }
        Ok(bridge)
    }

    /// Prepares and checks every statement without running it.
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

    /// Prepares the statement and checks its columns and parameters. Returns the number of parameters.
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

    /// Runs `work` with a connection of its own, within [`OVERHEAD`] and the statement timeout.
    async fn session<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let session = async {
            let connected = self.access.connect().await;
            let mut connection =
                connected.map_err(|text| ProblemType::MarketUnreachable.because(text))?;
            let done = work(&mut connection).await;
            // An error does not matter: dropping the connection closes its socket.
            drop(connection.close().await);
            done
        };
        timeout(self.statement_timeout + OVERHEAD, session).await.unwrap_or_else(|_| {
            let limit = (self.statement_timeout + OVERHEAD).as_secs();
            Err(ProblemType::MarketTimeout
                .because(format!("the database did not finish within {limit} s")))
        })
    }

    /// Runs `work` in a transaction that `begin` opens.
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

    /// Runs a statement of a change in a transaction.
    async fn change(
        &self,
        statement: &Statement,
        bind: impl FnOnce(usize) -> Result<PgArguments, sqlx::error::BoxDynError>,
    ) -> Result<(), Problem> {
        self.transaction("BEGIN READ WRITE", statement, async |connection, parameters| {
            let arguments = bind(parameters).map_err(|_| {
                ProblemType::InvalidRequest
                    .because("the time is out of the range of PostgreSQL's timestamptz")
            })?;
            let query = sqlx::query_with(AssertSqlSafe(statement.sql.clone()), arguments);
            let done = query.execute(connection).await;
            done.map(drop).map_err(|error| self.problem(statement, &error))
        })
        .await
    }

    /// Returns the problem for a database error, by its SQLSTATE.
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
                // Syntax, names, types, privileges, or a write in the read-only transaction.
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
    async fn observe(&self) -> Result<Commitments, Problem> {
        let as_of = Timestamp::now();
        let (mut deals, mut orders, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        self.transaction(READ, &self.query, async |connection, _| {
            let mut ids = BTreeSet::new();
            let mut rows = sqlx::query(AssertSqlSafe(self.query.sql.clone())).fetch(connection);
            while let Some(row) =
                rows.try_next().await.map_err(|error| self.problem(&self.query, &error))?
            {
                if ids.len() == LONGEST_LIST {
                    let text = format!("--query returns more than {LONGEST_LIST} rows: narrow it");
                    return Err(ProblemType::MarketInvalid.because(text));
                }
                let row = statement::Row::of(&row).map_err(|RowError(text)| {
                    ProblemType::MarketInvalid
                        .because(format!("--query, row {}: {text}", ids.len() + 1))
                })?;
                if !ids.insert((row.kind(), row.id().clone())) {
                    let text = format!(
                        "--query returns the {} {} twice: ids are unique for each kind",
                        row.kind(),
                        row.id()
                    );
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
        // Without --announce the application does not want to know.
        let Some(statement) = &self.announce else { return Ok(()) };
        self.change(statement, |_| statement::arguments([at.map(Instant)])).await
    }

    async fn drain(&self, drain: Drain, progress: Progress) {
        let all = [&drain.orders, &drain.deals, &drain.tasks].map(List::as_slice);
        let Some((statement, _)) = &self.drain_and_resume else {
            for id in all.into_iter().flatten() {
                progress.failed(
                    id,
                    "the bridge has no --drain: wait until the application ends this, or set --drain \
                     and --resume",
                );
            }
            return;
        };
        if !progress.may_continue() {
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
                        let text = format!(
                            "--drain has no parameter ${}: add it, or wait until the application \
                             ends this",
                            place + 1
                        );
                        progress.failed(id, &text);
                    }
                    Ok(()) => {}
                }
            }
        }
    }

    fn secret(&self) -> Option<&Secret> {
        Some(&self.secret)
    }

    async fn resume(&self, orders: Vec<Order>) -> Result<(), Problem> {
        // Without --drain no order was withdrawn.
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
