//! `torpor truncate` against a real PostgreSQL: what it empties, and above all what it refuses.

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

use postgres::Database;

/// Two tables that are asked for and one that is to stay.
const SIMPLE: &str = "
CREATE TABLE jobs (id serial PRIMARY KEY, note text);
CREATE TABLE logs (id bigint GENERATED ALWAYS AS IDENTITY, job int REFERENCES jobs, line text);
CREATE TABLE accounts (id serial PRIMARY KEY, name text);
INSERT INTO jobs (note) SELECT repeat('x', 500) FROM generate_series(1, 1000);
INSERT INTO logs (job, line) SELECT id, 'line' FROM jobs;
INSERT INTO accounts (name) SELECT 'account ' || n FROM generate_series(1, 50) n;
ANALYZE;
";

const LISTS: [&str; 6] =
    ["--runtime", "jobs,logs", "--opportunities", "", "--preserved", "accounts"];

/// `LISTS` and more.
fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    LISTS.iter().chain(more).copied().collect()
}

#[tokio::test]
async fn what_is_listed_is_empty_and_counts_from_one_again() {
    let mut db = Database::new("listed").await;
    db.run(SIMPLE).await;
    let ended = db.truncate(&LISTS).await;
    let report = ended.done();
    assert_eq!((report.totals.tables, report.totals.rows), (2, 2000));
    assert!(report.totals.bytes > 500_000, "{report:?}");
    assert_eq!(report.database.as_deref(), Some("t_listed"));
    assert_eq!((db.count("jobs").await, db.count("logs").await), (0, 0));
    db.run("INSERT INTO jobs DEFAULT VALUES; INSERT INTO logs (job) VALUES (1)").await;
    assert_eq!(db.text("SELECT id::text FROM jobs").await, "1");
    assert_eq!(db.text("SELECT id::text FROM logs").await, "1");
    assert!(ended.stdout.contains("public.jobs"), "{}", ended.stdout);
    assert!(ended.stdout.contains("Emptied 2 tables with about 2,000 rows"), "{}", ended.stdout);
}

