//! The kinds of relations that can be truncated, and those that cannot.

use super::case::{Case, LISTS, hold};

#[tokio::test]
async fn only_tables_are_emptied() {
    hold("kinds", CASES).await;
}

pub(crate) const CASES: &[Case] = &[
    Case::refused(
        "What is no table is named for what it is",
        "CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW m AS SELECT 1; CREATE SEQUENCE s; CREATE TYPE c AS (n int);
CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER far_away FOREIGN DATA WRAPPER elsewhere;
CREATE FOREIGN TABLE f (n int) SERVER far_away;",
        &["--runtime", "v,m,s,c,f,jobs_pkey"],
    ),
    Case::refused(
        "A table of the database system",
        "",
        &["--schema", "pg_catalog", "--runtime", "pg_statistic"],
    ),
    Case::refused(
        "A temporary table, which only its session has",
        "CREATE TEMPORARY TABLE scratch (n int);",
        &["--runtime", "scratch"],
    ),
    Case::refused(
        "A table both to be emptied and to be preserved",
        "",
        &["--runtime", "jobs,logs,accounts", "--preserved", "accounts"],
    ),
    Case::done(
        "A table that is named twice is emptied once",
        "",
        &["--runtime", "jobs,logs,jobs", "--preserved", "accounts"],
        "true",
    ),
    Case::done(
        "An unlogged table",
        "CREATE UNLOGGED TABLE scratch (n serial); INSERT INTO scratch DEFAULT VALUES;",
        &["--runtime", "scratch"],
        "true",
    ),
    Case::done(
        "Views and materialized views of it stay as they are",
        "CREATE VIEW v AS SELECT * FROM jobs; CREATE MATERIALIZED VIEW m AS SELECT * FROM jobs;",
        &LISTS,
        "(SELECT count(*) FROM m) = 10 AND (SELECT count(*) FROM v) = 0",
    ),
    Case::done(
        "Generated columns, extended statistics, every kind of index, constraints and comments",
        "CREATE TABLE shapes (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, words text[],
  span int4range, box box, CHECK (id > 0), UNIQUE (twice), EXCLUDE USING gist (span WITH &&));
CREATE INDEX ON shapes USING gin (words); CREATE INDEX ON shapes USING brin (id); CREATE INDEX ON shapes USING hash (id);
CREATE INDEX ON shapes USING spgist (box); CREATE INDEX ON shapes ((id + 1)) WHERE id > 3;
CREATE STATISTICS shape_statistics ON id, twice FROM shapes; COMMENT ON TABLE shapes IS 'all of it';
INSERT INTO shapes (id, words, span, box) SELECT n, '{a}', int4range(n, n + 1), box(point(n, n), point(0, 0)) FROM generate_series(1, 9) n;",
        &["--runtime", "shapes"],
        "(SELECT count(*) FROM pg_indexes WHERE tablename = 'shapes') = 8",
    ),
    Case::done(
        "A table with any replica identity",
        "ALTER TABLE jobs REPLICA IDENTITY FULL; ALTER TABLE logs REPLICA IDENTITY NOTHING;",
        &LISTS,
        "(SELECT relreplident FROM pg_class WHERE relname = 'jobs') = 'f'",
    ),
    Case::done(
        "A table that belongs to an extension",
        "ALTER EXTENSION plpgsql ADD TABLE logs;",
        &LISTS,
        "true",
    ),
    Case::done(
        "Large values go with their table",
        "CREATE TABLE files (body text); ALTER TABLE files ALTER body SET STORAGE EXTERNAL;
INSERT INTO files SELECT repeat('x', 100000) FROM generate_series(1, 20);",
        &["--runtime", "files"],
        "pg_total_relation_size('files') < 100000",
    ),
    Case::done(
        "Row-level security hides no row from it",
        "ALTER TABLE jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; ALTER TABLE logs OWNER TO secured;
ALTER TABLE jobs OWNER TO secured;",
        &LISTS,
        "true",
    )
    .by("secured"),
    Case::done(
        "A table that is cached, prepared and open elsewhere, but not in use",
        "PREPARE ready AS SELECT * FROM jobs; EXECUTE ready; DECLARE held CURSOR WITH HOLD FOR SELECT * FROM jobs;",
        &LISTS,
        "true",
    ),
];
