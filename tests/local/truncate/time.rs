//! `--not-after`: a command that starts too late, by the database's clock, does nothing.

use sqlx::Executor as _;

use super::case::{database, waited_for, with};
use crate::support::pausing_proxy::PausingProxy;
use crate::support::postgres::{Database, Ended, truncate_at};

shown! {
    a_run_that_begins_after_its_time,
    a_run_that_comes_to_life_after_its_time_before_it_truncates,
    a_run_that_comes_to_life_after_its_time_before_it_commits,
    a_wait_for_locks_does_not_carry_it_over_its_time,
    a_run_within_its_time,
}

/// Seconds within which the command surely starts, even on a machine that stalls. It must be less
/// than the 30 s that a run tolerates between two messages.
const SOON: &str = "8";

/// Returns the time in so many seconds, by the database's clock.
async fn after(db: &mut Database, seconds: &str) -> String {
    db.text(&format!(
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '{seconds}s', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
    ))
    .await
}

/// Replaces the time in the arguments, so that the page is the same in each run.
fn shown_as(mut ended: Ended) -> Ended {
    let option = ended.arguments.iter().position(|argument| argument == "--not-after").unwrap();
    "2026-12-24T20:00:00Z".clone_into(&mut ended.arguments[option + 1]);
    ended
}

/// Delays the message that contains this word until the deadline has passed.
async fn held_before(name: &str, word: &'static str) -> Ended {
    let mut db = database(name).await;
    let mut proxy = PausingProxy::before(&db.url, word).await;
    let url = proxy.url.clone();
    let time = after(&mut db, SOON).await;
    let arguments = with(&["--not-after", &time]);
    let hold = async {
        proxy.reached().await;
        db.until(&format!("clock_timestamp() > '{time}'::timestamptz")).await;
        proxy.pass().await;
    };
    let (ended, ()) = tokio::join!(truncate_at(&url, &arguments), hold);
    assert_eq!(ended.refusal().0, "NotAfterPassed", "{ended:?}");
    assert_eq!((db.count("jobs").await, db.count("logs").await), (10, 10));
    shown_as(ended)
}

async fn a_run_that_begins_after_its_time() -> Ended {
    let mut db = database("late").await;
    let time = after(&mut db, "0").await;
    let planned = db.truncate(&with(&["--not-after", &time, "--dry-run"])).await;
    assert_eq!(planned.refusal().0, "NotAfterPassed");
    let ended = db.truncate(&with(&["--not-after", &time])).await;
    assert_eq!(ended.refusal().0, "NotAfterPassed");
    assert_eq!(db.count("jobs").await, 10);
    shown_as(ended)
}

async fn a_run_that_comes_to_life_after_its_time_before_it_truncates() -> Ended {
    held_before("late_truncate", "TRUNCATE TABLE").await
}

async fn a_run_that_comes_to_life_after_its_time_before_it_commits() -> Ended {
    held_before("late_commit", "COMMIT\0").await
}

async fn a_wait_for_locks_does_not_carry_it_over_its_time() -> Ended {
    let mut db = database("fence").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; SELECT FROM jobs").await.unwrap();
    let time = after(&mut db, SOON).await;
    let arguments = with(&["--not-after", &time, "--lock-timeout", "60s"]);
    let url = db.url.clone();
    let release = async {
        db.until(&waited_for("jobs")).await;
        db.until(&format!("clock_timestamp() > '{time}'::timestamptz")).await;
        rival.execute("COMMIT").await.unwrap();
    };
    let (ended, ()) = tokio::join!(truncate_at(&url, &arguments), release);
    assert_eq!(ended.refusal().0, "NotAfterPassed", "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
    shown_as(ended)
}

async fn a_run_within_its_time() -> Ended {
    let mut db = database("in_time").await;
    let ended = db.truncate(&with(&["--not-after", "2099-01-01T00:00:00Z"])).await;
    ended.done();
    assert_eq!(db.count("jobs").await, 0);
    shown_as(ended)
}
