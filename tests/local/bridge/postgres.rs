//! `torpor bridge postgres` against a real PostgreSQL.

use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;
use torpor::deals::types::Term;

use crate::support::bridge::{Bridge, command, detail, ends, problem};
use crate::support::folder::Folder;
use crate::support::market::{deals, failures, orders, payloads, tasks, unsigned};
use crate::support::postgres::Database;
use crate::support::token::{AUDIENCE, ISSUER, Key, SUBJECT, set};

/// Cornice's tables. Their orders are open until they are closed.
const CORNICE: &str = include_str!("../support/postgres/cornice.sql");
const OPEN_ORDERS: &str = "
ALTER TABLE execution_orders ADD state text NOT NULL DEFAULT 'open';
UPDATE execution_orders SET state = 'filled' WHERE id > 3;
CREATE TABLE settings (maintenance_at timestamptz);
INSERT INTO settings VALUES (NULL);
";
const QUERY: &str = "SELECT id::text, 'order' AS kind, NULL AS term, NULL::timestamptz AS ends_at, \
                     state AS restore FROM execution_orders WHERE state = 'open'";
const ANNOUNCE: &str = "UPDATE settings SET maintenance_at = $1";
const DRAIN: &str = "UPDATE execution_orders SET state = 'withdrawn' WHERE id::text = ANY($1)";
const RESUME: &str = "UPDATE execution_orders o SET state = r.state \
                      FROM unnest($1::text[], $2::text[]) AS r (id, state) WHERE o.id::text = r.id";

const OPEN: [&str; 3] = ["--listen", "127.0.0.1:0", "--insecure-no-authentication"];

fn on(url: &str, arguments: &[&str]) -> Command {
    let mut command = command(&["postgres"]);
    command.args(arguments).env("DATABASE_URL", url);
    command
}

async fn bridge(db: &Database, arguments: &[&str]) -> Bridge {
    let mut command = on(&db.url, arguments);
    command.args(OPEN);
    Bridge::start(command, None).await
}

/// Returns the columns of a query as a user writes them.
fn row(id: &str, kind: &str, term: &str, ends_at: &str) -> String {
    format!("SELECT {id} AS id, {kind} AS kind, {term} AS term, {ends_at} AS ends_at")
}

#[tokio::test]
async fn cornices_open_orders_are_withdrawn_and_offered_again() {
    let mut db = Database::new("bridge_cornice").await;
    db.run(CORNICE).await;
    db.run(OPEN_ORDERS).await;
    let all = ["--query", QUERY, "--announce", ANNOUNCE, "--drain", DRAIN, "--resume", RESUME];
    let bridge = bridge(&db, &all).await;
    let seen = bridge.commitments().await;
    assert_eq!((orders(&seen), deals(&seen), tasks(&seen)), (vec!["1", "2", "3"], vec![], vec![]));

    const AT: &str =
        "SELECT coalesce(extract(epoch FROM maintenance_at)::text, 'none') FROM settings";
    let at = json!({"at": "2030-12-01T02:00:00.25Z"});
    assert_eq!(bridge.change("PUT", "/v1/maintenance", 1, &at).await.status, 204);
    assert_eq!(db.text(AT).await, "1922320800.250000");
    assert_eq!(bridge.change("DELETE", "/v1/maintenance", 1, &Value::Null).await.status, 204);
    assert_eq!(db.text(AT).await, "none");

    bridge.drain(1, &json!({"orders": ["1", "3", "99", "x' OR true --"], "deals": ["d"]})).await;
    let drained =
        bridge.until("drained", |seen| orders(seen) == ["2"] && !failures(seen).is_empty());
    assert_eq!(
        failures(&drained.await),
        [("d", "--drain has no parameter $2: add it, or wait until the application ends this")]
    );
    const STATES: &str =
        "SELECT string_agg(id || state, ' ' ORDER BY id) FROM execution_orders WHERE id < 5";
    assert_eq!(db.text(STATES).await, "1withdrawn 2open 3withdrawn 4filled");
    for _ in 0..2 {
        assert_eq!(bridge.resume(1, &payloads(&seen)).await.status, 204);
        assert_eq!(db.text(STATES).await, "1open 2open 3open 4filled");
    }
}

