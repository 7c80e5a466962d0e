//! `torpor truncate`: empties a list of tables in one transaction, and nothing else.
//!
//! [`request`] and [`url`] parse, [`run`] holds the transaction, [`catalog`] reads the catalogs, [`plan`]
//! decides, [`report`] and [`words`] report.

#![allow(
    clippy::doc_markdown,
    reason = "PostgreSQL is a name; and doc comments of options are the help text"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use self::facts::Oid;
use self::fault::Fault;
use self::outcome::{Done, Stop};
pub use self::report::RefusalReason;
use self::report::{Outcome, Refusal, Report, Table, Totals};
use self::request::Request;
use self::run::Run;
use self::secret::Redactor;
use self::table_name::TableNames;
use self::url::Target;
use crate::api::database::{OPPORTUNITY_TABLES, PRESERVED_TABLES, RUNTIME_TABLES, Scope, SslMode};
use crate::signals;

pub(crate) mod access;
mod catalog;
mod commit;
mod connect;
mod facts;
mod fault;
mod feeds;
mod listed;
mod login;
mod outcome;
mod plan;
pub mod report;
mod request;
mod run;
mod secret;
pub(crate) mod session;
mod sessions;
mod setting;
pub(crate) mod table_name;
mod url;
mod words;

/// Exit status: the tables are empty, or the dry run found nothing in the way.
pub(crate) const EXIT_DONE: u8 = 0;
/// Exit status: the truncation failed, and another try may work.
pub(crate) const EXIT_RETRY: u8 = 1;
/// Exit status of a command line that cannot be parsed (clap's own). As final as [`EXIT_REFUSED`].
pub(crate) const EXIT_USAGE: u8 = 2;
/// Exit status: refused for good.
pub(crate) const EXIT_REFUSED: u8 = 3;
/// Exit status: other sessions may write; another try may work once they have ended.
pub(crate) const EXIT_KEPT_BACK: u8 = 4;

/// Environment variable with the database's URL.
pub const URL_VARIABLE: &str = "DATABASE_URL";

/// Environment variable with the user, where options name the server. It is libpq's.
pub const USER_VARIABLE: &str = "PGUSER";

/// Environment variable with the password, where options name the server. It is libpq's.
pub const PASSWORD_VARIABLE: &str = "PGPASSWORD";

/// Environment variable with the file of the certificate authority for TLS.
pub const CA_VARIABLE: &str = "DATABASE_CA_FILE";

/// The longest run without a COMMIT, waits for locks aside.
const DEADLINE: Duration = Duration::from_mins(10);

/// The difference that the clocks of this machine and of the database may have: this machine's clock says when
/// to give up. The fence itself goes by the database's clock.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// Longest `--lock-timeout`.
const LONGEST_LOCK_TIMEOUT: SignedDuration = SignedDuration::from_hours(1);

/// The part of the help that follows the options.
const AFTER_HELP: &str = "\
Environment:
  DATABASE_URL  The database, as the application names it: postgresql://, or with a driver as in
                postgresql+asyncpg://. No part of it is ever shown.
  PGUSER, PGPASSWORD
                User and password, with --host.

Exit status:
  0  The tables are empty, or the dry run found no obstacle.
  1  The truncation failed, and a retry may succeed: the database was unreachable, or a table was in use.
  2  The command line is wrong.
  3  The truncation was refused for good. The message names the obstacle.
  4  Other sessions may write. The message names them; a retry may succeed once they have ended.

Examples:
  List the tables that would be emptied, and all obstacles:
      torpor truncate --scope Runtime --dry-run
  Empty the runtime tables; users, profiles, secrets and the catalogs of markets and opportunities stay:
      torpor truncate
  The catalog of opportunities as well:
      torpor truncate --scope Opportunities
  All application tables, users and secrets included, in the database named cornice:
      torpor truncate --scope All --confirm cornice
  Your own tables:
      torpor truncate --schema app --runtime jobs,job_logs --preserved accounts

