//! The tables are those that the application itself finds with this URL: the schema that the URL names, or the
//! first one of the session's search_path.

use super::case::database;
use crate::support::postgres::{Database, truncate_at};

const JOBS: [&str; 6] = ["--runtime", "jobs", "--opportunities", "", "--preserved", ""];

/// Creates a database with a table of the same name in `public` and in `tenant`.
async fn two_schemas(name: &str) -> Database {
    let mut db = database(name).await;
    db.run(
        "DROP TABLE logs; CREATE SCHEMA tenant; CREATE TABLE tenant.jobs (id int);
        INSERT INTO tenant.jobs VALUES (1)",
    )
    .await;
    db
}

async fn rows(db: &mut Database) -> (i64, i64) {
    (db.count("public.jobs").await, db.count("tenant.jobs").await)
}

#[tokio::test]
async fn the_schema_that_the_url_names_is_the_one_that_is_emptied() {
    let mut db = two_schemas("prisma").await;
    let url = format!("{}?schema=tenant", db.url);
    let refused = truncate_at(&url, &[&JOBS[..], &["--schema", "public"]].concat()).await;
    let (reason, object, message) = refused.refusal();
    assert_eq!((reason, object), ("OtherSchema", "tenant"), "{message}");
    let planned = truncate_at(&url, &[&JOBS[..], &["--dry-run"]].concat()).await;
    assert_eq!(planned.done().tables[0].name, "tenant.jobs");
    truncate_at(&url, &JOBS).await.done();
    assert_eq!(rows(&mut db).await, (10, 0));
}

#[tokio::test]
async fn a_search_path_that_the_url_names_leads_to_no_other_tables_than_the_applications() {
    let mut db = two_schemas("search_path").await;
    for parameter in [
        "options=-csearch_path%3Dtenant,public",
        "search_path=tenant",
        "options[search_path]=tenant",
    ] {
        let url = format!("{}?{parameter}", db.url);
        for more in [&["--dry-run"][..], &[], &["--schema", "public"]] {
            let refused = truncate_at(&url, &[&JOBS[..], more].concat()).await;
            assert_eq!(refused.refusal().0, "OtherSchema", "{parameter} {more:?}: {refused:?}");
            let message = refused.refusal().2;
            assert!(message.contains("\"jobs\" in schema \"tenant\""), "{message}");
        }
        assert_eq!(rows(&mut db).await, (10, 1));
        truncate_at(&url, &[&JOBS[..], &["--schema", "tenant"]].concat()).await.done();
        assert_eq!(rows(&mut db).await, (10, 0));
        db.run("INSERT INTO tenant.jobs VALUES (1)").await;
    }
    // The way to say that the other one is meant.
    let url = format!("{}?search_path=public,tenant", db.url);
    truncate_at(&url, &[&JOBS[..], &["--schema", "public"]].concat()).await.done();
    assert_eq!(rows(&mut db).await, (0, 1));
}
