//! `torpor truncate` where something goes wrong: locks, clocks, cut connections, poolers, secrets.

#![allow(
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::items_after_statements,
    clippy::panic,
    clippy::similar_names,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod postgres;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postgres::{Database, command, server, truncate_at};
use sqlx::Executor as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use torpor::truncate::report::Outcome;

const TABLES: &str = "
CREATE TABLE jobs (id serial PRIMARY KEY, note text);
CREATE TABLE logs (id bigint GENERATED ALWAYS AS IDENTITY, line text);
INSERT INTO jobs (note) SELECT 'x' FROM generate_series(1, 10);
INSERT INTO logs (line) SELECT 'x' FROM generate_series(1, 10);
ANALYZE;
";
const LISTS: [&str; 6] = ["--runtime", "jobs,logs", "--opportunities", "", "--preserved", ""];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    LISTS.iter().chain(more).copied().collect()
}

async fn database(name: &str) -> Database {
    let mut db = Database::new(name).await;
    db.run(TABLES).await;
    db
}

async fn wait_for(db: &mut Database, what: &str, sql: &str) {
    let begun = Instant::now();
    while db.text(sql).await != "true" {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_table_in_use_is_worth_another_try_and_its_user_is_named() {
    let mut db = database("in_use").await;
    let mut rival = db.rival().await;
    rival.execute("SET application_name = 'report maker'; BEGIN; SELECT FROM logs").await.unwrap();
    let begun = Instant::now();
    let ended = db.truncate(&with(&["--lock-timeout", "500ms"])).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    let message = &ended.report().message;
    assert!(message.contains("logs by process") && message.contains("report maker"), "{message}");
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert_eq!(db.count("jobs").await, 10);
}

#[tokio::test]
async fn all_locks_together_are_waited_for_no_longer_than_the_limit() {
    let mut db = Database::new("lock_budget").await;
    let names: Vec<String> = (0..8).map(|n| format!("t{n}")).collect();
    for name in &names {
        db.run(&format!("CREATE TABLE {name} (n int)")).await;
    }
    // Each is in use a little shorter than the limit, one after the other.
    let mut rivals = Vec::new();
    for (position, name) in names.iter().enumerate() {
        let mut rival = db.rival().await;
        rival.execute(sqlx::AssertSqlSafe(format!("BEGIN; SELECT FROM {name}"))).await.unwrap();
        rivals.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(700 * (position as u64 + 1))).await;
            rival.execute("COMMIT").await.unwrap();
        }));
    }
    let mut run = command(
        &db.url,
        &[
            "--runtime",
            &names.join(","),
            "--preserved",
            "",
            "--opportunities",
            "",
            "--lock-timeout",
            "1s",
        ],
    );
    let child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(
        &mut db,
        "the first lock",
        "SELECT exists(SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted)::text",
    )
    .await;
    let begun = Instant::now();
    let status = { child }.wait().await.unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    for rival in rivals {
        rival.await.unwrap();
    }
}

#[tokio::test]
async fn a_deadlock_is_worth_another_try() {
    let mut db = database("deadlock").await;
    db.run("ALTER DATABASE t_deadlock SET deadlock_timeout = '200ms'").await;
    let mut rival = db.rival().await;
    rival.execute("SET deadlock_timeout = '60s'; BEGIN; LOCK TABLE logs").await.unwrap();
    let mut run = command(&db.url, &with(&["--lock-timeout", "20s"]));
    let child = run.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for(
        &mut db,
        "the wait",
        "SELECT exists(SELECT FROM pg_locks WHERE NOT granted AND relation = 'logs'::regclass)::text",
    )
    .await;
    let other = tokio::spawn(async move { rival.execute("LOCK TABLE jobs; COMMIT").await.is_ok() });
    let ended = child.wait_with_output().await.unwrap();
    // Whoever looks first is the victim.
    if other.await.unwrap() {
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert_eq!(db.count("jobs").await, 10);
    }
}

#[tokio::test]
async fn two_at_once_come_one_after_the_other() {
    let mut db = database("rivals").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; LOCK TABLE jobs IN ACCESS SHARE MODE").await.unwrap();
    let (first, second) = (db.truncate(&LISTS), db.truncate(&LISTS));
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rival.execute("COMMIT").await.unwrap();
    };
    let (first, second, ()) = tokio::join!(first, second, release);
    assert_eq!((first.status, second.status), (0, 0), "{first:?} {second:?}");
    let freed = [first.done().totals.rows, second.done().totals.rows];
    assert!(freed.contains(&20), "{freed:?}");
    assert_eq!(db.count("jobs").await, 0);
}

