//! Privileges and settings of the role.

use super::case::{Case, LISTS, hold};

#[tokio::test]
async fn a_missing_privilege_is_named() {
    hold("privileges", CASES).await;
}

pub(crate) const CASES: &[Case] = &[
    Case::refused(
        "A refusal names all privileges that a role lacks",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC;",
        &LISTS,
    )
    .by("nobody_1"),
    Case::refused(
        "A role that may truncate but does not own the sequences",
        "GRANT TRUNCATE ON jobs, logs TO truncates_only;",
        &LISTS,
    )
    .by("truncates_only"),
    Case::done(
        "TRUNCATE alone is enough where no sequence restarts",
        "CREATE TABLE plain (n int); INSERT INTO plain VALUES (1); GRANT TRUNCATE ON plain TO PUBLIC;",
        &["--runtime", "plain"],
        "true",
    )
    .by("of_the_public"),
    Case::done(
        "A member of the owner may what the owner may",
        "CREATE ROLE owner_1; ALTER TABLE jobs OWNER TO owner_1; ALTER TABLE logs OWNER TO owner_1;
GRANT owner_1 TO member_1;",
        &LISTS,
        "true",
    )
    .by("member_1"),
    Case::refused(
        "A member that does not inherit the owner's privileges",
        "CREATE ROLE owner_2; ALTER TABLE jobs OWNER TO owner_2; ALTER TABLE logs OWNER TO owner_2;
ALTER ROLE member_2 NOINHERIT; GRANT owner_2 TO member_2;",
        &LISTS,
    )
    .by("member_2"),
    Case::done(
        "The privilege on a partitioned table is enough for its partitions",
        "CREATE SCHEMA parts; CREATE TABLE events (at int) PARTITION BY RANGE (at);
CREATE TABLE parts.events_1 PARTITION OF events DEFAULT; INSERT INTO events VALUES (1);
GRANT TRUNCATE ON events TO parent_only;",
        &["--runtime", "events"],
        "true",
    )
    .by("parent_only"),
    Case::done(
        "Settings of the role or database are no obstacle",
        "ALTER TABLE jobs OWNER TO oddly_set; ALTER TABLE logs OWNER TO oddly_set;
ALTER ROLE oddly_set SET default_transaction_read_only = on; ALTER ROLE oddly_set SET default_transaction_isolation = 'serializable';
ALTER ROLE oddly_set SET statement_timeout = '10s'; ALTER ROLE oddly_set SET lock_timeout = '1ms';
ALTER ROLE oddly_set SET idle_in_transaction_session_timeout = '10s'; ALTER ROLE oddly_set SET synchronous_commit = off;
ALTER ROLE oddly_set SET quote_all_identifiers = on; ALTER ROLE oddly_set SET standard_conforming_strings = off;
ALTER ROLE oddly_set SET DateStyle = 'German'; ALTER ROLE oddly_set SET TimeZone = 'Pacific/Chatham';",
        &LISTS,
        "true",
    )
    .by("oddly_set"),
];
