//! The one transaction: read the catalogs, lock, read again, truncate, read once more, commit.
//!
//! Every setting is `SET LOCAL`, and every statement is in the simple protocol or unnamed. So the run works behind a
//! pooler in transaction mode too.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::time::{Instant, timeout};

use super::catalog::{self, CatalogError, OwnLock};
use super::connect::{Connected, connect};
use super::facts::{Facts, Oid};
use super::fault::Fault;
use super::outcome::{Done, Stop};
use super::plan::{Plan, decide};
use super::report::{RefusalReason, bounded};
use super::request::Request;
use super::secret::Redactor;
use super::sessions::{ADVISORY_KEY, ANEW, Sessions};
use super::setting::Setting;
use super::url::Target;
use crate::api::text::counted;

/// The longest wait for another run in the same database, beyond that run's own wait for locks. A short
/// `--lock-timeout` makes it shorter. No table is locked meanwhile.
const RIVAL_PATIENCE: Duration = Duration::from_mins(1);

/// Longest statement that only reads catalogs.
pub(super) const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Longest TRUNCATE once it has its locks: it makes one new, empty file per table and index.
const TRUNCATE_TIMEOUT: Duration = Duration::from_mins(5);

/// The server ends a session that is silent in the transaction for so long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes names mean the database system's own objects, whatever the role or the database has set. `pg_temp` comes
/// last: a pooler may hand over a session with temporary tables that are named like catalogs.
pub(super) const SAFE_NAMES: &str = "SET LOCAL search_path TO pg_catalog, pg_temp";

/// Returns the schemas in which the session looks for a table, in order. No name here can be another's.
const SEARCHED: &str =
    "SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text";

/// Most bytes of the database's name in progress messages.
const NAME_LIMIT: usize = 100;

/// The longest search for the holders of a table that was not free. No session waits for us meanwhile.
const HOLDERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Rounds before the run gives up because the tables keep changing.
const ROUNDS: u32 = 5;

/// One run against one database.
#[derive(Debug)]
pub(super) struct Run<'a> {
    request: &'a Request,
    pub(super) redactor: &'a Redactor,
    /// Whether COMMIT was sent: the run can't be given up any more.
    pub(super) committing: AtomicBool,
    /// `current_database()`, once known.
    database: std::sync::OnceLock<String>,
}

/// The result of one round of a run.
enum Round {
    Done(Box<Done>),
    Moved,
}

/// Closes the session, which may be in a transaction after a failure.
async fn end(session: Connected, succeeded: bool) {
    if succeeded {
        session.close().await;
    } else {
        session.give_up().await;
    }
}

impl<'a> Run<'a> {
    /// Returns a run that has not begun.
    pub(super) fn new(request: &'a Request, redactor: &'a Redactor) -> Self {
        Self {
            request,
            redactor,
            committing: AtomicBool::new(false),
            database: std::sync::OnceLock::new(),
        }
    }

    /// Returns whether COMMIT was sent. Until then the run may be dropped at any point: the database rolls back a
    /// transaction whose session ends.
    pub(super) fn is_committing(&self) -> bool {
        self.committing.load(Ordering::SeqCst)
    }