#[tokio::test]
async fn nothing_happens_after_the_time_by_the_databases_clock() {
    let mut db = database("late").await;
    let past =
        db.text("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')").await;
    for more in [&["--not-after", &past][..], &["--not-after", &past, "--dry-run"]] {
        let ended = db.truncate(&with(more)).await;
        assert_eq!(ended.refusal().0, "NotAfterPassed");
    }
    let ended = db.truncate(&with(&["--not-after", "2099-01-01T00:00:00Z"])).await;
    ended.done();
    assert_eq!(db.count("jobs").await, 0);
}

#[tokio::test]
async fn a_wait_for_locks_does_not_carry_it_over_the_fence() {
    let mut db = database("fence").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; SELECT FROM jobs").await.unwrap();
    let soon = db
        .text("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '2s', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
        .await;
    let lists = with(&["--not-after", &soon, "--lock-timeout", "30s"]);
    let release = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        rival.execute("COMMIT").await.unwrap();
    };
    let (ended, ()) = tokio::join!(db.truncate(&lists), release);
    assert_eq!(ended.refusal().0, "NotAfterPassed", "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
}

/// What a proxy does with a client's message that holds a word.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    /// It never arrives.
    Before,
    /// It arrives, the answer doesn't.
    After,
    /// It arrives so much later.
    Hold(Duration),
}