Row counts are estimates of the database. The command drops nothing and never touches a table outside the lists.
If such a table refers to a listed table, the truncation is refused, and the message names both.";

/// Empties tables of a PostgreSQL database and restarts their sequences, in one transaction.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Args {
    /// How much to empty; each scope contains the one before.
    #[arg(long, value_enum, default_value_t = Scope::Runtime)]
    pub scope: Scope,

    /// The schema that the tables are in. Default: the parameter `schema` of the URL, or else public. Refused
    /// where a session of this URL finds a table of that name in another schema.
    #[arg(long, value_name = "NAME")]
    pub schema: Option<String>,

    /// Tables that every scope empties, separated by commas. Names are taken literally, in upper and
    /// lower case as they are; a comma or backslash within a name has a backslash before it.
    #[arg(long, value_name = "T,..", default_value_t = TableNames::of(&RUNTIME_TABLES), hide_default_value = true)]
    pub runtime: TableNames,

    /// Tables that Opportunities and All empty too.
    #[arg(long, value_name = "T,..", default_value_t = TableNames::of(&OPPORTUNITY_TABLES), hide_default_value = true)]
    pub opportunities: TableNames,

    /// Tables that only All empties. Other scopes touch nothing of them.
    #[arg(long, value_name = "T,..", default_value_t = TableNames::of(&PRESERVED_TABLES), hide_default_value = true)]
    pub preserved: TableNames,

    /// The name of the database. Needed with All; checked wherever it is given.
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,

    /// The longest wait for tables in use, in all. Other sessions queue behind it meanwhile.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = lock_timeout)]
    pub lock_timeout: Duration,

    /// Do nothing from this time on, by the database's clock: 2026-12-24T20:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = not_after)]
    pub not_after: Option<Timestamp>,

    /// Truncate even if a publication replicates it to other databases.
    #[arg(long)]
    pub allow_replicated: bool,

    /// Truncate nothing while a session of the database comes from one of these addresses.
    #[arg(long, value_name = "ADDRESS,..", value_delimiter = ',')]
    pub sessions_from: Vec<IpAddr>,

    /// Truncate nothing while any other client is connected to the database.
    #[arg(long, conflicts_with = "sessions_from")]
    pub refuse_all_sessions: bool,

    /// Change nothing: a read-only run that blocks nobody, with the same refusals. Sessions are reported only.
    #[arg(long)]
    pub dry_run: bool,

    /// Write the result as JSON of at most 4,096 bytes to this file; to standard output if it is -.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Read the database's URL from this file instead of DATABASE_URL.
    #[arg(long, value_name = "FILE")]
    pub url_file: Option<PathBuf>,

    /// The database server, instead of a URL. User and password come from PGUSER and PGPASSWORD.
    #[arg(long, value_name = "HOST", conflicts_with = "url_file", requires = "dbname")]
    pub host: Option<String>,

    /// The port of --host.
    #[arg(long, value_name = "PORT", default_value_t = 5432, requires = "host", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,

    /// The name of the database on --host.
    #[arg(long, value_name = "NAME", requires = "host")]
    pub dbname: Option<String>,

    /// The protection of the connection to --host. Default: verify-full with --ca-file, else prefer.
    #[arg(long, value_name = "MODE", value_enum, requires = "host")]
    pub sslmode: Option<SslMode>,

    /// Trust this certificate authority (PEM) for TLS to the database. Goes before the URL's own
    /// sslrootcert; without an sslmode in the URL it means verify-full.
    #[arg(long, value_name = "FILE", env = CA_VARIABLE)]
    pub ca_file: Option<PathBuf>,

    /// Names the fields of a Hibernation in messages, where they name options else.
    #[arg(long, hide = true)]
    pub of_hibernation: bool,

    /// Catches a URL on the command line, where everybody on the machine could read it, before it is
    /// quoted in a message about an unexpected argument.
    #[arg(hide = true)]
    pub misplaced: Vec<String>,
}

fn not_after(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "not a time with its zone, such as 2026-12-24T20:00:00Z".to_owned())
}

