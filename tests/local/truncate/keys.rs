//! Foreign keys within the list and out of it.

use super::case::{Case, LISTS, hold};

#[tokio::test]
async fn foreign_keys_do_not_lead_out_of_the_list() {
    hold("keys", CASES).await;
}

pub(crate) const CASES: &[Case] = &[
    Case::refused(
        "A foreign key of a preserved table",
        r#"ALTER TABLE accounts ADD job int, ADD CONSTRAINT "Last job" FOREIGN KEY (job) REFERENCES jobs;"#,
        &LISTS,
    ),
    Case::refused(
        "A foreign key of a table that nobody named",
        "CREATE TABLE notes (job int REFERENCES jobs ON DELETE CASCADE);",
        &LISTS,
    ),
    Case::refused(
        "Foreign keys that lead out through several tables are all named",
        r#"CREATE TABLE notes (id int PRIMARY KEY, job int REFERENCES jobs, of int REFERENCES notes);
CREATE TABLE "Note lines" (id int PRIMARY KEY, note int REFERENCES notes);
CREATE TABLE files (line int REFERENCES "Note lines", note int REFERENCES notes);
CREATE TABLE tags (job int REFERENCES jobs);
CREATE TABLE others (id int PRIMARY KEY); CREATE TABLE of_others (other int REFERENCES others);"#,
        &LISTS,
    ),
    Case::refused(
        "A foreign key of a table that an extension keeps",
        "CREATE EXTENSION file_fdw; CREATE TABLE notes (job int); ALTER EXTENSION file_fdw ADD TABLE notes;
ALTER TABLE notes ADD CONSTRAINT job FOREIGN KEY (job) REFERENCES jobs;",
        &LISTS,
    ),
    Case::refused(
        "A foreign key in another schema, whose table cannot be added",
        "CREATE SCHEMA audit; CREATE TABLE audit.trail (job int REFERENCES jobs ON DELETE SET NULL);",
        &LISTS,
    ),
    Case::refused(
        "A foreign key that is NOT VALID counts",
        "ALTER TABLE accounts ADD job int; ALTER TABLE accounts ADD FOREIGN KEY (job) REFERENCES jobs NOT VALID;",
        &LISTS,
    ),
    Case::refused(
        "A foreign key that is deferred counts",
        "ALTER TABLE accounts ADD job int REFERENCES jobs DEFERRABLE INITIALLY DEFERRED;",
        &LISTS,
    ),
    Case::refused(
        "A foreign key whose triggers are disabled counts",
        "ALTER TABLE accounts ADD job int REFERENCES jobs; ALTER TABLE accounts DISABLE TRIGGER ALL;",
        &LISTS,
    ),
    Case::refused(
        "Two foreign keys between the same tables are two",
        "ALTER TABLE accounts ADD first int REFERENCES jobs, ADD last int REFERENCES jobs;",
        &LISTS,
    ),
    Case::done(
        "Self-references, cycles, deferred and unvalidated keys within the list are no obstacle",
        "CREATE TABLE a (id int PRIMARY KEY, up int REFERENCES a, b int);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b NOT VALID;
INSERT INTO a VALUES (1, 1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1;",
        &["--runtime", "a,b"],
        "true",
    ),
    Case::refused(
        "Half of a cycle is refused",
        "CREATE TABLE a (id int PRIMARY KEY, b int);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;",
        &["--runtime", "a", "--preserved", "b"],
    ),
    Case::done(
        "What the list refers to stays",
        "ALTER TABLE jobs ADD account int REFERENCES accounts ON DELETE CASCADE; UPDATE jobs SET account = 1;",
        &LISTS,
        "true",
    ),
    Case::refused(
        "A foreign key to one partition",
        "CREATE TABLE runs (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE runs_1 PARTITION OF runs FOR VALUES FROM (0) TO (10);
CREATE TABLE runs_2 PARTITION OF runs DEFAULT;
CREATE TABLE notes (run int REFERENCES runs_1);",
        &["--runtime", "runs"],
    ),
    Case::refused(
        "A foreign key of a partitioned table to another is named once, by the name that a person gave it",
        "CREATE TABLE runs (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE runs_1 PARTITION OF runs FOR VALUES FROM (0) TO (10);
CREATE TABLE runs_2 PARTITION OF runs DEFAULT;
CREATE TABLE notes (id int, run int CONSTRAINT note_of REFERENCES runs) PARTITION BY RANGE (id);
CREATE TABLE notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (10);
CREATE TABLE notes_2 PARTITION OF notes DEFAULT;",
        &["--runtime", "runs"],
    ),
    Case::refused(
        "A foreign key of a partitioned table of which only the partitions are listed",
        "CREATE TABLE runs (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE runs_1 PARTITION OF runs DEFAULT;
CREATE TABLE notes (id int, run int CONSTRAINT note_of REFERENCES runs) PARTITION BY RANGE (id);
CREATE TABLE notes_1 PARTITION OF notes DEFAULT;",
        &["--runtime", "runs_1,notes_1"],
    ),
    Case::done(
        "Foreign keys between partitioned tables in the list are no obstacle",
        "CREATE TABLE runs (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE runs_1 PARTITION OF runs DEFAULT;
CREATE TABLE notes (id int, run int REFERENCES runs) PARTITION BY RANGE (id);
CREATE TABLE notes_1 PARTITION OF notes DEFAULT;
INSERT INTO runs VALUES (1); INSERT INTO notes VALUES (1, 1);",
        &["--runtime", "runs,notes"],
        "true",
    ),
];
