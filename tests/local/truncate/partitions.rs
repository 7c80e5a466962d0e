//! A truncation includes the partitions of a listed table, and nothing else.

use super::case::{Case, hold};

#[tokio::test]
async fn partitions_go_along_with_their_table() {
    hold("partitions", CASES).await;
}

pub(crate) const CASES: &[Case] = &[
    Case::done(
        "Partitions and their partitions go along, wherever they are",
        "CREATE SCHEMA parts;
CREATE TABLE events (id serial, at int, kind int) PARTITION BY RANGE (at);
CREATE TABLE parts.events_1 PARTITION OF events FOR VALUES FROM (0) TO (10) PARTITION BY LIST (kind);
CREATE TABLE parts.events_1a PARTITION OF parts.events_1 FOR VALUES IN (1);
CREATE UNLOGGED TABLE parts.events_1b PARTITION OF parts.events_1 DEFAULT;
CREATE TABLE events_2 PARTITION OF events DEFAULT;
INSERT INTO events (at, kind) SELECT n % 20, n % 3 FROM generate_series(1, 300) n;",
        &["--runtime", "events"],
        "nextval('events_id_seq') = 1",
    ),
    Case::done(
        "One partition of a table that is nobody's to keep is a table like others",
        "CREATE TABLE events (at int) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE events_2 PARTITION OF events DEFAULT;
INSERT INTO events VALUES (5), (50);",
        &["--runtime", "events_1"],
        "(SELECT count(*) FROM events) = 1",
    ),
    Case::done(
        "A table and one of its partitions may both be listed",
        "CREATE TABLE events (at int) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events DEFAULT; INSERT INTO events VALUES (5);",
        &["--runtime", "events,events_1"],
        "true",
    ),
    Case::refused(
        "A preserved partition of a table to be emptied",
        "CREATE TABLE events (at int) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events DEFAULT; INSERT INTO events VALUES (5);",
        &["--runtime", "events", "--preserved", "events_1"],
    ),
    Case::refused(
        "A partition to be emptied of a preserved table",
        "CREATE TABLE ledger (at int) PARTITION BY RANGE (at);
CREATE TABLE ledger_1 PARTITION OF ledger DEFAULT; INSERT INTO ledger VALUES (1);",
        &["--runtime", "ledger_1", "--preserved", "ledger"],
    ),
    Case::done(
        "A partition that was detached is a table of its own",
        "CREATE TABLE events (at int) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE events_2 PARTITION OF events DEFAULT;
INSERT INTO events VALUES (5), (50); ALTER TABLE events DETACH PARTITION events_1;",
        &["--runtime", "events"],
        "(SELECT count(*) FROM events_1) = 1",
    ),
    Case::refused(
        "A partition that is a foreign table",
        "CREATE EXTENSION file_fdw; CREATE SERVER far_away FOREIGN DATA WRAPPER file_fdw;
CREATE TABLE events (at int) PARTITION BY RANGE (at);
CREATE FOREIGN TABLE events_far PARTITION OF events FOR VALUES FROM (0) TO (10) SERVER far_away
  OPTIONS (filename '/dev/null');
CREATE TABLE events_near PARTITION OF events DEFAULT; INSERT INTO events VALUES (50);",
        &["--runtime", "events"],
    ),
    Case::done(
        "A sequence that belongs to a partition restarts with it",
        "CREATE TABLE events (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE events_1 (id serial, at int); ALTER TABLE events ATTACH PARTITION events_1 DEFAULT;
INSERT INTO events_1 (at) VALUES (1), (2);",
        &["--runtime", "events"],
        "nextval('events_1_id_seq') = 1",
    ),
    Case::refused(
        "A trigger on TRUNCATE of a partition",
        "CREATE TABLE events (at int) PARTITION BY RANGE (at); CREATE TABLE events_1 PARTITION OF events DEFAULT;
CREATE FUNCTION wipe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM accounts; RETURN NULL; END $$;
CREATE TRIGGER wipe AFTER TRUNCATE ON events_1 EXECUTE FUNCTION wipe();",
        &["--runtime", "events"],
    ),
    Case::done(
        "A trigger on TRUNCATE of the table above a listed partition does not run",
        "CREATE TABLE events (at int) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events DEFAULT; INSERT INTO events VALUES (1);
CREATE FUNCTION wipe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM accounts; RETURN NULL; END $$;
CREATE TRIGGER wipe AFTER TRUNCATE ON events EXECUTE FUNCTION wipe();",
        &["--runtime", "events_1", "--preserved", "accounts"],
        "true",
    ),
];
