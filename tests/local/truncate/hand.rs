//! Interactive use: the plan, the help, JSON.

use super::case::{database, with};
use crate::support::postgres::{Database, Ended, command, ended_of, truncate_at};

shown! {
    the_plan_of_the_runbooks_tables,
    progress_is_shown_at_a_terminal,
    a_report_on_standard_output_is_there_alone,
    a_report_that_cannot_be_written_is_said_before_anything_is_done,
}

const CORNICE: &str = include_str!("../support/postgres/cornice.sql");

async fn the_plan_of_the_runbooks_tables() -> Ended {
    let mut db = Database::new("plan").await;
    db.run(CORNICE).await;
    let ended = db.truncate(&["--dry-run"]).await;
    ended.done();
    assert_eq!(ended.stderr, "");
    // Aligned: every line of the table has its columns where the first has them.
    let table: Vec<&str> = ended.stdout.lines().take_while(|line| !line.is_empty()).collect();
    let end_of_rows = table[0].find("ROWS (ABOUT)").unwrap() + "ROWS (ABOUT)".len();
    for line in &table[1..] {
        assert!(line.as_bytes()[end_of_rows - 1].is_ascii_digit(), "{line}");
        assert_eq!(&line[end_of_rows..end_of_rows + 2], "  ", "{line}");
    }
    assert_eq!(table.len(), 1 + 13 + 2);
    ended
}

async fn a_report_on_standard_output_is_there_alone() -> Ended {
    let db = database("report").await;
    let arguments = with(&["--report", "-"]);
    let output = command(&db.url, &arguments).output().await.unwrap();
    let ended = ended_of(&db.url, &arguments, output, String::new());
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["totals"]["rows"], 20);
    assert!(ended.stderr.contains("Emptied 2 tables"), "{ended:?}");
    ended
}

async fn a_report_that_cannot_be_written_is_said_before_anything_is_done() -> Ended {
    let mut db = database("no_report").await;
    let arguments = with(&["--report", "/nonexistent/report"]);
    let output = command(&db.url, &arguments).output().await.unwrap();
    let ended = ended_of(&db.url, &arguments, output, String::new());
    assert_eq!((ended.status, db.count("jobs").await), (3, 10));
    ended
}

async fn progress_is_shown_at_a_terminal() -> Ended {
    let db = database("terminal").await;
    let arguments = with(&[]);
    // script gives it a terminal of its own.
    let line = format!("{} truncate {}", env!("CARGO_BIN_EXE_torpor"), arguments.join(" "));
    let output = tokio::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("DATABASE_URL", &db.url)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let ended = ended_of(&db.url, &arguments, output, String::new());
    assert_eq!(ended.status, 0, "{ended:?}");
    ended
}

#[tokio::test]
async fn the_examples_in_the_help_work() {
    let help = command("", &["--help"]).output().await.unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let examples: Vec<&str> =
        help.lines().filter_map(|line| line.trim().strip_prefix("torpor truncate")).collect();
    assert!(examples.len() >= 5, "{help}");
    let mut db = Database::new("examples").await;
    db.run(CORNICE).await;
    db.run("CREATE SCHEMA app; CREATE TABLE app.jobs (n int); CREATE TABLE app.job_logs (n int); CREATE TABLE app.accounts (n int)").await;
    for example in examples {
        let example = example.replace("--confirm cornice", "--confirm t_examples");
        let arguments: Vec<&str> = example.split_whitespace().collect();
        let ended = truncate_at(&db.url, &arguments).await;
        assert_eq!(ended.status, 0, "{example}: {ended:?}");
    }
}