#[tokio::test]
async fn a_preserved_table_is_equal_row_by_row_after_a_truncation() {
    let mut db = Database::new("preserved").await;
    db.run(SIMPLE).await;
    const ROWS: &str = "SELECT md5(string_agg(ctid::text || xmin::text || a::text, ',' ORDER BY id)) \
                        || pg_relation_filenode('accounts') || currval('accounts_id_seq') FROM accounts a";
    db.text("SELECT nextval('accounts_id_seq')::text").await;
    let before = db.text(ROWS).await;
    db.truncate(&LISTS).await.done();
    assert_eq!(db.text(ROWS).await, before);
    assert_eq!(db.text("SELECT nextval('accounts_id_seq')::text").await, "52");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_reports_the_same_tables() {
    let mut db = Database::new("dry").await;
    db.run(SIMPLE).await;
    let planned = db.truncate(&with(&["--dry-run"])).await;
    assert_eq!(db.count("jobs").await, 1000);
    let planned = planned.done();
    assert!(planned.totals.bytes > 500_000);
    let ended = db.truncate(&LISTS).await;
    let names = |report: &torpor::truncate::report::Report| {
        report.tables.iter().map(|table| (table.name.clone(), table.rows)).collect::<Vec<_>>()
    };
    assert_eq!(names(planned), names(ended.done()));
}

#[tokio::test]
async fn a_dry_run_is_not_held_up_by_a_locked_table() {
    use sqlx::Executor as _;
    let mut db = Database::new("dry_locked").await;
    db.run(SIMPLE).await;
    db.run("VACUUM ANALYZE jobs").await;
    let mut rival = db.rival().await;
    rival.execute("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begun = std::time::Instant::now();
    let ended = db.truncate(&with(&["--dry-run"])).await;
    assert!(ended.done().totals.bytes > 500_000);
    assert!(begun.elapsed().as_secs() < 3);
}

#[tokio::test]
async fn a_foreign_key_from_a_preserved_table_is_refused_and_named() {
    let mut db = Database::new("foreign_key").await;
    db.run(SIMPLE).await;
    db.run("ALTER TABLE accounts ADD job int, ADD CONSTRAINT \"Last job\" FOREIGN KEY (job) REFERENCES jobs").await;
    for more in [&["--dry-run"][..], &[]] {
        let ended = db.truncate(&with(more)).await;
        let (reason, object, message) = ended.refusal();
        assert_eq!((reason, object), ("ForeignKey", "\"Last job\" on public.accounts"));
        assert!(message.contains("DROP CONSTRAINT \"Last job\""), "{message}");
        assert!(ended.stderr.contains("Last job"), "{}", ended.stderr);
    }
    assert_eq!(db.count("jobs").await, 1000);
}

#[tokio::test]
async fn every_refusal_is_told_at_once() {
    let mut db = Database::new("all_at_once").await;
    db.run(SIMPLE).await;
    db.run("CREATE VIEW \"a view\" AS SELECT 1; ALTER TABLE accounts ADD job int REFERENCES jobs")
        .await;
    let ended = db
        .truncate(&[
            "--runtime",
            "jobs,logs,a view,gone,Jobs",
            "--opportunities",
            "",
            "--preserved",
            "acounts",
        ])
        .await;
    assert_eq!(
        ended.refusals(),
        [
            ("MissingTable", "Jobs"),
            ("MissingTable", "gone"),
            ("MissingTable", "acounts"),
            ("NotATable", "public.\"a view\""),
            ("ForeignKey", "accounts_job_fkey on public.accounts"),
        ]
        .map(|(reason, object)| (reason.to_owned(), object.to_owned()))
    );
}

#[tokio::test]
async fn a_name_is_taken_literally_and_never_as_sql() {
    let mut db = Database::new("names").await;
    let names = [
        "Orders",
        "orders",
        " space",
        "a,b",
        "a\"b",
        "x; DROP TABLE orders; --",
        "back\\slash",
        "täblé ☃",
        "select",
        "a.b",
        "'quote'",
        "$1",
    ];
    for name in names {
        let quoted = name.replace('"', "\"\"");
        db.run(&format!("CREATE TABLE \"{quoted}\" (n int); INSERT INTO \"{quoted}\" VALUES (1)"))
            .await;
    }
    let (last, listed) = names.split_last().unwrap();
    let list = torpor::truncate::table_name::TableNames::of(listed).to_string();
    let ended =
        db.truncate(&["--runtime", &list, "--opportunities", "", "--preserved", last]).await;
    assert_eq!(ended.done().totals.tables, 11);
    for name in names {
        let quoted = name.replace('"', "\"\"");
        let rows = db.count(&format!("\"{quoted}\"")).await;
        assert_eq!(rows, i64::from(name == *last), "{name}");
    }
}

#[tokio::test]
async fn a_schema_is_taken_literally_too() {
    let mut db = Database::new("schema").await;
    db.run("CREATE SCHEMA \"My \"\"App\"; CREATE TABLE \"My \"\"App\".jobs (n int); \
            CREATE TABLE jobs (n int); INSERT INTO jobs VALUES (1); INSERT INTO \"My \"\"App\".jobs VALUES (1)").await;
    let lists = ["--runtime", "jobs", "--preserved", "", "--opportunities", ""];
    let ended = db.truncate(&[&["--schema", "My \"App"], &lists[..]].concat()).await;
    assert_eq!(ended.done().tables[0].name, "\"My \"\"App\".jobs");
    assert_eq!(db.count("jobs").await, 1);
    let ended = db.truncate(&[&["--schema", "my \"app"], &lists[..]].concat()).await;
    assert_eq!(ended.refusal().0, "MissingSchema");
}

#[tokio::test]
async fn partitions_go_along_with_their_parent() {
    let mut db = Database::new("partitions").await;
    db.run("CREATE SCHEMA parts;
        CREATE TABLE events (id serial, at int, kind int) PARTITION BY RANGE (at);
        CREATE TABLE parts.events_1 PARTITION OF events FOR VALUES FROM (0) TO (10) PARTITION BY LIST (kind);
        CREATE TABLE parts.events_1a PARTITION OF parts.events_1 FOR VALUES IN (1);
        CREATE TABLE parts.events_1b PARTITION OF parts.events_1 DEFAULT;
        CREATE TABLE events_2 PARTITION OF events DEFAULT;
        INSERT INTO events (at, kind) SELECT n % 20, n % 3 FROM generate_series(1, 300) n;
        ANALYZE;").await;
    let lists = ["--runtime", "events", "--preserved", "", "--opportunities", ""];
    let ended = db.truncate(&lists).await;
    let report = ended.done();
    assert_eq!((report.totals.tables, report.totals.rows), (5, 300));
    assert_eq!(report.tables.iter().filter(|table| table.along).count(), 4);
    assert!(ended.stdout.contains("parts.events_1a (goes along)"), "{}", ended.stdout);
    assert_eq!(db.count("events").await, 0);
    assert_eq!(db.text("SELECT nextval('events_id_seq')::text").await, "1");
    // Unless one of them is to stay, or stands for another database's table.
    db.run("INSERT INTO events (at, kind) VALUES (50, 1)").await;
    let ended = db
        .truncate(&["--runtime", "events", "--preserved", "events_2", "--opportunities", ""])
        .await;
    assert_eq!(ended.refusal().0, "PreservedPartition");
    db.run(
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
        CREATE FOREIGN TABLE parts.far PARTITION OF events FOR VALUES FROM (100) TO (200) SERVER s",
    )
    .await;
    let ended = db.truncate(&lists).await;
    assert_eq!(ended.refusals(), [("NotATable".to_owned(), "parts.far".to_owned())]);
    assert_eq!(db.count("events_2").await, 1);
}

#[tokio::test]
async fn a_partition_of_a_preserved_table_is_refused() {
    let mut db = Database::new("preserved_parent").await;
    db.run(
        "CREATE TABLE ledger (at int) PARTITION BY RANGE (at);
        CREATE TABLE ledger_1 PARTITION OF ledger DEFAULT; INSERT INTO ledger VALUES (1)",
    )
    .await;
    let ended = db
        .truncate(&["--runtime", "ledger_1", "--preserved", "ledger", "--opportunities", ""])
        .await;
    assert_eq!(ended.refusal().0, "PreservedParent");
    // One partition of a table that is nobody's to keep is a table like others.
    let ended =
        db.truncate(&["--runtime", "ledger_1", "--preserved", "", "--opportunities", ""]).await;
    assert_eq!(ended.done().totals.tables, 1);
    assert_eq!(db.count("ledger").await, 0);
}

#[tokio::test]
async fn a_foreign_key_of_or_to_a_partitioned_table_is_named_once_by_its_own_name() {
    let mut db = Database::new("partitioned_keys").await;
    db.run("CREATE TABLE runs (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE runs_1 PARTITION OF runs FOR VALUES FROM (0) TO (10);
        CREATE TABLE runs_2 PARTITION OF runs DEFAULT;
        CREATE TABLE notes (id int, run int CONSTRAINT note_of REFERENCES runs) PARTITION BY RANGE (id);
        CREATE TABLE notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (10);
        CREATE TABLE notes_2 PARTITION OF notes DEFAULT;").await;
    for runtime in ["runs", "runs_1", "runs,notes_1"] {
        let ended =
            db.truncate(&["--runtime", runtime, "--preserved", "", "--opportunities", ""]).await;
        assert_eq!(ended.refusal().1, "note_of on public.notes", "{runtime}");
    }
    let ended =
        db.truncate(&["--runtime", "runs,notes", "--preserved", "", "--opportunities", ""]).await;
    assert_eq!(ended.done().totals.tables, 6);
}

#[tokio::test]
async fn an_inheritance_child_is_refused_and_named_also_in_another_schema() {
    let mut db = Database::new("children").await;
    db.run("CREATE SCHEMA other; CREATE TABLE base (n int); CREATE TABLE other.child () INHERITS (base);
        CREATE TABLE grandchild () INHERITS (other.child);
        INSERT INTO base VALUES (1); INSERT INTO other.child VALUES (2)").await;
    let ended = db.truncate(&["--runtime", "base", "--preserved", "", "--opportunities", ""]).await;
    let (reason, object, message) = ended.refusal();
    assert_eq!((reason, object), ("InheritanceChild", "other.child"));
    assert!(message.contains("NO INHERIT public.base"), "{message}");
    db.run("ALTER TABLE other.child NO INHERIT base").await;
    db.truncate(&["--runtime", "base", "--preserved", "", "--opportunities", ""]).await.done();
    assert_eq!((db.count("base").await, db.count("other.child").await), (0, 1));
}

#[tokio::test]
async fn a_child_of_a_preserved_table_is_refused() {
    let mut db = Database::new("child_of_preserved").await;
    db.run("CREATE TABLE people (n int); CREATE TABLE guests () INHERITS (people)").await;
    let ended =
        db.truncate(&["--runtime", "guests", "--preserved", "people", "--opportunities", ""]).await;
    assert_eq!(ended.refusal().0, "PreservedParent");
}

#[tokio::test]
async fn a_sequence_that_feeds_another_table_is_refused_and_named() {
    let mut db = Database::new("shared_sequence").await;
    db.run(SIMPLE).await;
    db.run("ALTER TABLE accounts ALTER id SET DEFAULT nextval('jobs_id_seq')").await;
    let ended = db.truncate(&LISTS).await;
    let (reason, object, message) = ended.refusal();
    assert_eq!((reason, object), ("SharedSequence", "public.jobs_id_seq"));
    assert!(message.contains("public.accounts.id"), "{message}");
}

#[tokio::test]
async fn a_sequence_that_feeds_through_a_function_or_domain_is_refused() {
    let mut db = Database::new("shared_indirectly").await;
    db.run(SIMPLE).await;
    db.run("CREATE FUNCTION next_job() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT nextval('jobs_id_seq'::regclass); END;
        ALTER TABLE accounts ADD ticket bigint DEFAULT next_job();
        CREATE DOMAIN job_number AS int DEFAULT nextval('jobs_id_seq'::regclass);
        CREATE TABLE tickets (number job_number)").await;
    let ended = db.truncate(&LISTS).await;
    let messages: Vec<&str> = ended.report().refusals.iter().map(|r| r.message.as_str()).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].contains("public.accounts.ticket"), "{messages:?}");
    assert!(messages[1].contains("public.tickets.number"), "{messages:?}");
}

#[tokio::test]
async fn a_truncate_trigger_is_refused_and_named_unless_it_is_disabled() {
    let mut db = Database::new("triggers").await;
    db.run(SIMPLE).await;
    db.run("CREATE FUNCTION wipe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM accounts; RETURN NULL; END $$;
        CREATE TRIGGER wipe AFTER TRUNCATE ON jobs EXECUTE FUNCTION wipe()").await;
    let ended = db.truncate(&LISTS).await;
    assert_eq!(
        ended.refusals(),
        [("TruncateTrigger".to_owned(), "wipe on public.jobs".to_owned())]
    );
    db.run("ALTER TABLE jobs DISABLE TRIGGER wipe").await;
    db.truncate(&LISTS).await.done();
    assert_eq!(db.count("accounts").await, 50);
}

#[tokio::test]
async fn a_missing_privilege_is_refused_and_named_before_anything_is_locked() {
    let mut db = Database::new("privileges").await;
    db.run(SIMPLE).await;
    let url = db.role("t_privileges_role").await;
    db.run("REVOKE ALL ON SCHEMA public FROM PUBLIC").await;
    let ended = postgres::truncate_at(&url, &with(&["--dry-run"])).await;
    assert_eq!(
        ended.refusals(),
        [
            ("MissingPrivilege", "public"),
            ("MissingPrivilege", "public.jobs"),
            ("MissingPrivilege", "public.logs"),
            ("MissingPrivilege", "public.jobs_id_seq"),
            ("MissingPrivilege", "public.logs_id_seq"),
        ]
        .map(|(reason, object)| (reason.to_owned(), object.to_owned()))
    );
    db.run(
        "GRANT USAGE ON SCHEMA public TO t_privileges_role;
        GRANT TRUNCATE ON jobs, logs TO t_privileges_role",
    )
    .await;
    let ended = postgres::truncate_at(&url, &LISTS).await;
    assert_eq!(ended.refusals().len(), 2, "{ended:?}");
    db.run(
        "ALTER TABLE jobs OWNER TO t_privileges_role; ALTER TABLE logs OWNER TO t_privileges_role",
    )
    .await;
    postgres::truncate_at(&url, &LISTS).await.done();
}

#[tokio::test]
async fn row_level_security_hides_no_row_from_it() {
    let mut db = Database::new("rls").await;
    db.run("CREATE TABLE jobs (n int); INSERT INTO jobs VALUES (1), (2); ALTER TABLE jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY").await;
    let url = db.role("t_rls_role").await;
    db.run("GRANT TRUNCATE ON jobs TO t_rls_role").await;
    postgres::truncate_at(&url, &["--runtime", "jobs", "--preserved", "", "--opportunities", ""])
        .await
        .done();
    assert_eq!(db.count("jobs").await, 0);
}

#[tokio::test]
async fn a_publication_is_refused_unless_allowed() {
    let mut db = Database::new("publications").await;
    db.run(SIMPLE).await;
    db.run("CREATE SCHEMA elsewhere; CREATE TABLE parted (n int) PARTITION BY RANGE (n); CREATE TABLE elsewhere.part PARTITION OF parted DEFAULT").await;
    for (publication, refused) in [
        ("FOR ALL TABLES", true),
        ("FOR TABLE jobs", true),
        ("FOR TABLE accounts", false),
        ("FOR TABLES IN SCHEMA public", true),
        ("FOR TABLES IN SCHEMA elsewhere", true),
        ("FOR TABLE parted", true),
        ("FOR ALL TABLES WITH (publish = 'insert, update, delete')", false),
    ] {
        db.run(&format!("CREATE PUBLICATION \"Pub\" {publication}")).await;
        let lists = [
            "--runtime",
            "jobs,logs,parted",
            "--preserved",
            "accounts",
            "--opportunities",
            "",
            "--dry-run",
        ];
        let ended = db.truncate(&lists).await;
        if refused {
            assert_eq!(
                ended.refusals(),
                [("Replicated".to_owned(), "\"Pub\"".to_owned())],
                "{publication}"
            );
            db.truncate(&[&lists[..], &["--allow-replicated"]].concat()).await.done();
        } else {
            assert_eq!(ended.status, 0, "{publication}: {ended:?}");
        }
        db.run("DROP PUBLICATION \"Pub\"").await;
    }
}

#[tokio::test]
async fn what_is_no_table_is_refused_and_named_for_what_it_is() {
    let mut db = Database::new("kinds").await;
    db.run("CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW m AS SELECT 1; CREATE SEQUENCE s;
        CREATE TYPE c AS (n int); CREATE TABLE t (n int); CREATE INDEX i ON t (n);
        CREATE FOREIGN DATA WRAPPER w; CREATE SERVER srv FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (n int) SERVER srv").await;
    let ended =
        db.truncate(&["--runtime", "v,m,s,c,i,f", "--preserved", "", "--opportunities", ""]).await;
    let mut messages: Vec<String> = ended
        .report()
        .refusals
        .iter()
        .map(|r| {
            assert_eq!(r.reason, "NotATable");
            r.message.clone()
        })
        .collect();
    messages.sort();
    assert_eq!(messages.len(), 6);
    for (message, what) in messages.iter().zip([
        "composite type",
        "foreign table",
        "an index",
        "materialized view",
        "sequence",
        "a view",
    ]) {
        assert!(message.contains(what), "{message}");
    }
    let ended = db
        .truncate(&[
            "--schema",
            "pg_catalog",
            "--runtime",
            "pg_class",
            "--preserved",
            "",
            "--opportunities",
            "",
        ])
        .await;
    assert_eq!(ended.refusals()[0].0, "SystemTable");
}

#[tokio::test]
async fn a_table_both_asked_for_and_preserved_is_refused() {
    let db = Database::new("both").await;
    let ended = db
        .truncate(&["--runtime", "jobs,accounts", "--opportunities", "", "--preserved", "accounts"])
        .await;
    assert_eq!(ended.refusals(), [("ListedTwice".to_owned(), "accounts".to_owned())]);
    let ended = db.truncate(&["--runtime", ""]).await;
    assert_eq!(ended.refusal().0, "InvalidArgument");
}

#[tokio::test]
async fn all_is_confirmed_by_the_databases_own_name() {
    let mut db = Database::new("confirm").await;
    db.run(SIMPLE).await;
    assert_eq!(db.truncate(&with(&["--scope", "All"])).await.refusal().0, "NotConfirmed");
    let ended = db.truncate(&with(&["--scope", "All", "--confirm", "T_confirm"])).await;
    assert_eq!(ended.refusal().0, "NotConfirmed");
    let ended = db.truncate(&with(&["--confirm", "production"])).await;
    assert_eq!(ended.refusal().0, "NotConfirmed");
    assert_eq!(db.count("accounts").await, 50);
    let ended = db.truncate(&with(&["--scope", "All", "--confirm", "t_confirm"])).await;
    assert_eq!(ended.done().totals.tables, 3);
    assert_eq!(db.count("accounts").await, 0);
}

#[tokio::test]
async fn self_references_cycles_and_deferrable_keys_within_the_list_are_no_obstacle() {
    let mut db = Database::new("cycles").await;
    db.run(
        "CREATE TABLE a (id int PRIMARY KEY, up int REFERENCES a, b int);
        CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a DEFERRABLE INITIALLY DEFERRED);
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b NOT VALID;
        INSERT INTO a VALUES (1, 1, NULL); INSERT INTO b VALUES (1, 1)",
    )
    .await;
    let ended = db.truncate(&["--runtime", "a", "--preserved", "b", "--opportunities", ""]).await;
    assert_eq!(ended.refusal().1, "b_a_fkey on public.b");
    let ended = db.truncate(&["--runtime", "b", "--preserved", "a", "--opportunities", ""]).await;
    assert_eq!(ended.refusal().1, "a_b_fkey on public.a");
    db.truncate(&["--runtime", "a,b", "--preserved", "", "--opportunities", ""]).await.done();
    assert_eq!(db.count("a").await + db.count("b").await, 0);
}

#[tokio::test]
async fn a_function_that_writes_elsewhere_on_the_way_is_noticed_and_rolled_back() {
    let mut db = Database::new("foreign_lock").await;
    db.run(SIMPLE).await;
    // Declared IMMUTABLE, so that it runs when the index is merely looked at.
    db.run(
        "CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS
            $$ BEGIN UPDATE public.accounts SET name = 'sly'; RETURN 1; END $$;
        CREATE FUNCTION sly(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
            $$ BEGIN RETURN public.writes(); END $$;
        CREATE INDEX ON jobs ((id + sly(1)))",
    )
    .await;
    db.run("UPDATE accounts SET name = 'honest'").await;
    let ended = db.truncate(&LISTS).await;
    assert_eq!(ended.refusal().0, "OtherTableTouched", "{ended:?}");
    assert_eq!(db.count("accounts WHERE name = 'sly'").await, 0);
    assert_eq!(db.count("jobs").await, 1000);
}

/// Rows of a table as one text: contents, place and version of each.
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
    db.run(include_str!("postgres/cornice.sql")).await;
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
async fn it_works_through_a_pooler_in_transaction_mode_and_says_so_in_statement_mode() {
    use std::process::{Command, Stdio};

    let mut db = Database::new("pooler").await;
    db.run(SIMPLE).await;
    let server: sqlx::postgres::PgConnectOptions = db.url.parse().unwrap();
    for (mode, status) in [("transaction", 0), ("statement", 3)] {
        let directory = std::env::temp_dir().join(format!("torpor-pooler-{mode}"));
        std::fs::create_dir_all(&directory).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let file = directory.join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\n\
             default_pool_size = 3\nserver_round_robin = 1\n",
            server.get_port()
        );
        std::fs::write(&file, settings).unwrap();
        let mut pooler = Command::new("/usr/sbin/pgbouncer");
        // It refuses to run as root.
        pooler.args(["-q", "-u", "postgres"]).arg(&file).stderr(Stdio::null());
        let mut pooler = pooler.spawn().unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let url = format!(
            "postgresql+asyncpg://postgres@127.0.0.1:{port}/t_pooler?prepared_statement_cache_size=0"
        );
        // More than the pool has connections, so that all of them are used.
        for _ in 0..4 {
            let planned = postgres::truncate_at(&url, &with(&["--dry-run"])).await;
            assert_eq!(planned.status, status, "{planned:?}");
        }
        let ended = postgres::truncate_at(&url, &LISTS).await;
        pooler.kill().unwrap();
        pooler.wait().unwrap();
        assert_eq!(ended.status, status, "{ended:?}");
        if status == 3 {
            assert_eq!(ended.refusal().0, "UnsupportedServer");
        }
    }
    assert_eq!(db.count("jobs").await, 0);
}
