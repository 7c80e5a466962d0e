//! The connection is cut, the session ends or the server crashes, before TRUNCATE, before COMMIT or
//! during it. The command finds out whether it has committed.

use super::case::{LISTS, analyze, base, database};
use super::server::own;
use crate::support::pausing_proxy::PausingProxy;
use crate::support::postgres::{Database, Ended, truncate_at};

shown! {
    a_server_that_is_not_there,
    a_connection_cut_before_truncate,
    a_connection_cut_after_truncate,
    a_commit_that_never_arrived,
    a_commit_whose_answer_was_lost,
    a_session_that_an_administrator_ends,
    a_server_that_crashes_before_truncate,
    a_server_that_crashes_before_commit,
    a_server_that_crashes_after_commit,
}

/// Returns the number of rows in all tables.
async fn rows(db: &mut Database) -> i64 {
    db.count("jobs").await + db.count("logs").await
}

async fn a_server_that_is_not_there() -> Ended {
    let ended = truncate_at("postgres://app@/d?host=/nonexistent", &LISTS).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    let ended = truncate_at("postgres://app@no-such-host.invalid/d", &LISTS).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    let ended = truncate_at("postgres://app@127.0.0.1:1/d", &LISTS).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    ended
}

/// When a connection is cut.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Cut {
    /// The server has not got the message.
    Before,
    /// The server has answered it, and the answer is lost.
    After,
}

/// Cuts the connection at a message, and returns how the command ended and the rows that are left.
async fn cut(name: &str, message: &'static str, when: Cut) -> (Ended, i64) {
    let mut db = database(name).await;
    let mut proxy = PausingProxy::before(&db.url, message).await;
    let url = proxy.url.clone();
    let cut = async {
        proxy.reached().await;
        if when == Cut::After {
            proxy.swallow_answer().await;
        }
        proxy.cut().await;
    };
    let (ended, ()) = tokio::join!(truncate_at(&url, &LISTS), cut);
    (ended, rows(&mut db).await)
}

async fn a_connection_cut_before_truncate() -> Ended {
    let (ended, rows) = cut("cut_before", "TRUNCATE TABLE", Cut::Before).await;
    assert_eq!((ended.status, rows), (1, 20), "{ended:?}");
    ended
}

async fn a_connection_cut_after_truncate() -> Ended {
    let (ended, rows) = cut("cut_after", "TRUNCATE TABLE", Cut::After).await;
    assert_eq!((ended.status, rows), (1, 20), "{ended:?}");
    ended
}

async fn a_commit_that_never_arrived() -> Ended {
    let (ended, rows) = cut("commit_before", "COMMIT\0", Cut::Before).await;
    assert_eq!((ended.status, rows), (1, 20), "{ended:?}");
    ended
}

async fn a_commit_whose_answer_was_lost() -> Ended {
    let (ended, rows) = cut("commit_after", "COMMIT\0", Cut::After).await;
    assert_eq!((ended.status, rows), (0, 0), "{ended:?}");
    ended
}

async fn a_session_that_an_administrator_ends() -> Ended {
    let mut db = database("terminated").await;
    let mut proxy = PausingProxy::before(&db.url, "TRUNCATE TABLE").await;
    let url = proxy.url.clone();
    let end = async {
        proxy.reached().await;
        db.run(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'torpor truncate'",
        )
        .await;
        proxy.pass().await;
    };
    let (ended, ()) = tokio::join!(truncate_at(&url, &LISTS), end);
    assert_eq!((ended.status, rows(&mut db).await), (1, 20), "{ended:?}");
    ended
}

/// How far a message gets before the server crashes.
enum Crash {
    Before(&'static str),
    After(&'static str),
}

/// Restarts the server in `immediate` mode at this moment.
async fn crashed(name: &str, crash: Crash, status: i32, left: i64) -> Ended {
    let own = own().await;
    let mut db = Database::on(&own, name).await;
    db.run(base()).await;
    analyze(&mut db).await;
    let (Crash::Before(word) | Crash::After(word)) = crash;
    let mut proxy = PausingProxy::before(&db.url, word).await;
    let url = proxy.url.clone();
    let harm = async {
        proxy.reached().await;
        if matches!(crash, Crash::After(_)) {
            proxy.swallow_answer().await;
        }
        own.ctl(&["restart", "-m", "immediate"]);
        proxy.cut().await;
    };
    let (ended, ()) = tokio::join!(truncate_at(&url, &LISTS), harm);
    let mut db = db.again().await;
    assert_eq!((ended.status, rows(&mut db).await), (status, left), "{ended:?}");
    ended
}

async fn a_server_that_crashes_before_truncate() -> Ended {
    crashed("crash_truncate", Crash::Before("TRUNCATE TABLE"), 1, 20).await
}

async fn a_server_that_crashes_before_commit() -> Ended {
    crashed("crash_before_commit", Crash::Before("COMMIT\0"), 1, 20).await
}

async fn a_server_that_crashes_after_commit() -> Ended {
    crashed("crash_after_commit", Crash::After("COMMIT\0"), 0, 0).await
}
