//! Names of tables and schemas, and other objects with the same names.

use super::case::{Case, LISTS, hold};

#[tokio::test]
async fn names_mean_exactly_what_they_say() {
    hold("names", CASES).await;
}

pub(crate) const CASES: &[Case] = &[
    Case::done("Two of three tables are emptied and count from one again", "", &LISTS, "true"),
    Case::done(
        "Names are taken literally and never as SQL",
        r#"CREATE TABLE " space" (n int); CREATE TABLE "a,b" (n int); CREATE TABLE "a""b" (n int);
CREATE TABLE "x; DROP TABLE accounts; --" (n int); CREATE TABLE "back\slash" (n int);
CREATE TABLE "'quote'" (n int); CREATE TABLE "$1" (n int); CREATE TABLE "a.b" (n int); CREATE TABLE "%s" (n int);
INSERT INTO " space" VALUES (1); INSERT INTO "a,b" VALUES (1); INSERT INTO "a""b" VALUES (1);
INSERT INTO "x; DROP TABLE accounts; --" VALUES (1); INSERT INTO "back\slash" VALUES (1);
INSERT INTO "'quote'" VALUES (1); INSERT INTO "$1" VALUES (1); INSERT INTO "a.b" VALUES (1); INSERT INTO "%s" VALUES (1);"#,
        &[
            "--runtime",
            r#" space,a\,b,a"b,x; DROP TABLE accounts; --,back\\slash,'quote',$1,%s"#,
            "--preserved",
            "a.b",
        ],
        r#"(SELECT count(*) FROM "a.b") = 1 AND (SELECT count(*) FROM accounts) = 10"#,
    ),
    Case::done(
        "Upper and lower case are different tables",
        r#"CREATE TABLE "Jobs" (n int); INSERT INTO "Jobs" VALUES (1);"#,
        &["--runtime", "Jobs", "--preserved", "jobs"],
        "true",
    ),
    Case::done(
        "Reserved words are names like others",
        r#"CREATE TABLE "select" (n int); CREATE TABLE "table" (n int); CREATE TABLE "user" (n int);
INSERT INTO "select" VALUES (1); INSERT INTO "user" VALUES (1);"#,
        &["--runtime", "select,table", "--preserved", "user"],
        "true",
    ),
    Case::done(
        "Unicode is compared as it is, composed or not",
        "CREATE TABLE \"caf\u{e9}\" (n int); INSERT INTO \"caf\u{e9}\" VALUES (1);
CREATE TABLE \"cafe\u{301}\" (n int); INSERT INTO \"cafe\u{301}\" VALUES (1); -- the same to the eye, another name
CREATE TABLE \"\u{2603} \u{442}\u{430}\u{431}\u{43b}\u{438}\u{446}\u{430}\" (n int);",
        &["--runtime", "caf\u{e9},\u{2603} \u{442}\u{430}\u{431}\u{43b}\u{438}\u{446}\u{430}"],
        "(SELECT count(*) FROM \"cafe\u{301}\") = 1",
    ),
    Case::done(
        "A name may have 63 bytes",
        "CREATE TABLE a23456789012345678901234567890123456789012345678901234567890123 (n serial);
INSERT INTO a23456789012345678901234567890123456789012345678901234567890123 DEFAULT VALUES;",
        &["--runtime", "a23456789012345678901234567890123456789012345678901234567890123"],
        "true",
    ),
    Case::refused(
        "A name that is too long is not cut until it fits a table",
        "CREATE TABLE a23456789012345678901234567890123456789012345678901234567890123 (n int);",
        &["--runtime", "a234567890123456789012345678901234567890123456789012345678901234"],
    ),
    Case::done(
        "A name with a line break shows as one line",
        "CREATE TABLE \"two\nlines\u{1b}[31m\" (n int);",
        &["--runtime", "two\nlines\u{1b}[31m"],
        "true",
    ),
    Case::done(
        "Tables of another schema are meant by its name",
        r#"CREATE SCHEMA "My ""App"; CREATE TABLE "My ""App".tasks (id serial);
INSERT INTO "My ""App".tasks DEFAULT VALUES;"#,
        &["--schema", "My \"App", "--runtime", "tasks"],
        r#"(SELECT count(*) FROM "My ""App".tasks) = 0"#,
    ),
    Case::refused(
        "Tables of a schema that the session does not look into, where it finds others of their names",
        "CREATE SCHEMA tenant; CREATE TABLE tenant.jobs (id int); INSERT INTO tenant.jobs VALUES (1);",
        &["--schema", "tenant", "--runtime", "jobs"],
    ),
    Case::refused(
        "A role whose search_path leads to tables of another schema",
        "CREATE SCHEMA tenant; CREATE TABLE tenant.jobs (id int); INSERT INTO tenant.jobs VALUES (1);
GRANT ALL ON SCHEMA tenant TO of_a_tenant; GRANT ALL ON ALL TABLES IN SCHEMA tenant TO of_a_tenant;
ALTER TABLE jobs OWNER TO of_a_tenant; ALTER TABLE logs OWNER TO of_a_tenant;
ALTER ROLE of_a_tenant SET search_path = tenant, public;",
        &LISTS,
    )
    .by("of_a_tenant"),
    Case::done(
        "The same with the schema of the tables that the session finds",
        "CREATE SCHEMA tenant; CREATE TABLE tenant.jobs (id int); INSERT INTO tenant.jobs VALUES (1);
GRANT ALL ON SCHEMA tenant TO of_another_tenant; ALTER TABLE tenant.jobs OWNER TO of_another_tenant;
ALTER ROLE of_another_tenant SET search_path = tenant, public;",
        &["--schema", "tenant", "--runtime", "jobs"],
        "(SELECT count(*) FROM public.jobs) = 10",
    )
    .by("of_another_tenant"),
    Case::done(
        "A schema in the search_path that the role may not use is none that it looks into",
        "CREATE SCHEMA tenant; CREATE TABLE tenant.jobs (id int); ALTER TABLE jobs OWNER TO of_no_tenant;
ALTER TABLE logs OWNER TO of_no_tenant; ALTER ROLE of_no_tenant SET search_path = tenant, public;",
        &LISTS,
        "true",
    )
    .by("of_no_tenant"),
    Case::refused("A schema that is not there", "", &["--schema", "Public", "--runtime", "jobs"]),
    Case::refused("A schema does not belong into a table's name", "", &["--runtime", "public.jobs"]),
    Case::refused(
        "Every table that is missing is named at once",
        "",
        &["--runtime", "jobs,Jobs,gone,lost", "--preserved", "acounts"],
    ),
    Case::refused(
        "Everything that is in the way is reported at once",
        "CREATE VIEW \"a view\" AS SELECT 1; ALTER TABLE accounts ADD job int REFERENCES jobs;",
        &["--runtime", "jobs,logs,a view,gone", "--preserved", "accounts"],
    ),
    Case::done(
        "A search_path that shadows catalogs, functions, operators and types fools nobody",
        r"CREATE SCHEMA evil; CREATE VIEW evil.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE false;
CREATE TABLE evil.pg_locks (n int); CREATE DOMAIN evil.text AS int; CREATE DOMAIN evil.xid8 AS int;
CREATE FUNCTION evil.wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.accounts; RETURN 1; END $$;
CREATE FUNCTION evil.quote_ident(name) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.wipe()::pg_catalog.text';
CREATE FUNCTION evil.format(pg_catalog.text, name, name) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.wipe()::pg_catalog.text';
CREATE FUNCTION evil.current_setting(pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.wipe()::pg_catalog.text';
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT evil.wipe()::pg_catalog.text::timestamptz';
CREATE FUNCTION evil.equal(name, pg_catalog.text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.wipe() = 1';
CREATE OPERATOR evil.= (FUNCTION = evil.equal, LEFTARG = name, RIGHTARG = pg_catalog.text);
ALTER ROLE shadowed SET search_path = evil, pg_catalog, public;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = evil, pg_catalog, public', current_database()); END $$;
GRANT ALL ON SCHEMA evil TO shadowed; GRANT ALL ON ALL TABLES IN SCHEMA public, evil TO shadowed;
ALTER TABLE jobs OWNER TO shadowed; ALTER TABLE logs OWNER TO shadowed;",
        &LISTS,
        "(SELECT count(*) FROM accounts) = 10",
    )
    .by("shadowed"),
];
