//! The lists of the runbook, and more tables than a report can hold.

use crate::support::postgres::Database;

/// Returns the rows of a table as text, with `ctid` and `xmin`.
async fn contents(db: &mut Database, table: &str) -> String {
    db.text(&format!(
        "SELECT coalesce(md5(string_agg(t.ctid::text || t.xmin::text || t::text, ',' ORDER BY t.ctid)), 'empty')
         FROM {table} t"
    ))
    .await
}

#[tokio::test]
async fn the_runbooks_three_scopes_empty_their_tables_and_no_others() {
    use torpor::api::database::{OPPORTUNITY_TABLES, PRESERVED_TABLES, RUNTIME_TABLES};

    let mut db = Database::new("cornice").await;
    db.run(include_str!("../support/postgres/cornice.sql")).await;
    let lists = [&RUNTIME_TABLES[..], &OPPORTUNITY_TABLES, &PRESERVED_TABLES];
    let scopes: [(&[&str], usize); 3] = [
        (&[], 1),
        (&["--scope", "Opportunities"], 2),
        (&["--scope", "All", "--confirm", "t_cornice"], 3),
    ];
    for (arguments, emptied) in scopes {
        let mut before = Vec::new();
        for table in lists[emptied..].concat() {
            before.push((table, contents(&mut db, table).await));
        }
        assert!(before.iter().all(|(_, contents)| contents != "empty"), "{before:?}");
        let planned = db.truncate(&[arguments, &["--dry-run"]].concat()).await;
        let ended = db.truncate(arguments).await;
        // The two partitions of hourly_prices besides.
        let named: usize = lists[..emptied].iter().map(|list| list.len()).sum();
        assert_eq!(planned.done().totals.tables, named as u64 + 2);
        assert_eq!(ended.done().totals.tables, named as u64 + 2);
        for table in lists[..emptied].concat() {
            assert_eq!(db.count(table).await, 0, "{table} after {arguments:?}");
        }
        for (table, contents_before) in before {
            assert_eq!(contents(&mut db, table).await, contents_before, "{table}");
        }
    }
    db.run("INSERT INTO users (email) VALUES ('first')").await;
    assert_eq!(db.text("SELECT id::text FROM users").await, "1");
}

#[tokio::test]
async fn many_partitions_are_reported_within_the_limit() {
    let mut db = Database::new("thousand").await;
    db.run("CREATE TABLE events (at int) PARTITION BY RANGE (at);
        DO $$ BEGIN FOR n IN 0..399 LOOP EXECUTE format(
            'CREATE TABLE events_with_a_rather_long_name_%s PARTITION OF events FOR VALUES FROM (%s) TO (%s)', n, n, n + 1);
        END LOOP; END $$; INSERT INTO events SELECT generate_series(0, 399); ANALYZE").await;
    let ended = db.truncate(&["--runtime", "events"]).await;
    let report = ended.done();
    assert!(ended.json.len() <= 4096, "{}", ended.json.len());
    assert_eq!((report.totals.tables, report.totals.rows), (401, 400));
    assert_eq!(report.tables.len() as u64 + report.omitted_tables, 401);
}