/// Nothing is lost silently: the refusal says what to do, and stays until it is done.
#[tokio::test]
async fn another_url_refuses_what_the_former_one_has_signed_until_it_is_put_back() {
    let mut db = Database::new("bridge_rotation").await;
    db.run(CORNICE).await;
    db.run(OPEN_ORDERS).await;
    let all = ["--query", QUERY, "--drain", DRAIN, "--resume", RESUME];
    let withdrawn = {
        let bridge = bridge(&db, &all).await;
        let seen = payloads(&bridge.commitments().await);
        bridge.drain(1, &json!({"orders": ["1", "2", "3"]})).await;
        bridge.until("drained", |seen| orders(seen).is_empty()).await;
        seen
    };
    let start = async |url: &str| {
        let mut command = on(url, &all);
        command.args(OPEN);
        Bridge::start(command, None).await
    };
    // As after the rotation of a password: the same database, by another URL.
    let rotated = start(&format!("{}?application_name=rotated", db.url)).await;
    for _ in 0..2 {
        let answer = rotated.resume(1, &withdrawn).await;
        assert_eq!(problem(&answer), (422, "invalid-restore".to_owned()));
        assert!(detail(&answer).contains("the Secret has changed since"), "{answer:?}");
        assert!(orders(&rotated.commitments().await).is_empty());
    }
    let back = start(&db.url).await;
    assert_eq!(back.resume(1, &withdrawn).await.status, 204);
    assert_eq!(orders(&back.commitments().await), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_row_is_what_it_says() {
    let mut db = Database::new("bridge_rows").await;
    let rows = [
        row("'1'", "'deal'", "'Fixed'", "'2030-12-01 02:00:00.000001+00'::timestamptz"),
        row("'2'", "'deal'", "'Open'", "NULL::timestamptz"),
        row("'2'", "'task'", "NULL", "NULL"),
        row("'2'::varchar", "'order'", "NULL", "NULL"),
    ];
    let bridge = bridge(&db, &["--query", &rows.join(" UNION ALL ")]).await;
    let seen = bridge.commitments().await;
    let terms: Vec<Term> = seen.deals.as_slice().iter().map(|deal| deal.term).collect();
    let ends_at = "2030-12-01T02:00:00.000001Z".parse().unwrap();
    assert_eq!(terms, [Term::Fixed { ends_at }, Term::Open]);
    assert_eq!((orders(&seen), tasks(&seen)), (vec!["2"], vec!["2"]));
    assert_eq!(unsigned(seen.orders.as_slice()[0].restore.as_str()), "");
    // Without statements the bridge changes nothing, and reports failures.
    bridge.drain(1, &json!({"orders": ["2"]})).await;
    let seen = bridge.until("the failure is reported", |seen| !failures(seen).is_empty()).await;
    assert!(failures(&seen)[0].1.contains("has no --drain"), "{seen:?}");
    assert_eq!(bridge.resume(1, &payloads(&seen)).await.status, 204);
    assert_eq!(bridge.change("DELETE", "/v1/maintenance", 1, &Value::Null).await.status, 204);
    db.run("SELECT 1").await;
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_a_problem_that_says_why() {
    let mut db = Database::new("bridge_nonsense").await;
    db.run("CREATE TABLE t (id text, kind text, term text, ends_at timestamptz)").await;
    let bridge = bridge(&db, &["--query", "SELECT * FROM t"]).await;
    for (values, text) in [
        ("(NULL, 'task', NULL, NULL)", "row 1: its id is null"),
        ("('', 'task', NULL, NULL)", "its id is invalid: an id has 1 to 256"),
        ("('1', 'Task', NULL, NULL)", "its kind is deal, order or task, not Task"),
        ("('1', NULL, NULL, NULL)", "deal, order or task, not null"),
        ("('1', 'deal', NULL, NULL)", "the term of a deal is Fixed or Open, not null"),
        ("('1', 'deal', 'Forward', now())", "Fixed or Open, not Forward"),
        ("('1', 'deal', 'Fixed', NULL)", "needs ends_at"),
        ("('1', 'deal', 'Open', now())", "has no ends_at"),
        ("('1', 'deal', 'Fixed', 'infinity')", "infinity is not a time"),
        ("('1', 'order', 'Open', NULL)", "only deals have term, ends_at and counterparty"),
        ("('1', 'task', NULL, now())", "only deals have term, ends_at and counterparty"),
        ("('1', 'task', NULL, NULL), ('1', 'task', NULL, NULL)", "the task 1 twice"),
    ] {
        db.run(&format!("TRUNCATE t; INSERT INTO t VALUES {values}")).await;
        let answer = bridge.observe().await;
        assert_eq!(problem(&answer), (502, "market-invalid".to_owned()), "{values}");
        assert!(detail(&answer).contains(text), "{values}: {answer:?}");
    }
    db.run("TRUNCATE t; INSERT INTO t SELECT n::text, 'task' FROM generate_series(1, 10001) n")
        .await;
    assert!(detail(&bridge.observe().await).contains("more than 10000 rows"));
    db.run("DELETE FROM t WHERE id = '1'").await;
    assert_eq!(tasks(&bridge.commitments().await).len(), 10_000);
    db.run("ALTER TABLE t RENAME COLUMN kind TO sort").await;
    let answer = bridge.observe().await;
    assert_eq!(problem(&answer), (500, "misconfigured".to_owned()));
    assert!(detail(&answer).contains("it also returns sort: remove that column"), "{answer:?}");
}

#[tokio::test]
async fn statements_that_do_not_fit_are_refused_at_the_start() {
    let mut db = Database::new("bridge_statements").await;
    db.run("CREATE TABLE t (id text, at timestamp)").await;
    let good = row("'1'", "'task'", "NULL", "NULL::timestamptz");
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["SELECT 1"], "must return the columns id text, kind text"),
        (vec!["SELECT '1' AS id, 'task' AS kind, NULL AS term"], "does not return ends_at"),
        (
            vec!["SELECT 1 AS id, 'task' AS kind, NULL AS term, now() AS ends_at"],
            "id is int4: cast it, id::text",
        ),
        (
            vec!["SELECT '1' AS id, 'task' AS kind, NULL AS term, at AS ends_at FROM t"],
            "ends_at is timestamp: cast it, ends_at::timestamptz",
        ),
        (
            vec!["SELECT '1' AS id, '2' AS id, 'task' AS kind, NULL AS term, now() AS ends_at"],
            "returns id twice",
        ),
        (
            vec![
                "SELECT '1' AS id, 'task' AS kind, NULL AS term, now() AS ends_at, 1 AS counter_party",
            ],
            "it also returns counter_party: remove that column",
        ),
        (
            vec!["SELECT $1 AS id, 'task' AS kind, NULL AS term, now() AS ends_at"],
            "takes no parameters",
        ),
        (vec!["SELECT 1; DROP TABLE t"], "cannot insert multiple commands"),
        (vec!["COMMIT"], "must return the columns"),
        (vec!["SELEC"], "syntax error"),
        (vec!["SELECT * FROM missing"], "missing"),
        (vec![&good, "--announce", "UPDATE t SET id = 'x'"], "--announce takes $1 timestamptz"),
        (
            vec![&good, "--announce", "UPDATE t SET at = $1"],
            "its $1 is timestamp: cast it, $1::timestamptz",
        ),
        (
            vec![&good, "--announce", "SELECT $1::timestamptz, $2::text"],
            "this statement has 2 parameters",
        ),
        (
            vec![&good, "--drain", "DELETE FROM t", "--resume", "SELECT $1::text[]"],
            "--drain takes $1 text[] orders",
        ),
        (
            vec![&good, "--drain", "DELETE FROM t WHERE id = $1", "--resume", "SELECT $1::text[]"],
            "its $1 is text: cast it, $1::text[]",
        ),
        (
            vec![
                &good,
                "--drain",
                "SELECT $1::text[]",
                "--resume",
                "SELECT $1::text[], $2::text[], $3::text[]",
            ],
            "--resume takes $1",
        ),
    ];
    for (statements, text) in cases {
        let arguments = [&["--query"], &statements[..], &OPEN].concat();
        let (status, error) = ends(&mut on(&db.url, &arguments)).await;
        assert_eq!(status, 1, "{statements:?}: {error}");
        assert!(error.contains(text), "{statements:?}: {error}");
    }
    let alone = [&["--query", &good, "--drain", "SELECT $1::text[]"], &OPEN[..]].concat();
    let (status, error) = ends(&mut on(&db.url, &alone)).await;
    assert!(status == 2 && error.contains("--resume"), "{error}");
    assert_eq!(db.count("t").await, 0);
}

#[tokio::test]
async fn an_observation_changes_nothing() {
    let mut db = Database::new("bridge_reads").await;
    db.run("CREATE TABLE t (id text); INSERT INTO t VALUES ('1')").await;
    let query = "WITH gone AS (DELETE FROM t RETURNING id) \
                 SELECT id, 'task' AS kind, NULL AS term, NULL::timestamptz AS ends_at FROM gone";
    let bridge = bridge(&db, &["--query", query]).await;
    let answer = bridge.observe().await;
    assert_eq!(problem(&answer), (500, "misconfigured".to_owned()));
    assert!(detail(&answer).contains("read-only transaction"), "{answer:?}");
    assert_eq!(db.count("t").await, 1);
}

#[tokio::test]
async fn a_change_that_fails_is_said_and_leaves_nothing_half_done() {
    let mut db = Database::new("bridge_fails").await;
    db.run("CREATE TABLE t (id text CHECK (id <> 'bad'))").await;
    let order = |id: &str| row(id, "'order'", "NULL", "NULL::timestamptz");
    let query = format!("{} UNION ALL {}", order("'good'"), order("'bad'"));
    let insert = "INSERT INTO t SELECT unnest($1::text[])";
    let all = ["--query", &query, "--drain", insert, "--resume", insert];
    let bridge = bridge(&db, &all).await;
    bridge.drain(1, &json!({"orders": ["good", "bad"]})).await;
    let seen = bridge.until("the failure is reported", |seen| failures(seen).len() == 2).await;
    assert!(failures(&seen)[0].1.contains("violates check constraint"), "{seen:?}");
    let answer = bridge.resume(1, &payloads(&seen)).await;
    assert_eq!(problem(&answer), (502, "market-refused".to_owned()));
    assert_eq!(db.count("t").await, 0);
}

#[tokio::test]
async fn a_database_that_is_slow_or_away_is_a_problem_and_no_secret_shows() {
    let db = Database::new("bridge_slow").await;
    let query = row("'1'", "'task'", "NULL", "NULL::timestamptz") + " FROM pg_sleep(20)";
    let slow = bridge(&db, &["--query", &query, "--statement-timeout", "200ms"]).await;
    let answer = slow.observe().await;
    assert_eq!(problem(&answer), (504, "market-timeout".to_owned()));

    for (url, status, error) in [
        ("postgresql+asyncpg://cornice:s3cr3t-w0rd@127.0.0.1:1/shop".to_owned(), 0, ""),
        ("mysql://cornice:s3cr3t-w0rd@db/shop".to_owned(), 1, "only PostgreSQL is supported"),
        (String::new(), 1, "URL is empty"),
    ] {
        let arguments = [&["--query", &query], &OPEN[..]].concat();
        let mut command = on(&url, &arguments);
        if status == 0 {
            let bridge = Bridge::start(command, None).await;
            let answer = bridge.observe().await;
            assert_eq!(problem(&answer), (503, "market-unreachable".to_owned()));
            let text = format!("{answer:?} {}", bridge.log());
            assert!(text.contains("connection was refused"), "{text}");
            assert!(!text.contains("s3cr3t") && !text.contains("cornice"), "{text}");
        } else {
            let (ended, text) = ends(&mut command).await;
            assert_eq!(ended, status, "{text}");
            assert!(text.contains(error) && !text.contains("s3cr3t"), "{text}");
        }
    }
}

/// Sends good and bad requests that schemathesis generates from the contract.
#[tokio::test]
async fn schemathesis_finds_nothing() {
    let mut db = Database::new("bridge_schemathesis").await;
    db.run(CORNICE).await;
    db.run(OPEN_ORDERS).await;
    let key = Key::rsa();
    let folder = Folder::new("schemathesis");
    folder.write("jwks.json", &set(&[key]));
    let all = ["--query", QUERY, "--announce", ANNOUNCE, "--drain", DRAIN, "--resume", RESUME];
    let mut command = on(&db.url, &all);
    command
        .args(["--listen", "127.0.0.1:0", "--audience", AUDIENCE, "--issuer", ISSUER])
        .args(["--subject", SUBJECT, "--config-dir"])
        .arg(folder.path());
    let bridge = Bridge::start(command, None).await;
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/schemathesis"))
        .arg(format!("http://{}", bridge.address))
        .env("TOKEN", key.token())
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}\n{}", bridge.log());
    for operation in
        ["maintenance announced", "announcement withdrawn", "drain started", "orders resumed"]
    {
        assert!(bridge.log().contains(operation), "{operation} was never reached");
    }
}
