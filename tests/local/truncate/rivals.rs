//! Concurrent sessions on the same tables: locks, the queue behind them, deadlocks, two runs at
//! once, signals.

use std::process::Stdio;

use sqlx::{AssertSqlSafe, Executor as _};

use super::case::{LISTS, database, waited_for, with};
use crate::support::postgres::{Database, Ended, command, ended_of, server, truncate_at};
use crate::support::wait::TIMEOUT;

shown! {
    a_table_in_use_is_worth_another_try_and_its_user_is_named,
    a_user_who_is_another_role_is_named_as_far_as_may_be_seen,
    a_prepared_transaction_that_uses_a_table_is_named,
    whoever_queues_behind_it_waits_no_longer_than_the_lock_timeout,
    all_locks_together_are_waited_for_no_longer_than_the_lock_timeout,
    sequences_in_use_are_waited_for_no_longer_than_the_lock_timeout,
    tables_that_were_not_asked_for_are_not_waited_for,
    a_dry_run_is_not_held_up_by_a_locked_table,
    a_deadlock_is_resolved_at_its_cost,
    two_at_once_come_one_after_the_other,
    another_run_that_does_not_end_is_not_waited_for_any_longer,
    a_wait_that_an_administrator_cancels,
    a_partition_that_is_half_detached,
    a_signal_ends_it_and_frees_the_tables,
}

async fn a_table_in_use_is_worth_another_try_and_its_user_is_named() -> Ended {
    let mut db = database("in_use").await;
    let mut rival = db.rival().await;
    rival.execute("SET application_name = 'report maker'; BEGIN; SELECT FROM logs").await.unwrap();
    let ended = db.truncate(&with(&["--lock-timeout", "200ms"])).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    assert_eq!((db.count("jobs").await, db.count("logs").await), (10, 10));
    ended
}

async fn a_user_who_is_another_role_is_named_as_far_as_may_be_seen() -> Ended {
    let mut db = database("in_use_by_other").await;
    let url = db.role("sees_little").await;
    db.run("ALTER TABLE jobs OWNER TO sees_little; ALTER TABLE logs OWNER TO sees_little").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; SELECT FROM logs").await.unwrap();
    let ended = truncate_at(&url, &with(&["--lock-timeout", "200ms"])).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    ended
}

async fn a_prepared_transaction_that_uses_a_table_is_named() -> Ended {
    let mut db = database("prepared").await;
    let mut rival = db.rival().await;
    let prepare = "BEGIN; INSERT INTO logs (line) VALUES ('x'); PREPARE TRANSACTION 'two phases'";
    rival.execute(prepare).await.unwrap();
    let ended = db.truncate(&with(&["--lock-timeout", "200ms"])).await;
    db.run("ROLLBACK PREPARED 'two phases'").await;
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.report().message.contains("prepared transaction 'two phases'"), "{ended:?}");
    ended
}

async fn whoever_queues_behind_it_waits_no_longer_than_the_lock_timeout() -> Ended {
    let mut db = database("queue").await;
    let mut report = db.rival().await;
    report.execute("BEGIN; SELECT FROM logs").await.unwrap();
    let url = db.url.clone();
    let arguments = with(&["--lock-timeout", "1s"]);
    let application = async {
        db.until(&waited_for("logs")).await;
        // It has jobs and waits for logs; what comes for jobs queues up, and goes on though logs stays
        // in use.
        db.rival().await.execute("SELECT FROM jobs").await.unwrap();
    };
    let both = async { tokio::join!(truncate_at(&url, &arguments), application) };
    let both = tokio::time::timeout(TIMEOUT, both).await;
    let (ended, ()) = both.expect("whoever queues waits for as long as the table is in use");
    assert_eq!(ended.status, 1, "{ended:?}");
    report.execute("COMMIT").await.unwrap();
    ended
}