fn lock_timeout(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "not a duration such as 10s or 1m30s".to_owned())?;
    // 0 would mean for ever to PostgreSQL.
    if duration < SignedDuration::from_millis(1) || duration > LONGEST_LOCK_TIMEOUT {
        return Err("must be from 1ms to 1h".to_owned());
    }
    duration.try_into().map_err(|_| "must be from 1ms to 1h".to_owned())
}

/// Runs the command, prints the result and writes the report. Returns the exit status.
pub async fn run(args: Args) -> ExitCode {
    let mut redactor = Redactor::default();
    // Opened first, so that a path that can't be written fails before anything is done.
    let opened = args.report.as_deref().map(ReportTo::open).transpose();
    let (mut report, file) = match opened {
        Ok(file) => (carry_out(&args, &mut redactor).await, file),
        Err(error) => {
            let message = format!("the report's file cannot be written: {}", error.kind());
            (refused(None, vec![RefusalReason::InvalidArgument.refuse("--report", message)]), None)
        }
    };
    clean(&mut report, &redactor);

    let text = words::describe(&report);
    // Nobody reads the output any more. That does not change the exit status.
    let _ = match report.outcome {
        Outcome::Truncated | Outcome::Planned if !matches!(file, Some(ReportTo::Stdout)) => {
            std::io::stdout().write_all(text.as_bytes())
        }
        _ => std::io::stderr().write_all(text.as_bytes()),
    };
    if let Some(file) = file {
        let written = report.to_json().map_err(std::io::Error::other);
        if written.and_then(|json| file.write(&json)).is_err() {
            let _ = writeln!(std::io::stderr(), "The report could not be written to its file.");
        }
    }
    ExitCode::from(exit_status(report.outcome))
}

/// The destination of the JSON report.
enum ReportTo {
    File(File),
    /// Standard output; the text goes to standard error then.
    Stdout,
}

impl ReportTo {
    fn open(path: &Path) -> std::io::Result<Self> {
        if path == Path::new("-") { Ok(Self::Stdout) } else { File::create(path).map(Self::File) }
    }

    fn write(self, json: &str) -> std::io::Result<()> {
        match self {
            Self::File(mut file) => file.write_all(json.as_bytes()),
            Self::Stdout => writeln!(std::io::stdout(), "{json}"),
        }
    }
}

/// Returns the exit status of an outcome.
pub fn exit_status(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Truncated | Outcome::Planned => EXIT_DONE,
        Outcome::Failed => EXIT_RETRY,
        Outcome::Refused => EXIT_REFUSED,
        Outcome::KeptBack => EXIT_KEPT_BACK,
    }
}

async fn carry_out(args: &Args, redactor: &mut Redactor) -> Report {
    if !args.misplaced.is_empty() {
        for argument in &args.misplaced {
            redactor.secret(argument);
        }
        return refused(
            None,
            vec![RefusalReason::InvalidArgument.refuse(
                "",
                "an argument without an option: the database's URL goes into DATABASE_URL or a file \
                 (--url-file), since everybody on the machine can read a command line",
            )],
        );
    }
    let parsed = Request::of(args).and_then(|request| {
        let target = login::target(args, redactor).map_err(|refusal| vec![refusal])?;
        let request = request.with_schema_of_url(target.schema.clone(), args.schema.is_some());
        Ok((request, target))
    });
    let (request, target) = match parsed {
        Ok(parsed) => parsed,
        Err(refusals) => return refused(None, refusals),
    };
    if target.ignored > 0 {
        let _ = writeln!(
            std::io::stderr(),
            "torpor ignores unknown parameters of the URL: {}.",
            target.ignored
        );
    }

    let run = Run::new(&request, redactor);
    let result = until_stopped(&run, &target, &request).await;
    let database = run.database().map(str::to_owned);
    match result {
        Ok(done) => finished(&request, database, &done),
        Err(Stop::Refused(refusals)) => refused(database, refusals),
        Err(Stop::KeptBack(sessions)) => Report {
            outcome: Outcome::KeptBack,
            database,
            message: sessions.obstacle().unwrap_or_default(),
            hidden_sessions: sessions.hidden,
            sessions: sessions.found,
            ..Report::default()
        },
        Err(Stop::Fault(fault)) => match fault.is_final() {
            Some(reason) => refused(database, vec![reason.refuse("", fault.to_string())]),
            None => Report {
                outcome: Outcome::Failed,
                database,
                message: fault.tell(),
                ..Report::default()
            },
        },
    }
}

