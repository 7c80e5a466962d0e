//! Changes of the schema between the command's catalog reads, before and after it has its locks.

use sqlx::Executor as _;

use super::case::{LISTS, database, with};
use crate::support::pausing_proxy::PausingProxy;
use crate::support::postgres::{Database, Ended, truncate_at};

shown! {
    a_foreign_key_that_comes_before_the_locks,
    a_child_that_comes_before_the_locks,
    a_trigger_that_comes_before_the_locks,
    a_table_that_the_session_finds_first_and_that_comes_before_the_locks,
    a_sequence_that_is_shared_before_the_locks,
    tables_that_are_replaced_before_the_locks_are_checked_again,
    nothing_can_come_while_the_tables_are_locked,
    a_default_that_comes_after_the_truncation,
    a_publication_that_comes_after_the_truncation,
    a_function_that_writes_elsewhere_on_the_way_is_noticed,
}

/// Runs the command, and this SQL just before the message that contains this word.
async fn with_sql_before(
    db: &mut Database,
    arguments: &[&str],
    word: &'static str,
    sql: &str,
) -> Ended {
    let mut proxy = PausingProxy::before(&db.url, word).await;
    let url = proxy.url.clone();
    let meddle = async {
        proxy.reached().await;
        db.run(sql).await;
        proxy.pass().await;
    };
    let (ended, ()) = tokio::join!(truncate_at(&url, arguments), meddle);
    ended
}

async fn refused(name: &str, word: &'static str, sql: &str) -> Ended {
    let mut db = database(name).await;
    let ended = with_sql_before(&mut db, &LISTS, word, sql).await;
    assert_eq!(ended.status, 3, "{ended:?}");
    assert_eq!((db.count("jobs").await, db.count("logs").await), (10, 10));
    assert_eq!(db.text("SELECT last_value::text FROM jobs_id_seq").await, "10");
    ended
}

async fn a_foreign_key_that_comes_before_the_locks() -> Ended {
    refused("late_key", "LOCK TABLE", "CREATE TABLE notes (job int REFERENCES jobs)").await
}

async fn a_child_that_comes_before_the_locks() -> Ended {
    refused("late_child", "LOCK TABLE", "CREATE TABLE urgent_jobs () INHERITS (jobs)").await
}

async fn a_table_that_the_session_finds_first_and_that_comes_before_the_locks() -> Ended {
    let mut db = database("late_schema").await;
    // The first schema of the default search_path.
    db.run("CREATE SCHEMA postgres").await;
    let comes = "CREATE TABLE postgres.jobs (id int)";
    let ended = with_sql_before(&mut db, &LISTS, "LOCK TABLE", comes).await;
    assert_eq!(ended.refusal().0, "OtherSchema", "{ended:?}");
    assert_eq!(db.count("public.jobs").await, 10);
    ended
}

async fn a_trigger_that_comes_before_the_locks() -> Ended {
    refused(
        "late_trigger",
        "LOCK TABLE",
        "CREATE FUNCTION wipe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM accounts; RETURN NULL; END $$;
        CREATE TRIGGER wipe AFTER TRUNCATE ON jobs EXECUTE FUNCTION wipe()",
    )
    .await
}

async fn a_sequence_that_is_shared_before_the_locks() -> Ended {
    refused("late_sequence", "LOCK TABLE", "ALTER SEQUENCE accounts_id_seq OWNED BY jobs.id").await
}

async fn tables_that_are_replaced_before_the_locks_are_checked_again() -> Ended {
    let mut db = database("moving").await;
    // The time of this change counts as a wait for locks.
    let ended = with_sql_before(
        &mut db,
        &with(&["--lock-timeout", "10m"]),
        "LOCK TABLE",
        "ALTER TABLE logs RENAME TO old_logs;
        CREATE TABLE logs (at int) PARTITION BY RANGE (at); CREATE TABLE logs_1 PARTITION OF logs DEFAULT;
        INSERT INTO logs VALUES (1), (2); ALTER TABLE old_logs DROP CONSTRAINT logs_job_fkey; ANALYZE logs",
    )
    .await;
    assert_eq!(ended.done().totals.tables, 3, "{ended:?}");
    assert_eq!((db.count("logs").await, db.count("old_logs").await), (0, 10));
    ended
}

async fn nothing_can_come_while_the_tables_are_locked() -> Ended {
    let mut db = database("locked").await;
    db.run(
        "CREATE TABLE notes (job int); CREATE TABLE child (id int NOT NULL, note text);
        CREATE FUNCTION wipe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    )
    .await;
    let mut proxy = PausingProxy::before(&db.url, "TRUNCATE TABLE").await;
    let url = proxy.url.clone();
    let mut rival = db.rival().await;
    let meddle = async {
        proxy.reached().await;
        rival.execute("SET lock_timeout = '100ms'").await.unwrap();
        for statement in [
            "ALTER TABLE notes ADD FOREIGN KEY (job) REFERENCES jobs",
            "ALTER TABLE child INHERIT jobs",
            "CREATE TRIGGER wipe AFTER TRUNCATE ON jobs EXECUTE FUNCTION wipe()",
            "ALTER SEQUENCE accounts_id_seq OWNED BY jobs.id",
            "ALTER TABLE jobs RENAME TO other_jobs",
            "INSERT INTO jobs (note) VALUES ('late')",
            "SELECT FROM logs",
        ] {
            let error = rival.execute(statement).await.expect_err(statement);
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            assert_eq!(code.as_deref(), Some("55P03"), "{statement}: {error}");
        }
        proxy.pass().await;
    };
    let (ended, ()) = tokio::join!(truncate_at(&url, &LISTS), meddle);
    ended.done();
    ended
}

// No lock on the tables is needed for these two.

async fn a_default_that_comes_after_the_truncation() -> Ended {
    refused(
        "late_default",
        "TRUNCATE TABLE",
        "ALTER TABLE accounts ALTER id SET DEFAULT nextval('jobs_id_seq')",
    )
    .await
}

async fn a_publication_that_comes_after_the_truncation() -> Ended {
    refused("late_publication", "TRUNCATE TABLE", "CREATE PUBLICATION pub FOR ALL TABLES").await
}

async fn a_function_that_writes_elsewhere_on_the_way_is_noticed() -> Ended {
    let mut db = database("foreign_lock").await;
    // Declared IMMUTABLE, so that it runs when the index definition is only read.
    db.run(
        "CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS
            $$ BEGIN UPDATE public.accounts SET name = 'sly'; RETURN 1; END $$;
        CREATE FUNCTION sly(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
            $$ BEGIN RETURN public.writes(); END $$;
        CREATE INDEX ON jobs ((id + sly(1)));
        UPDATE accounts SET name = 'honest'; ANALYZE accounts",
    )
    .await;
    let ended = db.truncate(&LISTS).await;
    assert_eq!(ended.refusal().0, "OtherTableTouched", "{ended:?}");
    assert_eq!(db.count("accounts WHERE name = 'sly'").await, 0);
    assert_eq!(db.count("jobs").await, 10);
    ended
}
