//! Side effects of a truncation: triggers, publications, rules.

use super::case::{Case, LISTS, hold};

#[tokio::test]
async fn nothing_is_set_off_elsewhere() {
    hold("effects", CASES).await;
}

/// A trigger function that would empty a preserved table.
macro_rules! wipe {
    ($rest:literal) => {
        concat!(
            "CREATE FUNCTION wipe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM accounts; RETURN NULL; END $$;\n",
            $rest
        )
    };
}

pub(crate) const CASES: &[Case] = &[
    Case::refused(
        "A trigger on TRUNCATE",
        wipe!("CREATE TRIGGER \"Wipe\" AFTER TRUNCATE ON jobs EXECUTE FUNCTION wipe();"),
        &LISTS,
    ),
    Case::refused(
        "A trigger on TRUNCATE that runs always",
        wipe!("CREATE TRIGGER wipe BEFORE TRUNCATE ON jobs EXECUTE FUNCTION wipe();\nALTER TABLE jobs ENABLE ALWAYS TRIGGER wipe;"),
        &LISTS,
    ),
    Case::done(
        "A trigger on TRUNCATE that is disabled",
        wipe!("CREATE TRIGGER wipe AFTER TRUNCATE ON jobs EXECUTE FUNCTION wipe(); ALTER TABLE jobs DISABLE TRIGGER wipe;"),
        &LISTS,
        "true",
    ),
    Case::done(
        "A trigger on TRUNCATE that is for replicas only",
        wipe!("CREATE TRIGGER wipe AFTER TRUNCATE ON jobs EXECUTE FUNCTION wipe(); ALTER TABLE jobs ENABLE REPLICA TRIGGER wipe;"),
        &LISTS,
        "true",
    ),
    Case::refused(
        "The same where the role's sessions are a replica's",
        wipe!("CREATE TRIGGER wipe AFTER TRUNCATE ON jobs EXECUTE FUNCTION wipe(); ALTER TABLE jobs ENABLE REPLICA TRIGGER wipe;
ALTER ROLE replicating SUPERUSER; ALTER ROLE replicating SET session_replication_role = replica;"),
        &LISTS,
    )
    .by("replicating"),
    Case::done(
        "A trigger on DELETE does not run, nor does a rule",
        wipe!("CREATE TRIGGER wipe AFTER DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION wipe();
CREATE RULE wipe AS ON DELETE TO logs DO ALSO DELETE FROM accounts;"),
        &LISTS,
        "true",
    ),
    Case::refused("A publication of all tables", "CREATE PUBLICATION \"Pub\" FOR ALL TABLES;", &LISTS),
    Case::refused("A publication of one of the tables", "CREATE PUBLICATION pub FOR TABLE logs;", &LISTS),
    Case::refused(
        "A publication of the schema",
        "CREATE PUBLICATION pub FOR TABLES IN SCHEMA public;",
        &LISTS,
    ),
    Case::refused(
        "A publication of a partition's schema",
        "CREATE SCHEMA parts; CREATE TABLE events (at int) PARTITION BY RANGE (at);
CREATE TABLE parts.events_1 PARTITION OF events DEFAULT; CREATE PUBLICATION pub FOR TABLES IN SCHEMA parts;",
        &["--runtime", "events"],
    ),
    Case::refused(
        "A publication of a partitioned table, via its root",
        "CREATE TABLE events (at int) PARTITION BY RANGE (at); CREATE TABLE events_1 PARTITION OF events DEFAULT;
CREATE PUBLICATION pub FOR TABLE events WITH (publish_via_partition_root);",
        &["--runtime", "events"],
    ),
    Case::done(
        "A publication that is allowed",
        "CREATE PUBLICATION pub FOR ALL TABLES;",
        &["--runtime", "jobs,logs", "--preserved", "accounts", "--allow-replicated"],
        "true",
    ),
    Case::done(
        "A publication of other tables, and one that leaves truncations out",
        "CREATE PUBLICATION others FOR TABLE accounts;
CREATE PUBLICATION changes FOR ALL TABLES WITH (publish = 'insert, update, delete');",
        &LISTS,
        "true",
    ),
    Case::done(
        "An unlogged table is in no publication",
        "CREATE UNLOGGED TABLE scratch (n int); INSERT INTO scratch VALUES (1); CREATE PUBLICATION pub FOR ALL TABLES;",
        &["--runtime", "scratch"],
        "true",
    ),
];
