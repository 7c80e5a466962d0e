//! Children of tables.

use super::case::{Case, LISTS, hold};

#[tokio::test]
async fn no_child_is_emptied_that_was_not_asked_for() {
    hold("inheritance", CASES).await;
}

pub(crate) const CASES: &[Case] = &[
    Case::refused(
        "A child that nobody named",
        "CREATE TABLE urgent_jobs () INHERITS (jobs); INSERT INTO urgent_jobs (note) VALUES ('now');",
        &LISTS,
    ),
    Case::refused(
        "A child in another schema, and its child",
        "CREATE SCHEMA other; CREATE TABLE other.urgent_jobs () INHERITS (jobs);
CREATE TABLE grandchild () INHERITS (other.urgent_jobs);",
        &LISTS,
    ),
    Case::done(
        "A child that inherits no longer",
        "CREATE SCHEMA other; CREATE TABLE other.child () INHERITS (jobs); INSERT INTO other.child (note) VALUES ('stays');
ALTER TABLE other.child NO INHERIT jobs; ALTER TABLE other.child ALTER id DROP DEFAULT;",
        &LISTS,
        "true",
    ),
    Case::done(
        "Parents and children that are all listed",
        "CREATE TABLE base_a (a int); CREATE TABLE base_b (b int); CREATE TABLE child () INHERITS (base_a, base_b);
INSERT INTO base_a VALUES (1); INSERT INTO child VALUES (2, 3);",
        &["--runtime", "base_a,base_b,child"],
        "true",
    ),
    Case::refused(
        "A child of two tables of which one is to be emptied",
        "CREATE TABLE base_a (a int); CREATE TABLE base_b (b int); CREATE TABLE child () INHERITS (base_a, base_b);",
        &["--runtime", "base_a", "--preserved", "base_b,child"],
    ),
    Case::refused(
        "A child that an extension keeps is no table for advice",
        "CREATE EXTENSION file_fdw; CREATE SCHEMA _chunks; ALTER EXTENSION file_fdw ADD SCHEMA _chunks;
CREATE TABLE _chunks.jobs_1 () INHERITS (jobs);",
        &LISTS,
    ),
    Case::refused(
        "A child to be emptied of a preserved table",
        "CREATE TABLE guests () INHERITS (accounts);",
        &["--runtime", "guests", "--preserved", "accounts"],
    ),
    Case::done(
        "A child alone, of a table that is nobody's to keep",
        "CREATE TABLE base (n int); CREATE TABLE child () INHERITS (base);
INSERT INTO base VALUES (1); INSERT INTO child VALUES (2);",
        &["--runtime", "child"],
        "(SELECT count(*) FROM base) = 1",
    ),
];
