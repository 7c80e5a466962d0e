//! Sequences restart with their table, unless they feed another table.

use super::case::{Case, LISTS, hold};

#[tokio::test]
async fn sequences_restart_and_feed_nobody_else() {
    hold("sequences", CASES).await;
}

pub(crate) const CASES: &[Case] = &[
    Case::done(
        "Serial and identity columns start where they began",
        "CREATE TABLE tickets (id int GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 5), code serial);
INSERT INTO tickets (code) VALUES (DEFAULT), (DEFAULT);
CREATE SEQUENCE extra START WITH 7 OWNED BY tickets.code; SELECT nextval('extra');",
        &["--runtime", "tickets"],
        "nextval('tickets_id_seq') = 100 AND nextval('tickets_code_seq') = 1 AND nextval('extra') = 7",
    ),
    Case::refused(
        "A sequence that gives values to a preserved table",
        "ALTER TABLE accounts ALTER id SET DEFAULT nextval('jobs_id_seq');",
        &LISTS,
    ),
    Case::refused(
        "The same by way of a function or a domain",
        "CREATE FUNCTION next_job() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT nextval('jobs_id_seq'::regclass); END;
ALTER TABLE accounts ADD ticket bigint DEFAULT next_job();
CREATE DOMAIN job_number AS int DEFAULT nextval('jobs_id_seq'::regclass);
CREATE TABLE tickets (number job_number);",
        &LISTS,
    ),
    Case::refused(
        "The same where the default names the sequence in a text, which is looked up when a row comes",
        "ALTER TABLE accounts ALTER id SET DEFAULT nextval('public.jobs_id_seq'::text);
CREATE DOMAIN job_number AS int DEFAULT nextval('Jobs_Id_Seq'::text);
CREATE TABLE tickets (number job_number);",
        &LISTS,
    ),
    Case::refused(
        "The same where the text is the body of a function that a default calls",
        "CREATE FUNCTION next_job() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN nextval('jobs_id_seq'); END $$;
ALTER TABLE accounts ADD ticket bigint; ALTER TABLE accounts ALTER ticket SET DEFAULT next_job();",
        &LISTS,
    ),
    Case::done(
        "A text that names the sequence within the list is no obstacle, nor is one of a longer name",
        "ALTER TABLE logs ADD ticket int; ALTER TABLE logs ALTER ticket SET DEFAULT nextval('jobs_id_seq'::text);
CREATE SEQUENCE old_jobs_id_seq; ALTER TABLE accounts ALTER id SET DEFAULT nextval('old_jobs_id_seq'::text);",
        &LISTS,
        "true",
    ),
    Case::done(
        "A sequence of a preserved table goes on",
        "ALTER TABLE jobs ALTER id SET DEFAULT nextval('accounts_id_seq');",
        &LISTS,
        "nextval('accounts_id_seq') = 11",
    ),
    Case::done(
        "A sequence that belongs to nobody goes on",
        "CREATE SEQUENCE tickets; ALTER TABLE jobs ALTER id SET DEFAULT nextval('tickets');
ALTER TABLE accounts ALTER id SET DEFAULT nextval('tickets'); SELECT nextval('tickets');",
        &LISTS,
        "nextval('tickets') = 2",
    ),
    Case::refused(
        "A sequence that only belongs to the list, and gives values elsewhere",
        "CREATE SEQUENCE tickets OWNED BY jobs.note; ALTER TABLE accounts ALTER id SET DEFAULT nextval('tickets');",
        &LISTS,
    ),
    Case::done(
        "A sequence that was renamed",
        "ALTER SEQUENCE jobs_id_seq RENAME TO \"Job No\";",
        &LISTS,
        "nextval('\"Job No\"') = 1",
    ),
];