async fn all_locks_together_are_waited_for_no_longer_than_the_lock_timeout() -> Ended {
    let mut db = Database::new("lock_budget").await;
    let mut rivals = Vec::new();
    for name in ["t0", "t1", "t2"] {
        db.run(&format!("CREATE TABLE {name} (n int)")).await;
        let mut rival = db.rival().await;
        rival.execute(AssertSqlSafe(format!("BEGIN; SELECT FROM {name}"))).await.unwrap();
        rivals.push(rival);
    }
    let arguments = ["--runtime", "t0,t1,t2", "--lock-timeout", "4s"];
    let url = db.url.clone();
    // The first is free as soon as it is waited for; for the second the limit is not begun anew.
    let one_by_one = async {
        db.until(&waited_for("t0")).await;
        rivals[0].execute("COMMIT").await.unwrap();
    };
    let (ended, ()) = tokio::join!(truncate_at(&url, &arguments), one_by_one);
    assert_eq!(ended.status, 1, "{ended:?}");
    // Of two limits that are equal, one for each wait and one for all, the server names the one that has
    // passed: the one for the wait began later.
    let log = std::fs::read_to_string(server().directory.join("server.log")).unwrap();
    let mut lines = log.lines().peekable();
    let mut error = None;
    while let Some(line) = lines.next() {
        if lines.peek().is_some_and(|next| next.contains("STATEMENT") && next.contains("t0")) {
            error = Some(line);
        }
    }
    let error = error.expect("the server tells of the statement that it ended");
    assert!(error.ends_with("canceling statement due to statement timeout"), "{error}");
    ended
}

async fn tables_that_were_not_asked_for_are_not_waited_for() -> Ended {
    let mut db = database("bystanders").await;
    // The text of the default could name a sequence, so the command reads it.
    db.run(
        "CREATE TABLE visits (at timestamp DEFAULT timezone('utc'::text, now()));
        ALTER TABLE accounts ADD seen timestamp DEFAULT timezone('utc'::text, now()); ANALYZE",
    )
    .await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; LOCK TABLE accounts, visits IN ACCESS EXCLUSIVE MODE").await.unwrap();
    db.truncate(&with(&["--dry-run"])).await.done();
    let ended = db.truncate(&LISTS).await;
    ended.done();
    rival.execute("COMMIT").await.unwrap();
    assert_eq!((db.count("jobs").await, db.count("logs").await), (0, 0));
    assert_eq!(db.count("accounts").await, 10);
    ended
}

async fn sequences_in_use_are_waited_for_no_longer_than_the_lock_timeout() -> Ended {
    let mut db = database("sequences_in_use").await;
    let mut rivals = Vec::new();
    for sequence in ["jobs_id_seq", "logs_id_seq"] {
        let mut rival = db.rival().await;
        let take = format!("BEGIN; SELECT nextval('{sequence}')");
        rival.execute(AssertSqlSafe(take)).await.unwrap();
        rivals.push(rival);
    }
    let arguments = with(&["--lock-timeout", "1s"]);
    let ended = tokio::time::timeout(TIMEOUT, db.truncate(&arguments)).await;
    let ended = ended.expect("it waits for as long as the sequences are in use");
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.report().message.contains("the lock timeout"), "{ended:?}");
    for mut rival in rivals {
        rival.execute("COMMIT").await.unwrap();
    }
    assert_eq!((db.count("jobs").await, db.count("logs").await), (10, 10));
    let next = "SELECT concat(nextval('jobs_id_seq'), ' ', nextval('logs_id_seq'))";
    assert_eq!(db.text(next).await, "12 12");
    ended
}

async fn a_dry_run_is_not_held_up_by_a_locked_table() -> Ended {
    let mut db = database("dry_locked").await;
    db.run("VACUUM ANALYZE jobs").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let ended = db.truncate(&with(&["--dry-run"])).await;
    assert!(ended.done().totals.bytes > 0);
    rival.execute("COMMIT").await.unwrap();
    ended
}

async fn a_deadlock_is_resolved_at_its_cost() -> Ended {
    let mut db = database("deadlock").await;
    db.run("CREATE TABLE steps (n int)").await;
    // Whoever waits for so long looks for a deadlock, once: it, and never its rival. So it has to be
    // the one that closes the circle.
    db.run("ALTER DATABASE t_deadlock SET deadlock_timeout = '200ms'").await;
    let (mut holder, mut rival) = (db.rival().await, db.rival().await);
    holder.execute("BEGIN; LOCK TABLE logs").await.unwrap();
    rival.execute("SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE steps").await.unwrap();
    let url = db.url.clone();
    let arguments = ["--runtime", "jobs,logs,steps", "--lock-timeout", "10m"];
    let close = async {
        // It has jobs. The rival, which has steps, shall wait for that before steps is waited for.
        db.until(&waited_for("logs")).await;
        let next = async {
            db.until(&waited_for("jobs")).await;
            holder.execute("COMMIT").await.unwrap();
        };
        let (locked, ()) = tokio::join!(rival.execute("LOCK TABLE jobs; COMMIT"), next);
        locked.unwrap();
    };
    let (ended, ()) = tokio::join!(truncate_at(&url, &arguments), close);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
    ended
}

