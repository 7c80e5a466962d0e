//! `torpor truncate` beside psql's own TRUNCATE: whole processes on the same rows of the same server, in
//! turn, so that a machine whose speed changes changes it for both. It prints figures and judges nothing.
//!
//! `TORPOR_ROUNDS` says how many rounds are counted (20 by default).

#![allow(
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark may panic"
)]

#[path = "../tests/local/support/postgres/database.rs"]
mod database;
#[path = "../tests/local/support/postgres/server.rs"]
mod server;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use database::Database;
use torpor::api::database::RUNTIME_TABLES;

const CORNICE: &str = include_str!("../tests/local/support/postgres/cornice.sql");

/// How often cornice.sql's rows are put in: with one, there is hardly anything to empty.
const TIMES: usize = 10;

/// Rounds that are not counted.
const WARM_UP: usize = 2;

fn main() -> ExitCode {
    // Cargo itself passes `--bench`.
    if std::env::args().skip(1).any(|argument| argument != "--bench") {
        eprintln!("usage: [TORPOR_ROUNDS=N] cargo bench --bench truncate");
        return ExitCode::from(2);
    }
    let rounds = std::env::var("TORPOR_ROUNDS").map_or(Some(20), |rounds| rounds.parse().ok());
    let Some(rounds) = rounds.filter(|rounds| *rounds > 0) else {
        eprintln!("TORPOR_ROUNDS is not a number from 1");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(compare(rounds));
    ExitCode::SUCCESS
}

async fn compare(rounds: usize) {
    let mut database = Database::new("bench").await;
    database.run(CORNICE).await;
    let truncate =
        format!("BEGIN; TRUNCATE {} RESTART IDENTITY; COMMIT", RUNTIME_TABLES.join(", "));
    // Neither reads a file of settings or takes anything from the environment.
    let psql = || {
        let mut command = Command::new("psql");
        command.args([&database.url, "-X", "-q", "-c", &truncate]);
        command
    };
    let torpor = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
        command.arg("truncate").env("DATABASE_URL", &database.url);
        command
    };
    let refill = refill(&truncate);
    let (mut by_psql, mut by_torpor, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds + WARM_UP {
        let mut times = [Duration::ZERO; 2];
        // Who goes first changes with each round.
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let mut admin = database.rival().await;
            sqlx::raw_sql(sqlx::AssertSqlSafe(refill.clone())).execute(&mut admin).await.unwrap();
            drop(admin);
            times[which] = timed(if which == 0 { psql() } else { torpor() });
        }
        if round >= WARM_UP {
            by_psql.push(times[0].as_secs_f64() * 1000.0);
            by_torpor.push(times[1].as_secs_f64() * 1000.0);
            ratios.push(times[1].as_secs_f64() / times[0].as_secs_f64());
        }
    }
    println!(
        "{rounds} rounds, {} tables of Cornice; minimum, median, maximum",
        RUNTIME_TABLES.len()
    );
    println!("psql             {}", figures(by_psql, "ms"));
    println!("torpor truncate  {}", figures(by_torpor, "ms"));
    println!("ratio            {}", figures(ratios, ""));
}

/// The rows of the runtime tables, many times over.
fn refill(truncate: &str) -> String {
    let ours = |line: &&str| {
        RUNTIME_TABLES.iter().any(|table| {
            line.strip_prefix("INSERT INTO ").and_then(|rest| rest.split(' ').next())
                == Some(*table)
        })
    };
    let once: Vec<&str> = CORNICE.lines().filter(ours).collect();
    // The keys between them are of the first rows; what is added later refers to those.
    format!("{truncate}; {}; ANALYZE", vec![once.join("\n"); TIMES].join("\n"))
}

fn timed(mut command: Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
        command.env_remove(name);
    }
    let begun = Instant::now();
    let status = command.status().expect("it can be started");
    let took = begun.elapsed();
    assert!(status.success(), "{command:?} ended with {status}");
    took
}

fn figures(mut numbers: Vec<f64>, unit: &str) -> String {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers[numbers.len() / 2];
    let of = |number: f64| format!("{number:8.2}{unit}");
    format!("{} {} {}", of(numbers[0]), of(middle), of(numbers[numbers.len() - 1]))
}
