//! Other sessions of the database keep the tables as they are, until COMMIT.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::net::{TcpListener, TcpSocket};

use super::case::{database, with};
use crate::support::pausing_proxy::PausingProxy;
use crate::support::postgres::{Database, Ended, truncate_at, until};

shown! {
    a_session_from_one_of_the_addresses_keeps_the_tables_as_they_are,
    a_session_that_comes_before_the_locks_keeps_the_tables_as_they_are,
    a_session_that_comes_after_the_truncation_keeps_the_tables_as_they_are,
    a_dry_run_names_the_sessions_that_would_keep_the_tables_as_they_are,
    any_other_session_keeps_the_tables_as_they_are_where_that_is_asked_for,
    a_role_that_may_not_see_addresses_is_told_what_it_lacks,
    hidden_sessions_count_where_all_sessions_are_refused,
}

/// The address of a pod. Every other connection of these tests comes from 127.0.0.1.
const POD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Another address than that of any session, and the pod's.
const WATCHED: [&str; 2] = ["--sessions-from", "10.1.2.3,127.0.0.2"];

/// Returns the options of a connection that comes from the pod's address.
async fn from_pod(db: &Database) -> PgConnectOptions {
    let options: PgConnectOptions = db.url.parse().unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, options.get_port()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::from((POD, 0))).unwrap();
                let mut server = socket.connect(to).await.unwrap();
                // Ends when either side does, however.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    options.port(port).application_name("cornice worker")
}

async fn pod(db: &Database) -> PgConnection {
    from_pod(db).await.connect().await.unwrap()
}

async fn kept(db: &mut Database, ended: &Ended) {
    assert_eq!(ended.status, 4, "{ended:?}");
    assert_eq!((db.count("jobs").await, db.count("logs").await), (10, 10));
    assert_eq!(db.text("SELECT last_value::text FROM jobs_id_seq").await, "10");
}

async fn a_session_from_one_of_the_addresses_keeps_the_tables_as_they_are() -> Ended {
    let mut db = database("sessions").await;
    let (mut one, another) = (pod(&db).await, pod(&db).await);
    // Named before any lock is waited for.
    one.execute("BEGIN; LOCK TABLE logs IN ROW EXCLUSIVE MODE").await.unwrap();
    let ended = db.truncate(&with(&WATCHED)).await;
    kept(&mut db, &ended).await;
    let sessions = &ended.report().sessions;
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!((sessions[0].address, sessions[0].count), (Some(POD.into()), 2), "{sessions:?}");
    for session in [one, another] {
        session.close().await.unwrap();
    }
    db.until("NOT EXISTS (SELECT FROM pg_stat_activity WHERE client_addr = '127.0.0.2' AND datname = current_database())").await;
    // Those of other addresses are none of its business.
    db.truncate(&with(&WATCHED)).await.done();
    assert_eq!(db.count("jobs").await, 0);
    ended
}

/// Lets a session of the pod come just before the message that contains this word.
async fn comes_before(name: &str, word: &'static str) -> Ended {
    let mut db = database(name).await;
    let mut proxy = PausingProxy::before(&db.url, word).await;
    let (url, options) = (proxy.url.clone(), from_pod(&db).await);
    let comes = async {
        proxy.reached().await;
        let session = options.connect().await.unwrap();
        proxy.pass().await;
        session
    };
    let arguments = with(&WATCHED);
    let (ended, _session) = tokio::join!(truncate_at(&url, &arguments), comes);
    kept(&mut db, &ended).await;
    ended
}

async fn a_session_that_comes_before_the_locks_keeps_the_tables_as_they_are() -> Ended {
    comes_before("session_before", "LOCK TABLE").await
}

async fn a_session_that_comes_after_the_truncation_keeps_the_tables_as_they_are() -> Ended {
    comes_before("session_after", "pg_current_xact_id").await
}

async fn a_dry_run_names_the_sessions_that_would_keep_the_tables_as_they_are() -> Ended {
    let db = database("sessions_planned").await;
    let _session = pod(&db).await;
    let ended = db.truncate(&with(&[&WATCHED[..], &["--dry-run"]].concat())).await;
    assert_eq!(ended.done().sessions.len(), 1, "{ended:?}");
    ended
}

async fn any_other_session_keeps_the_tables_as_they_are_where_that_is_asked_for() -> Ended {
    let mut db = database("no_sessions").await;
    let ended = db.truncate(&with(&["--refuse-all-sessions"])).await;
    kept(&mut db, &ended).await;
    let url = db.url.clone();
    db.admin.close().await.unwrap();
    // A walsender is no client that could write.
    let options: PgConnectOptions = url.parse().unwrap();
    let mut walsender = Command::new("psql")
        .arg(format!("{url}?replication=database"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut elsewhere = options.database("postgres").connect().await.unwrap();
    until("only the walsender is connected", async || {
        let seen: Vec<String> = sqlx::query_scalar(
            "SELECT backend_type FROM pg_stat_activity WHERE datname = 't_no_sessions'",
        )
        .fetch_all(&mut elsewhere)
        .await
        .unwrap();
        seen == ["walsender"]
    })
    .await;
    truncate_at(&url, &with(&["--refuse-all-sessions"])).await.done();
    walsender.kill().unwrap();
    walsender.wait().unwrap();
    ended
}

/// Returns a database, and the URL of a role that sees little of the sessions of other roles.
async fn seen_by_little(name: &str, role: &str) -> (Database, String) {
    let mut db = database(name).await;
    let url = db.role(role).await;
    db.run(&format!("ALTER TABLE jobs OWNER TO {role}; ALTER TABLE logs OWNER TO {role}")).await;
    (db, url)
}

async fn a_role_that_may_not_see_addresses_is_told_what_it_lacks() -> Ended {
    let (mut db, url) = seen_by_little("hidden_sessions", "sees_no_address").await;
    let session = pod(&db).await;
    let ended = truncate_at(&url, &with(&[&WATCHED[..], &["--dry-run"]].concat())).await;
    // The superuser's and the pod's.
    assert_eq!(ended.done().hidden_sessions, 2, "{ended:?}");
    db.run("GRANT pg_read_all_stats TO sees_no_address").await;
    let seen = truncate_at(&url, &with(&WATCHED)).await;
    db.run("REVOKE pg_read_all_stats FROM sees_no_address").await;
    kept(&mut db, &seen).await;
    session.close().await.unwrap();
    ended
}

async fn hidden_sessions_count_where_all_sessions_are_refused() -> Ended {
    let (mut db, url) = seen_by_little("hidden_count", "sees_no_other").await;
    let ended = truncate_at(&url, &with(&["--refuse-all-sessions"])).await;
    kept(&mut db, &ended).await;
    ended
}
