//! Behind pgbouncer the command relies on no session state and leaves none behind.

use std::process::{Child, Command};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};

use super::case::{LISTS, database, with};
use crate::support::folder::Folder;
use crate::support::pausing_proxy::PausingProxy;
use crate::support::postgres::{Ended, free_port, truncate_at, until};

shown! {
    a_pooler_in_transaction_mode_is_left_without_a_trace,
    a_pooler_in_statement_mode,
    a_pooler_that_loses_the_server_before_commit,
    a_pooler_that_loses_the_server_during_commit,
}

/// A pgbouncer with one connection to the server.
struct Pooler {
    child: Child,
    _directory: Folder,
    url: String,
}

impl Pooler {
    async fn start(mode: &str, upstream: &str) -> Self {
        for _ in 0..10 {
            if let Some(pooler) = Self::start_at(free_port(), mode, upstream).await {
                return pooler;
            }
        }
        panic!("other processes take every port");
    }

    /// Starts pgbouncer at this port. Returns `None` if another process has taken the port.
    async fn start_at(port: u16, mode: &str, upstream: &str) -> Option<Self> {
        let upstream: PgConnectOptions = upstream.parse().unwrap();
        let database = upstream.get_database().unwrap();
        let directory = Folder::new(&format!("pooler-{port}"));
        let file = directory.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\n\
             default_pool_size = 1\nserver_login_retry = 1\n",
            upstream.get_port()
        );
        std::fs::write(&file, settings).unwrap();
        let log = directory.path().join("log");
        // pgbouncer refuses to run as root.
        let mut child = Command::new("/usr/sbin/pgbouncer")
            .args(["-u", "postgres"])
            .arg(&file)
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let said = || std::fs::read_to_string(&log).unwrap();
        // Its log tells that it listens. A connection could reach another process.
        until("pgbouncer is up, or has ended", async || {
            said().contains("process up") || child.try_wait().unwrap().is_some()
        })
        .await;
        let url = format!("postgres://postgres@127.0.0.1:{port}/{database}");
        if said().contains("process up") {
            return Some(Self { child, _directory: directory, url });
        }
        assert!(said().contains("Address already in use"), "pgbouncer did not start: {}", said());
        None
    }

    async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().unwrap();
        options.extra_float_digits(None).statement_cache_capacity(0).connect().await.unwrap()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns all session state that could be left behind. pgbouncer sets the application name itself.
async fn traces(connection: &mut PgConnection) -> String {
    const TRACES: &str = "SELECT (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
            WHERE name <> 'application_name')
        || ' locks:' || (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')
        || ' prepared:' || (SELECT count(*) FROM pg_prepared_statements)
        || ' backend:' || pg_backend_pid()";
    sqlx::raw_sql(TRACES).fetch_one(connection).await.unwrap().get(0)
}

async fn a_pooler_in_transaction_mode_is_left_without_a_trace() -> Ended {
    let mut db = database("pooler").await;
    let pooler = Pooler::start("transaction", &db.url).await;
    // Another client of the pool has left a table and a cursor of the same name in the session.
    let mut other = pooler.connect().await;
    other.execute("CREATE TEMPORARY TABLE jobs (n int)").await.unwrap();
    other.execute("INSERT INTO pg_temp.jobs VALUES (1)").await.unwrap();
    other
        .execute("BEGIN; DECLARE jobs CURSOR WITH HOLD FOR SELECT * FROM public.jobs; COMMIT")
        .await
        .unwrap();
    let before = traces(&mut other).await;

    let url = pooler.url.replace("postgres://", "postgresql+asyncpg://")
        + "?prepared_statement_cache_size=0";
    let mut rival = db.rival().await;
    rival.execute("BEGIN; SELECT FROM logs").await.unwrap();
    let in_use = truncate_at(&url, &with(&["--lock-timeout", "100ms"])).await;
    assert_eq!(in_use.status, 1, "{in_use:?}");
    assert_eq!(traces(&mut other).await, before);
    rival.execute("COMMIT").await.unwrap();

    let refused = truncate_at(&url, &["--runtime", "jobs"]).await;
    assert_eq!(refused.status, 3, "{refused:?}");
    let late = truncate_at(&url, &with(&["--not-after", "2020-01-01T00:00:00Z"])).await;
    assert_eq!(late.status, 3, "{late:?}");
    truncate_at(&url, &with(&["--dry-run"])).await.done();
    assert_eq!(traces(&mut other).await, before);

    let ended = truncate_at(&url, &LISTS).await;
    ended.done();
    assert_eq!(traces(&mut other).await, before);
    assert_eq!((db.count("jobs").await, db.count("logs").await), (0, 0));
    let row = other.fetch_one("SELECT count(*) FROM pg_temp.jobs").await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 1);
    other.close().await.unwrap();
    ended
}

async fn a_pooler_in_statement_mode() -> Ended {
    let db = database("statement_pooler").await;
    let pooler = Pooler::start("statement", &db.url).await;
    let ended = truncate_at(&pooler.url, &LISTS).await;
    assert_eq!(ended.refusal().0, "UnsupportedServer");
    ended
}

/// Cuts the connection between pooler and server at COMMIT, but not the one between command and
/// pooler.
async fn lost(name: &str, arrives: bool) -> (Ended, i64) {
    let mut db = database(name).await;
    let mut proxy = PausingProxy::before(&db.url, "COMMIT\0").await;
    let pooler = Pooler::start("transaction", proxy.url.split('?').next().unwrap()).await;
    let cut = async {
        proxy.reached().await;
        if arrives {
            proxy.swallow_answer().await;
        }
        proxy.cut().await;
    };
    let (ended, ()) = tokio::join!(truncate_at(&pooler.url, &LISTS), cut);
    let left = db.count("jobs").await + db.count("logs").await;
    (ended, left)
}

async fn a_pooler_that_loses_the_server_before_commit() -> Ended {
    let (ended, left) = lost("pooler_before", false).await;
    assert_eq!((ended.status, left), (1, 20), "{ended:?}");
    ended
}

async fn a_pooler_that_loses_the_server_during_commit() -> Ended {
    let (ended, left) = lost("pooler_during", true).await;
    assert_eq!((ended.status, left), (0, 0), "{ended:?}");
    ended
}