    /// Tells a person at a terminal the progress. The log of a Job has the result alone.
    pub(super) fn tell(&self, progress: fmt::Arguments<'_>) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            // A closed terminal stops nothing.
            let _ = writeln!(stderr, "{}", self.redactor.clean(&progress.to_string()));
        }
    }

    /// Returns the database's name, once it is known.
    pub(super) fn database(&self) -> Option<&str> {
        self.database.get().map(String::as_str)
    }

    /// Runs to the end.
    pub(super) async fn carry_out(&self, target: &Target) -> Result<Done, Stop> {
        let mut session = connect(target, self.redactor).await?;
        if self.request.dry_run {
            let done = self.dry_run(&mut session).await;
            end(session, done.is_ok()).await;
            return done;
        }
        let mut patience = self.request.lock_timeout;
        for _ in 0..ROUNDS {
            let round = self.round(&mut session, target, &mut patience).await;
            if let Ok(Round::Moved) | Err(Stop::Fault(Fault::Moving)) = round {
                self.simple(&mut session.connection, "ROLLBACK").await?;
                continue;
            }
            end(session, round.is_ok()).await;
            return round.map(|round| match round {
                Round::Done(done) => *done,
                Round::Moved => Done::default(),
            });
        }
        session.close().await;
        Err(Fault::Moving.into())
    }

    /// Makes the dry run: one read-only snapshot, no table locked.
    async fn dry_run(&self, session: &mut Connected) -> Result<Done, Stop> {
        let connection = &mut session.connection;
        let path = self.begin(connection, "REPEATABLE READ, READ ONLY").await?;
        self.identify(connection).await?;
        let facts = self.facts(connection, session.version, &path).await?;
        let plan = decide(self.request, &facts).map_err(Stop::Refused)?;
        let sessions = self.sessions(&facts);
        let oids: Vec<Oid> = plan.tables.iter().map(|table| table.oid).collect();
        // The real sizes open each table for a moment. An older number will do for a table that somebody has
        // locked.
        self.simple(connection, "SAVEPOINT sizes; SET LOCAL lock_timeout = '200ms'").await?;
        let bytes = match catalog::sizes(connection, &oids).await {
            Ok(bytes) => bytes,
            Err(error) => match self.catalog_fault(&error) {
                Fault::LockTimeout => {
                    self.simple(connection, "ROLLBACK TO SAVEPOINT sizes").await?;
                    let known = catalog::known_sizes(connection, &oids).await;
                    known.map_err(|error| self.catalog_fault(&error))?
                }
                fault => return Err(fault.into()),
            },
        };
        self.simple(connection, "ROLLBACK").await?;
        Ok(Done { plan, bytes, sessions })
    }

    /// Runs the transaction from BEGIN to COMMIT. `patience` is the rest of the time for waits that block others,
    /// over all rounds.
    async fn round(
        &self,
        session: &mut Connected,
        target: &Target,
        patience: &mut Duration,
    ) -> Result<Round, Stop> {
        let version = session.version;
        let connection = &mut session.connection;
        let path = self.begin(connection, "READ COMMITTED, READ WRITE").await?;
        self.identify(connection).await?;
        self.advisory_lock(connection).await?;
        // Before the locks, so that a refusal blocks nobody, and to know the tables to lock.
        let facts = self.facts(connection, version, &path).await?;
        let first = decide(self.request, &facts).map_err(Stop::Refused)?;
        self.alone(&facts)?;
        self.tell(format_args!(
            "Locking {} in database \"{}\", for at most {} ms in all ...",
            counted(first.tables.len(), "table"),
            self.database().map(|name| bounded(name, NAME_LIMIT)).unwrap_or_default(),
            patience.as_millis()
        ));
        self.lock(connection, &first, patience).await?;
        // After the locks: only now the definitions can't change.
        let facts = self.facts(connection, version, &path).await?;
        let plan = decide(self.request, &facts).map_err(Stop::Refused)?;
        self.alone(&facts)?;
        let oids: Vec<Oid> = plan.tables.iter().map(|table| table.oid).collect();
        let before = self.read(catalog::locked(connection, &oids).await)?;
        let locked =
            |oid: &Oid| before.locks.iter().any(|lock| lock.oid == *oid && lock.is_exclusive());
        if !oids.iter().all(locked) {
            return Ok(Round::Moved);
        }

        self.tell(format_args!("Emptying them ..."));
        self.truncate(connection, &plan, *patience).await?;

        // A default that uses one of our sequences, a publication, or a session can come without a lock on our
        // tables: hence a third reading, and one of the locks of this transaction.
        // A partitioned table has no file.
        let filed = plan.tables.iter().find(|table| !table.partitioned).map_or(0, |t| t.oid);
        let request = self.request;
        let after = catalog::touched(connection, version, request, facts, &oids, filed).await;
        let after = self.read(after)?;
        decide(self.request, &after.facts).map_err(Stop::Refused)?;
        only_these_touched(after.locks, &plan)?;
        let sessions = self.alone(&after.facts)?;
        let freed = |oid: &Oid| {
            let size = |sizes: &BTreeMap<Oid, u64>| sizes.get(oid).copied().unwrap_or_default();
            size(&before.sizes).saturating_sub(size(&after.sizes))
        };
        let bytes = oids.iter().map(|oid| (*oid, freed(oid))).collect();
        self.commit(connection, target, &after.transaction).await?;
        Ok(Round::Done(Box::new(Done { plan, bytes, sessions })))
    }

    /// Begins, with limits on every statement that could hang. Returns the schemas in which the session looked for a
    /// table until now, in order.
    async fn begin(&self, connection: &mut PgConnection, mode: &str) -> Result<Vec<String>, Stop> {
        // A commit that others see and a crash forgets would make the report untrue.
        let begin = format!(
            "BEGIN TRANSACTION ISOLATION LEVEL {mode}; {SEARCHED}; \
             {SAFE_NAMES}; \
             SET LOCAL quote_all_identifiers = off; \
             SET LOCAL jit = off; \
             SET LOCAL statement_timeout = '{read}ms'; \
             SET LOCAL lock_timeout = '{lock}ms'; \
             SET LOCAL idle_in_transaction_session_timeout = '{idle}ms'; \
             SET LOCAL client_min_messages = 'error'; \
             SELECT set_config('synchronous_commit', 'local', true) \
             WHERE current_setting('synchronous_commit') = 'off'",
            read = READ_TIMEOUT.as_millis(),
            lock = self.request.lock_timeout.as_millis(),
            idle = IDLE_TIMEOUT.as_millis(),
        );
        // Since PostgreSQL 14, and only on some systems.
        let checked = format!("{begin}; SET LOCAL client_connection_check_interval = '5s'");
        let row = match self.row(connection, checked).await {
            Err(Fault::Other { .. }) => self.row(connection, format!("ROLLBACK; {begin}")).await?,
            answer => answer?,
        };
        let searched: String = row.try_get(0).map_err(|error| self.fault(&error))?;
        let unreadable = |_| Fault::Answer("the catalogs have another form than expected");
        let searched = serde_json::from_str(&searched).map_err(unreadable)?;
        Ok(match &self.request.session_schema {
            // The application's driver sets it in each session.
            Some(only) => vec![only.clone()],
            None => searched,
        })
    }

    /// Checks that this is the right database, and still in time.
    async fn identify(&self, connection: &mut PgConnection) -> Result<(), Stop> {
        let micros = self.request.not_after.map(|time| time.as_microsecond().to_string());
        let asked = format!(
            "SELECT current_database()::text, \
             coalesce(clock_timestamp() >= to_timestamp({} / 1000000.0), false)",
            micros.as_deref().unwrap_or("NULL"),
        );
        let row = self.row(connection, asked).await?;
        let read = |error: sqlx::Error| self.fault(&error);
        let name: String = row.try_get(0).map_err(read)?;
        let late: bool = row.try_get(1).map_err(read)?;
        let name = self.database.get_or_init(|| name);

        let mut refusals = Vec::new();
        if self.request.confirm.as_ref().is_some_and(|confirmed| confirmed != name) {
            refusals.push(RefusalReason::NotConfirmed.refuse(
                name,
                format!(
                    "{} names another database than the one that the URL leads to, which is \"{name}\"",
                    Setting::Confirm.name(self.request.reader)
                ),
            ));
        }
        if late {
            refusals
                .push(RefusalReason::NotAfterPassed.refuse("", Fault::NotAfterPassed.to_string()));
        }
        if refusals.is_empty() { Ok(()) } else { Err(Stop::Refused(refusals)) }
    }

    /// Takes the advisory lock: one run at a time in a database. The next run finds empty tables and does no harm.
    async fn advisory_lock(&self, connection: &mut PgConnection) -> Result<(), Stop> {
        let lock_timeout = self.request.lock_timeout;
        let patience = lock_timeout + RIVAL_PATIENCE.min(lock_timeout * 6);
        let statement = format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{}ms'; \
             SELECT pg_advisory_xact_lock({ADVISORY_KEY})",
            patience.as_millis()
        );
        match self.simple(connection, statement).await {
            Err(Fault::LockTimeout) => return Err(Fault::Rival.into()),
            answer => answer?,
        }
        Ok(self.simple(connection, Self::reading(lock_timeout)).await?)
    }

    /// Takes all locks in one statement, in the order of the tables' identity. While it waits for one table, other
    /// sessions queue behind the tables that it has. So the limit is for the whole statement, not for each wait.
    async fn lock(
        &self,
        connection: &mut PgConnection,
        plan: &Plan,
        patience: &mut Duration,
    ) -> Result<(), Stop> {
        let left = patience.as_millis();
        if left == 0 {
            return Err(Fault::LockTimeout.into());
        }
        let statement = format!(
            "SET LOCAL statement_timeout = '{left}ms'; SET LOCAL lock_timeout = '{left}ms'; \
             LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
            plan.table_list()
        );
        let begun = Instant::now();
        let locked = self.simple(connection, statement).await;
        *patience = patience.saturating_sub(begun.elapsed());
        match locked {
            Ok(()) => Ok(self.simple(connection, Self::reading(*patience)).await?),
            Err(Fault::LockTimeout) => Err(self.lock_timeout(connection, plan).await.into()),
            // The statement's own limit, unless it was cancelled before.
            Err(Fault::Cancelled(_)) if patience.is_zero() => {
                Err(self.lock_timeout(connection, plan).await.into())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Returns the fault of a lock that was not free, with its holders if the database tells them.
    async fn lock_timeout(&self, connection: &mut PgConnection, plan: &Plan) -> Fault {
        let oids: Vec<Oid> = plan.tables.iter().map(|table| table.oid).collect();
        // Rolled back first, so that no session waits for us while we ask.
        let ask = async {
            let begin = format!("ROLLBACK; BEGIN READ ONLY; {SAFE_NAMES}");
            self.simple(connection, begin).await.ok()?;
            catalog::holders(connection, &oids).await.ok()
        };
        match timeout(HOLDERS_TIMEOUT, ask).await {
            Ok(Some(holders)) if !holders.is_empty() => {
                Fault::LockedBy(self.redactor.clean_foreign(&holders.join(", ")))
            }
            _ => Fault::LockTimeout,
        }
    }

    /// Sends TRUNCATE with the fence in the same message: the database checks the time when the message arrives.
    async fn truncate(
        &self,
        connection: &mut PgConnection,
        plan: &Plan,
        patience: Duration,
    ) -> Result<(), Stop> {
        // The sequences, of which each may be waited for.
        let waits = u32::try_from(plan.sequences.len()).unwrap_or(u32::MAX).max(1);
        let lock = (patience / waits).as_millis().max(1);
        let statement = format!(
            "SET LOCAL lock_timeout = '{lock}ms'; SET LOCAL statement_timeout = '{all}ms'; {fence} \
             TRUNCATE TABLE {tables} RESTART IDENTITY RESTRICT",
            all = TRUNCATE_TIMEOUT.as_millis(),
            fence = self.fence(),
            tables = plan.table_list(),
        );
        self.simple(connection, statement).await?;
        Ok(self.simple(connection, Self::reading(patience)).await?)
    }

    /// Returns a statement that fails once the time has passed by the database's clock. `clock_timestamp()` in the
    /// text keeps the planner from computing the cast beforehand.
    pub(super) fn fence(&self) -> String {
        self.request.not_after.map_or_else(String::new, |time| {
            format!(
                "SELECT CASE WHEN clock_timestamp() >= to_timestamp({} / 1000000.0) \
                 THEN ('torpor: ' || clock_timestamp()::text || ' is too late')::integer END;",
                time.as_microsecond()
            )
        })
    }

    /// Sets limits for statements that read catalogs.
    fn reading(patience: Duration) -> String {
        format!(
            "SET LOCAL statement_timeout = '{}ms'; SET LOCAL lock_timeout = '{}ms'; {ANEW}",
            READ_TIMEOUT.as_millis(),
            patience.as_millis().max(1)
        )
    }

    async fn facts(
        &self,
        connection: &mut PgConnection,
        version: i32,
        path: &[String],
    ) -> Result<Facts, Fault> {
        let facts = catalog::facts(connection, version, self.request, path).await;
        let mut facts = self.read(facts)?;
        facts.keys_beyond = self.read(catalog::keys_beyond(connection, &facts).await)?;
        Ok(facts)
    }

    /// Returns the sessions that keep the truncation back.
    fn sessions(&self, facts: &Facts) -> Sessions {
        self.request.watched.among(&facts.sessions, self.redactor)
    }

    /// Stops where a session keeps the truncation back.
    fn alone(&self, facts: &Facts) -> Result<Sessions, Stop> {
        let sessions = self.sessions(facts);
        if sessions.found.is_empty() { Ok(sessions) } else { Err(Stop::KeptBack(sessions)) }
    }

    fn read<T>(&self, answer: Result<T, CatalogError>) -> Result<T, Fault> {
        answer.map_err(|error| self.catalog_fault(&error))
    }

    /// Sends one message in the simple protocol. Its text consists of this file's own words, numbers, and names that
    /// the database has quoted.
    pub(super) async fn simple(
        &self,
        connection: &mut PgConnection,
        statement: impl Into<String>,
    ) -> Result<(), Fault> {
        sqlx::raw_sql(AssertSqlSafe(statement.into()))
            .execute(connection)
            .await
            .map(|_| ())
            .map_err(|error| self.fault(&error))
    }

    /// Sends one message likewise. Returns the first row of the answer.
    async fn row(&self, connection: &mut PgConnection, text: String) -> Result<PgRow, Fault> {
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await;
        let rows = rows.map_err(|error| self.fault(&error))?;
        rows.into_iter().next().ok_or_else(|| self.fault(&sqlx::Error::RowNotFound))
    }

    fn fault(&self, error: &sqlx::Error) -> Fault {
        Fault::of(error, self.redactor)
    }

    fn catalog_fault(&self, error: &CatalogError) -> Fault {
        match error {
            CatalogError::Database(error) => self.fault(error),
            CatalogError::Form(_) => Fault::Answer("the catalogs have another form than expected"),
        }
    }
}

/// Checks the locks of the transaction: they show every table that it touched.
fn only_these_touched(locks: Vec<OwnLock>, plan: &Plan) -> Result<(), Stop> {
    let mut others: Vec<String> = locks
        .into_iter()
        .filter(|lock| lock.is_strong() && !plan.covers(lock.oid))
        .map(|lock| lock.name)
        .collect();
    others.sort();
    others.dedup();
    if others.is_empty() {
        return Ok(());
    }
    let refuse = |name: String| {
        let message = format!(
            "the truncation also touched {name}, which was not to be emptied, and was rolled back: \
             find out what code runs with these tables (an extension, a function in an index)"
        );
        RefusalReason::OtherTableTouched.refuse(name, message)
    };
    Err(Stop::Refused(others.into_iter().map(refuse).collect()))
}