/// A proxy in front of the server; gives the URL through it.
async fn proxy(url: &str, word: &'static str, cut: Cut) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let database = url.rsplit('/').next().unwrap();
    let through = format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable");
    let cuts = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&upstream).await.unwrap();
            let cuts = Arc::clone(&cuts);
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                });
                let mut buffer = vec![0; 65536];
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    let message = &buffer[..length];
                    let hit = message.windows(word.len()).any(|part| part == word.as_bytes());
                    if hit && cuts.fetch_add(1, Ordering::SeqCst) == 0 {
                        match cut {
                            Cut::Before => break,
                            Cut::After => {
                                back.abort();
                                to_server.write_all(message).await.unwrap();
                                tokio::time::sleep(Duration::from_millis(500)).await;
                                break;
                            }
                            Cut::Hold(time) => tokio::time::sleep(time).await,
                        }
                    }
                    if to_server.write_all(message).await.is_err() {
                        break;
                    }
                }
                back.abort();
            });
        }
    });
    through
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_reported_as_done() {
    let mut db = database("commit_after").await;
    let url = proxy(&db.url, "COMMIT\0", Cut::After).await;
    let ended = truncate_at(&url, &LISTS).await;
    assert_eq!(ended.done().outcome, Outcome::Truncated);
    assert_eq!(db.count("jobs").await, 0);
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_reported_as_not_done() {
    let mut db = database("commit_before").await;
    let url = proxy(&db.url, "COMMIT\0", Cut::Before).await;
    let ended = truncate_at(&url, &LISTS).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.report().message.contains("nothing was changed"), "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
}

#[tokio::test]
async fn a_commit_that_arrives_after_the_time_is_refused_by_the_database() {
    let mut db = database("commit_late").await;
    let url = proxy(&db.url, "COMMIT\0", Cut::Hold(Duration::from_secs(4))).await;
    let soon = db
        .text("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '3s', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
        .await;
    let ended = truncate_at(&url, &with(&["--not-after", &soon])).await;
    assert_eq!(ended.refusal().0, "NotAfterPassed", "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
}

#[tokio::test]
async fn a_connection_cut_before_commit_changes_nothing() {
    let mut db = database("cut").await;
    let url = proxy(&db.url, "TRUNCATE TABLE", Cut::After).await;
    let ended = truncate_at(&url, &LISTS).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.report().message.contains("was cut"), "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
}

#[tokio::test]
async fn a_session_that_is_terminated_is_worth_another_try() {
    let mut db = database("terminated").await;
    let url = proxy(&db.url, "TRUNCATE TABLE", Cut::Hold(Duration::from_secs(2))).await;
    let run = truncate_at(&url, &LISTS);
    let kill = async {
        wait_for(
            &mut db,
            "the transaction",
            "SELECT exists(SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'jobs'::regclass)::text",
        )
        .await;
        db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'torpor truncate'").await;
    };
    let (ended, ()) = tokio::join!(run, kill);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.report().message.contains("shutting down"), "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
}

#[tokio::test]
async fn a_signal_ends_it_at_once_and_frees_the_tables() {
    let mut db = database("signal").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; SELECT FROM logs").await.unwrap();
    let child = command(&db.url, &with(&["--lock-timeout", "60s"]))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    const WAITS: &str = "SELECT exists(SELECT FROM pg_locks WHERE NOT granted AND relation = 'logs'::regclass)::text";
    wait_for(&mut db, "the wait", WAITS).await;
    let begun = Instant::now();
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    let ended = child.wait_with_output().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    // The server notices by client_connection_check_interval, though it is waiting for a lock.
    wait_for(
        &mut db,
        "the end",
        &WAITS.replace("exists(", "(NOT exists(").replace(")::text", "))::text"),
    )
    .await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn tables_that_change_while_it_waits_are_looked_at_again() {
    let mut db = Database::new("moving").await;
    db.run(
        "CREATE TABLE events (at int) PARTITION BY RANGE (at);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
        CREATE TABLE jobs (n int); INSERT INTO jobs VALUES (1)",
    )
    .await;
    let mut rival = db.rival().await;
    // Jobs becomes another table, and events gets a partition.
    rival
        .execute("BEGIN; ALTER TABLE jobs RENAME TO old_jobs; CREATE TABLE jobs (n int); INSERT INTO jobs VALUES (2);
            CREATE TABLE events_2 PARTITION OF events DEFAULT; INSERT INTO events VALUES (5), (50)")
        .await
        .unwrap();
    let lists = ["--runtime", "events,jobs", "--preserved", "", "--opportunities", ""];
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rival.execute("COMMIT").await.unwrap();
    };
    let (ended, ()) = tokio::join!(db.truncate(&lists), release);
    assert_eq!(ended.done().totals.tables, 4, "{ended:?}");
    assert_eq!((db.count("events").await, db.count("jobs").await), (0, 0));
    assert_eq!(db.count("old_jobs").await, 1);
}

#[tokio::test]
async fn a_key_that_comes_while_it_waits_is_refused() {
    let db = database("late_key").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; CREATE TABLE notes (job int REFERENCES jobs)").await.unwrap();
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rival.execute("COMMIT").await.unwrap();
    };
    let (ended, ()) = tokio::join!(db.truncate(&LISTS), release);
    assert_eq!(ended.refusal().1, "notes_job_fkey on public.notes");
}

#[tokio::test]
async fn a_default_that_comes_while_it_truncates_is_refused() {
    let mut db = database("late_default").await;
    db.run("CREATE TABLE accounts (id int)").await;
    let url = proxy(&db.url, "TRUNCATE TABLE", Cut::Hold(Duration::from_secs(2))).await;
    let run = truncate_at(&url, &LISTS);
    let meddle = async {
        wait_for(
            &mut db,
            "the lock",
            "SELECT exists(SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'jobs'::regclass AND granted)::text",
        )
        .await;
        // No lock on jobs is needed for that.
        tokio::time::sleep(Duration::from_millis(500)).await;
        db.run("ALTER TABLE accounts ALTER id SET DEFAULT nextval('jobs_id_seq')").await;
    };
    let (ended, ()) = tokio::join!(run, meddle);
    assert_eq!(ended.refusal().0, "SharedSequence", "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
}

#[tokio::test]
async fn a_session_with_strange_settings_and_temporary_tables_is_no_obstacle() {
    let mut db = database("strange").await;
    db.run(
        "CREATE SCHEMA evil; CREATE TABLE evil.jobs (n int); INSERT INTO evil.jobs VALUES (1);
        CREATE VIEW evil.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE false;
        CREATE FUNCTION evil.quote_ident(text) RETURNS text LANGUAGE sql AS 'SELECT ''evil.jobs''';
        ALTER DATABASE t_strange SET search_path = evil, pg_catalog, public;
        ALTER DATABASE t_strange SET default_transaction_read_only = on;
        ALTER DATABASE t_strange SET default_transaction_isolation = 'serializable';
        ALTER DATABASE t_strange SET statement_timeout = '5ms';
        ALTER DATABASE t_strange SET lock_timeout = '1ms';
        ALTER DATABASE t_strange SET synchronous_commit = off;
        ALTER DATABASE t_strange SET DateStyle = 'German'",
    )
    .await;
    db.truncate(&LISTS).await.done();
    let mut fresh = db.rival().await;
    fresh
        .execute("SET default_transaction_read_only = off; SET statement_timeout = 0")
        .await
        .unwrap();
    assert_eq!(db.count("jobs").await, 0);
    assert_eq!(db.count("evil.jobs").await, 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_another_try() {
    for url in [
        "postgres://u:hunter22@127.0.0.1:1/d",
        "postgres://u:hunter22@nowhere.invalid/d",
        "postgres://u:hunter22@/d?host=/nonexistent",
    ] {
        let ended = truncate_at(url, &LISTS).await;
        assert_eq!(ended.status, 1, "{ended:?}");
        assert_eq!(ended.report().outcome, Outcome::Failed);
    }
}

#[tokio::test]
async fn several_hosts_are_tried_in_turn() {
    let mut db = database("hosts").await;
    let at = db.url.split('@').nth(1).unwrap().split('/').next().unwrap();
    let url = format!("postgresql+asyncpg://postgres@127.0.0.1:1,{at}/t_hosts?ssl=disable");
    truncate_at(&url, &LISTS).await.done();
    assert_eq!(db.count("jobs").await, 0);
}

#[tokio::test]
async fn tls_is_checked_up_to_the_name() {
    let directory = &server().directory;
    let db = database("tls").await;
    let ca = directory.join("ca.crt").display().to_string();
    let localhost = db.url.replace("127.0.0.1", "localhost");
    let dry = with(&["--dry-run"]);
    let try_it = async |url: &str, parameters: &str, more: &[&str]| {
        truncate_at(&format!("{url}?{parameters}"), &[&dry[..], more].concat()).await
    };
    let good = [
        try_it(&db.url, "sslmode=require", &[]).await,
        try_it(&localhost, &format!("sslmode=verify-full&sslrootcert={ca}"), &[]).await,
        try_it(&db.url, &format!("sslmode=verify-ca&sslrootcert={ca}"), &[]).await,
        try_it(&localhost, "sslmode=verify-full&sslrootcert=/elsewhere", &["--ca-file", &ca]).await,
        try_it(&localhost, "", &["--ca-file", &ca]).await,
        try_it(&localhost.replace("postgres://", "postgresql+asyncpg://"), "ssl=require", &[])
            .await,
    ];
    for ended in good {
        assert_eq!(ended.status, 0, "{ended:?}");
    }
    let other_host = try_it(&db.url, &format!("sslmode=verify-full&sslrootcert={ca}"), &[]).await;
    assert!(other_host.report().message.contains("another host"), "{other_host:?}");
    let other_ca = try_it(&localhost, "sslmode=verify-full", &[]).await;
    assert!(other_ca.report().message.contains("--ca-file"), "{other_ca:?}");
    let absent = try_it(&localhost, "sslmode=verify-full&sslrootcert=/elsewhere", &[]).await;
    assert_eq!(absent.refusal().0, "InvalidUrl");
}

#[tokio::test]
async fn the_url_never_shows_in_any_output() {
    let mut db = database("secrets").await;
    db.role("with_password_1").await;
    db.run("ALTER ROLE with_password_1 PASSWORD 's3cr3t p@ss'").await;
    let at = db.url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let port = at.split(':').nth(1).unwrap().to_owned();
    let user = "with_password_1";
    let urls = [
        format!("postgres://{user}:s3cr3t%20p%40ss@{at}/t_secrets"),
        format!("postgres://{user}:wr0ngs3cr3t@{at}/t_secrets"),
        format!("postgres://{user}:s3cr3t%20p%40ss@{at}/absent_db"),
        format!("postgres://{user}:s3cr3t@127.0.0.1:1/t_secrets"),
        format!("postgres://{user}:s3cr3t@no-such-s3cr3t-host.invalid:{port}/t_secrets"),
        format!("postgres://{user}:s3cr3t@s3cr3thost"),
        format!("postgres://{user}:s3cr3t/pass@{at}/t_secrets"),
        format!("postgres://{user}:12s3cr3t/@:{at}/t_secrets"),
        format!("mysql://{user}:s3cr3t@{at}/t_secrets"),
        format!("{user}:s3cr3t@{at}"),
        format!("s3cr3t://{user}:s3cr3t@{at}/x"),
        format!("postgres://{user}:s3cr3t@{at}/t_secrets?sslmode=s3cr3t"),
        format!("postgres://{user}@{at}/t_secrets?s3cr3t_ssl=1"),
        format!("postgres://{user}@{at}/t_secrets?s3cr3t=1&password=s3cr3t"),
        format!("postgres://{user}:s3cr3t@{at}/t_secrets?sslmode=require&sslrootcert=/s3cr3t"),
        format!("postgres://{user}:s3cr3t@{at}/t_secrets?options=s3cr3t"),
        format!("postgres://{user}:s3cr3t%20p%40ss@{at}/t_secrets?options=-c%20s3cr3t=1"),
    ];
    let mut statuses = Vec::new();
    for url in &urls {
        for more in [&[][..], &["--dry-run"]] {
            let file = std::env::temp_dir().join("torpor-secrets-report");
            let ended = command(url, &with(more))
                .env("RUST_LOG", "trace")
                .arg("--report")
                .arg(&file)
                .output()
                .await
                .unwrap();
            let json = std::fs::read_to_string(&file).unwrap();
            let out = format!(
                "{}{}{json}",
                String::from_utf8_lossy(&ended.stdout),
                String::from_utf8_lossy(&ended.stderr)
            );
            for secret in ["s3cr3t", "p@ss", "p%40ss", user, &at, "no-such", "127.0.0.1"] {
                assert!(!out.contains(secret), "{url} shows {secret}: {out}");
            }
            statuses.push(ended.status.code().unwrap());
        }
    }
    // The first one gets in, is not allowed to truncate, and is told so.
    assert_eq!(statuses[..6], [3, 3, 1, 1, 1, 1], "{statuses:?}");
    let ended = command("", &with(&["postgres://u:s3cr3t@h/d"])).output().await.unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert!(!String::from_utf8_lossy(&ended.stderr).contains("s3cr3t"));
    let help = command(&urls[0], &["--help"]).output().await.unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("s3cr3t"));
}

#[tokio::test]
async fn a_url_can_come_from_a_file() {
    let db = database("url_file").await;
    let file = std::env::temp_dir().join("torpor-url-file");
    std::fs::write(&file, format!("{}\n", db.url)).unwrap();
    let path = file.display().to_string();
    truncate_at("mysql://not/this", &with(&["--url-file", &path])).await.done();
    let ended = truncate_at(&db.url, &with(&["--url-file", "/nonexistent/s3cr3t"])).await;
    assert_eq!(ended.refusal().0, "InvalidUrl");
}

#[tokio::test]
async fn a_command_line_that_cannot_work_has_an_exit_status_of_its_own() {
    for arguments in [
        &["--lock-timeout", "0s"][..],
        &["--lock-timeout", "soon"],
        &["--not-after", "tomorrow"],
        &["--scope", "Everything"],
        &["--frobnicate"],
    ] {
        let ended = command("postgres://u@h/d", arguments).output().await.unwrap();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
    }
    let ended = truncate_at("postgres://u@h/d", &["--report", "/nonexistent/report"]).await;
    assert_eq!(ended.status, 2, "twice the same option: {ended:?}");
    let mut run = command("postgres://u@h/d", &["--report", "/nonexistent/report"]);
    assert_eq!(run.output().await.unwrap().status.code(), Some(3));
}

#[tokio::test]
async fn a_thousand_partitions_are_reported_within_the_limit() {
    let mut db = Database::new("thousand").await;
    db.run("CREATE TABLE events (at int) PARTITION BY RANGE (at);
        DO $$ BEGIN FOR n IN 0..399 LOOP EXECUTE format(
            'CREATE TABLE events_with_a_rather_long_name_%s PARTITION OF events FOR VALUES FROM (%s) TO (%s)', n, n, n + 1);
        END LOOP; END $$; INSERT INTO events SELECT generate_series(0, 399); ANALYZE").await;
    let ended =
        db.truncate(&["--runtime", "events", "--preserved", "", "--opportunities", ""]).await;
    let report = ended.done();
    assert!(ended.json.len() <= 4096, "{}", ended.json.len());
    assert_eq!((report.totals.tables, report.totals.rows), (401, 400));
    assert_eq!(report.tables.len() as u64 + report.omitted_tables, 401);
}

#[tokio::test]
async fn a_server_that_crashes_is_worth_another_try() {
    let own = postgres::start();
    let mut db = Database::on(&own, "crash").await;
    db.run(TABLES).await;
    let postmaster = std::fs::read_to_string(own.directory.join("data/postmaster.pid"));
    let pid = postmaster.unwrap().lines().next().unwrap().to_owned();
    let url = proxy(&db.url, "TRUNCATE TABLE", Cut::Hold(Duration::from_secs(2))).await;
    let run = truncate_at(&url, &LISTS);
    let crash = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // SIGQUIT is an immediate shutdown.
        std::process::Command::new("kill").args(["-QUIT", &pid]).status().unwrap();
    };
    let (ended, ()) = tokio::join!(run, crash);
    assert_eq!(ended.status, 1, "{ended:?}");
}