async fn two_at_once_come_one_after_the_other() -> Ended {
    let mut db = database("rivals").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; LOCK TABLE jobs IN ACCESS SHARE MODE").await.unwrap();
    let url = db.url.clone();
    let release = async {
        db.until(
            "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'jobs'::regclass)
             AND EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory')",
        )
        .await;
        rival.execute("COMMIT").await.unwrap();
    };
    let (first, second, ()) =
        tokio::join!(truncate_at(&url, &LISTS), truncate_at(&url, &LISTS), release);
    assert_eq!((first.status, second.status), (0, 0), "{first:?} {second:?}");
    assert_eq!(db.count("jobs").await, 0);
    // The one that came second found nothing to free. (Rows are an estimate, and may come late.)
    let (first, second): (Vec<Ended>, Vec<Ended>) =
        [first, second].into_iter().partition(|ended| ended.report().totals.bytes > 0);
    assert_eq!((first.len(), second.len()), (1, 1));
    first.into_iter().next().unwrap()
}

async fn another_run_that_does_not_end_is_not_waited_for_any_longer() -> Ended {
    let mut db = database("endless").await;
    let mut rival = db.rival().await;
    // The key of the lock: "torpor" in ASCII.
    rival.execute("SELECT pg_advisory_lock(x'746f72706f72'::bigint)").await.unwrap();
    let ended = db.truncate(&with(&["--lock-timeout", "100ms"])).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
    ended
}

async fn a_wait_that_an_administrator_cancels() -> Ended {
    let mut db = database("cancelled").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; SELECT FROM logs").await.unwrap();
    let url = db.url.clone();
    let cancel = async {
        db.until(&waited_for("logs")).await;
        db.run("SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted AND relation = 'logs'::regclass").await;
    };
    let arguments = with(&["--lock-timeout", "30s"]);
    let (ended, ()) = tokio::join!(truncate_at(&url, &arguments), cancel);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert_eq!(db.count("jobs").await, 10);
    ended
}

async fn a_partition_that_is_half_detached() -> Ended {
    let mut db = Database::new("detaching").await;
    db.run(
        "CREATE TABLE events (at int) PARTITION BY RANGE (at);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
        CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20);
        INSERT INTO events VALUES (5), (15); ANALYZE",
    )
    .await;
    // Its second half waits for whoever still sees the partition, and is broken off.
    let mut reader = db.rival().await;
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM events").await.unwrap();
    let mut detaching = db.rival().await;
    let detach = detaching.execute("ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY");
    let cancel = async {
        db.until("EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)").await;
        db.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ILIKE '%concurrently' AND pid <> pg_backend_pid()").await;
    };
    let (detached, ()) = tokio::join!(detach, cancel);
    assert!(detached.is_err());
    reader.execute("COMMIT").await.unwrap();
    let ended = db.truncate(&["--runtime", "events"]).await;
    assert_eq!(ended.refusal().0, "DetachingPartition", "{ended:?}");
    assert_eq!((db.count("events_1").await, db.count("events_2").await), (1, 1));
    db.run("ALTER TABLE events DETACH PARTITION events_1 FINALIZE").await;
    db.truncate(&["--runtime", "events"]).await.done();
    assert_eq!((db.count("events_1").await, db.count("events_2").await), (1, 0));
    ended
}

async fn a_signal_ends_it_and_frees_the_tables() -> Ended {
    let mut db = database("signal").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; SELECT FROM logs").await.unwrap();
    let arguments = with(&["--lock-timeout", "60s"]);
    let url = db.url.clone();
    let run = command(&url, &arguments).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let run = run.unwrap();
    db.until(&waited_for("logs")).await;
    let pid = run.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    let ended = run.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    // The server notices by client_connection_check_interval, though it is waiting for a lock.
    db.until(&format!("NOT {}", waited_for("logs"))).await;
    ended_of(&url, &arguments, ended, String::new())
}