/// Runs until a signal or the deadline. Once COMMIT was sent neither ends the run: it has to find out how COMMIT
/// ended.
async fn until_stopped(run: &Run<'_>, target: &Target, request: &Request) -> Result<Done, Stop> {
    let mut patience = DEADLINE + request.lock_timeout * 2;
    if let Some(not_after) = request.not_after {
        let left = not_after.duration_since(Timestamp::now()).saturating_add(CLOCK_MARGIN);
        // At least a moment, to ask the database's clock, which may be another.
        let left = left.max(CLOCK_MARGIN);
        patience = patience.min(left.try_into().unwrap_or(patience));
    }
    let deadline = Instant::now() + patience;
    let mut work = std::pin::pin!(run.carry_out(target));
    let mut stopped = std::pin::pin!(signalled());
    let fault = tokio::select! {
        biased;
        result = &mut work => return result,
        () = &mut stopped => Fault::Interrupted,
        () = tokio::time::sleep_until(deadline) => Fault::Deadline,
    };
    if run.is_committing() { work.await } else { Err(fault.into()) }
}

/// Ends at SIGTERM or SIGINT, where the system permits handlers of them.
async fn signalled() {
    match signals::termination() {
        Ok(termination) => termination.await,
        Err(_) => std::future::pending().await,
    }
}

fn refused(database: Option<String>, refusals: Vec<Refusal>) -> Report {
    let message = match refusals.as_slice() {
        [one] => one.message.clone(),
        many => format!("{} things are in the way", many.len()),
    };
    Report { outcome: Outcome::Refused, database, refusals, message, ..Report::default() }
}

fn finished(request: &Request, database: Option<String>, done: &Done) -> Report {
    let plan = &done.plan;
    let named: BTreeMap<Oid, &str> =
        plan.tables.iter().map(|table| (table.oid, table.name.as_str())).collect();
    let mut tables: Vec<&plan::Target> = plan.tables.iter().collect();
    // Each partition below the table that it goes along with.
    tables.sort_by_key(|table| (named.get(&table.with), !table.asked, &table.name));
    let tables: Vec<Table> = tables
        .into_iter()
        .map(|table| Table {
            name: table.name.clone(),
            rows: table.rows,
            bytes: done.bytes.get(&table.oid).copied().unwrap_or_default(),
            along: !table.asked,
            restarts: plan
                .sequences
                .iter()
                .filter(|sequence| sequence.table == table.oid)
                .map(|sequence| sequence.name.clone())
                .collect(),
        })
        .collect();
    let totals = Totals {
        tables: tables.len() as u64,
        rows: tables.iter().fold(0, |sum, table| sum.saturating_add(table.rows)),
        bytes: tables.iter().fold(0, |sum, table| sum.saturating_add(table.bytes)),
    };
    let (outcome, message) = if request.dry_run {
        (Outcome::Planned, "nothing is in the way".to_owned())
    } else {
        (Outcome::Truncated, "the tables are empty".to_owned())
    };
    let (hidden_sessions, sessions) = (done.sessions.hidden, done.sessions.found.clone());
    Report {
        outcome,
        database,
        totals,
        tables,
        sessions,
        hidden_sessions,
        message,
        ..Report::default()
    }
}

/// Redacts the report: the second line of defence. Names of tables and of the database stay, since they come from
/// the catalogs, and a table may have the name that somebody took for a password.
fn clean(report: &mut Report, redactor: &Redactor) {
    report.message = redactor.clean(&report.message);
    for refusal in &mut report.refusals {
        refusal.message = redactor.clean(&refusal.message);
    }
}
