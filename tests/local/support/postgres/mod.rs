//! A PostgreSQL of the tests' own, which ends with them. Each test has a database to itself.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};
use torpor::truncate::report::Report;

/// The running server.
pub(crate) struct Server {
    /// A superuser's URL.
    pub(crate) url: String,
    /// Where its socket and `ca.crt` are.
    pub(crate) directory: PathBuf,
    /// Kept open: the server ends when it is closed, which the end of this process does.
    _alive: (Child, ChildStdin),
}

/// The server that all tests of this process share.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

/// The exit status of `start.sh` where somebody else has the port.
const PORT_TAKEN: i32 = 98;

/// How many ports are tried.
const PORTS: usize = 10;

/// A server of its own, for a test that harms it.
pub(crate) fn start() -> Server {
    (0..PORTS).find_map(|_| start_at(free_port())).expect("other processes take every port")
}

/// A port that is free now, and may be somebody else's before it is used.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts one at this port, unless somebody else has it by now.
fn start_at(port: u16) -> Option<Server> {
    let mut child =
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/local/support/postgres/start.sh"))
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    let alive = child.stdin.take().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if let Some((url, directory)) = line.trim().split_once(' ') {
        let directory = directory.into();
        return Some(Server { url: url.to_owned(), directory, _alive: (child, alive) });
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(PORT_TAKEN), "PostgreSQL did not start");
    None
}

/// How long anything may take before it is missing.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);

/// Waits until this is so.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, held).await;
    assert!(held.is_ok(), "it did not come to this: {what}");
}

/// A directory of a test's own, which is removed with this.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("torpor-test-{:x}", rand()));
        std::fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Server {
    /// Runs pg_ctl on it.
    pub(crate) fn ctl(&self, arguments: &[&str]) {
        let status = Command::new(self.directory.join("ctl"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "pg_ctl {arguments:?}");
    }
}

/// One test's database.
pub(crate) struct Database {
    /// A superuser's URL of it.
    pub(crate) url: String,
    /// A superuser's connection to it.
    pub(crate) admin: PgConnection,
}

/// What a run of the command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) arguments: Vec<String>,
    /// The database's name.
    pub(crate) database: String,
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) report: Option<Report>,
    pub(crate) json: String,
}

impl Ended {
    pub(crate) fn report(&self) -> &Report {
        self.report.as_ref().unwrap_or_else(|| panic!("no report: {self:?}"))
    }

    /// Reasons and objects of all refusals; panics where it was not refused.
    pub(crate) fn refusals(&self) -> Vec<(String, String)> {
        assert_eq!(self.status, 3, "{self:?}");
        let pairs = self.report().refusals.iter();
        pairs.map(|refusal| (refusal.reason.clone(), refusal.object.clone())).collect()
    }

    /// The one refusal's reason, object and message.
    pub(crate) fn refusal(&self) -> (&str, &str, &str) {
        assert_eq!(self.status, 3, "{self:?}");
        match self.report().refusals.as_slice() {
            [one] => (&one.reason, &one.object, &one.message),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn done(&self) -> &Report {
        assert_eq!(self.status, 0, "{self:?}");
        self.report()
    }
}

impl Database {
    pub(crate) async fn new(name: &str) -> Self {
        Self::on(server(), name).await
    }

    pub(crate) async fn on(server: &Server, name: &str) -> Self {
        let name = format!("t_{name}");
        assert!(name.len() < 64, "{name} is too long for a database");
        let options: PgConnectOptions = server.url.parse().unwrap();
        let mut admin = options.connect().await.unwrap();
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
        }
        let (start, _) = server.url.rsplit_once('/').unwrap();
        let url = format!("{start}/{name}");
        let admin = options.database(&name).connect().await.unwrap();
        Self { url, admin }
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut self.admin)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) async fn text(&mut self, sql: &str) -> String {
        let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.admin).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error}")).try_get(0).unwrap()
    }

    pub(crate) async fn count(&mut self, table: &str) -> i64 {
        self.text(&format!("SELECT count(*)::text FROM {table}")).await.parse().unwrap()
    }

    /// Waits until this condition is true.
    pub(crate) async fn until(&mut self, condition: &str) {
        let query = format!("SELECT ({condition})::text");
        until(condition, async || self.text(&query).await == "true").await;
    }

    /// Another superuser's connection, for a rival.
    pub(crate) async fn rival(&self) -> PgConnection {
        self.url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    /// The URL for another role, which is made without any privilege but to log in.
    pub(crate) async fn role(&mut self, role: &str) -> String {
        // A role belongs to the server: an earlier run may have left it.
        self.run(&format!(
            "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        ))
        .await;
        self.url.replacen("postgres@", &format!("{role}@"), 1)
    }

    /// The same after the server was restarted.
    pub(crate) async fn again(self) -> Self {
        let admin = self.rival().await;
        Self { admin, ..self }
    }

    pub(crate) async fn truncate(&self, arguments: &[&str]) -> Ended {
        truncate_at(&self.url, arguments).await
    }
}

/// Runs the command, with `--report`.
pub(crate) async fn truncate_at(url: &str, arguments: &[&str]) -> Ended {
    let file = std::env::temp_dir().join(format!("torpor-report-{:x}", rand()));
    let ended = command(url, arguments).arg("--report").arg(&file).output().await.unwrap();
    let json = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    ended_of(url, arguments, ended, json)
}

/// What is left of a run that was started otherwise.
pub(crate) fn ended_of(
    url: &str,
    arguments: &[&str],
    ended: std::process::Output,
    json: String,
) -> Ended {
    let database = url.rsplit('/').next().and_then(|path| path.split('?').next());
    Ended {
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        database: database.unwrap_or_default().to_owned(),
        status: ended.status.code().unwrap(),
        stdout: String::from_utf8(ended.stdout).unwrap(),
        stderr: String::from_utf8(ended.stderr).unwrap(),
        report: serde_json::from_str(&json).ok(),
        json,
    }
}

/// The command before it runs.
pub(crate) fn command(url: &str, arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_torpor"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
        command.env_remove(name);
    }
    command.arg("truncate").args(arguments).env("DATABASE_URL", url).kill_on_drop(true);
    command
}

fn rand() -> u128 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let half = || u128::from(RandomState::new().build_hasher().finish());
    (half() << 64) | half()
}
