//! What the worst schedules that admission lets in cost: from the spec to the state and the next transition,
//! in the middle of a reconcile. Fails above 10 ms. `make bench-schedule` runs it.

// Something that cannot go on says why and ends.
#![allow(clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use jiff::civil::{Date, date};
use jiff::{Timestamp, ToSpan};
use torpor::api::schedule as api;
use torpor::schedule::{Basis, DesiredState, Override, Resolved};

const LIMIT: Duration = Duration::from_millis(10);
/// Rounds, of which the fastest counts: whatever else the machine does is no cost of the schedule.
const ROUNDS: usize = 25;

/// Returns as many rules as admission lets in.
fn rules(of: impl Fn(usize) -> (String, String)) -> Vec<api::ScheduleRule> {
    (0..32)
        .map(of)
        .map(|(hibernate, wake)| api::ScheduleRule { hibernate: Some(hibernate), wake: Some(wake) })
        .collect()
}

/// Returns as many exceptions as admission lets in: single days that are so many days apart.
fn exceptions(state: DesiredState, apart: i64) -> Vec<api::Exception> {
    let day = |n: i64| -> Date { date(2027, 1, 1).saturating_add((n * apart).days()) };
    (0..200)
        .map(|n| day(n).to_string())
        .map(|day| api::Exception { from: day.clone(), to: day, state, reason: None })
        .collect()
}

fn main() {
    let tied = || rules(|n| (format!("{n} 0 * * *"), format!("{n} 0 * * 0-6")));
    // Each minute of each day, in other words each time.
    let full = || rules(|n| ("* * * * *".to_owned(), format!("0-59 0-23 * * {},0-6", n % 7)));
    // Tied on all days but one in 28 years, which is an exception's.
    let leap = || rules(|n| (format!("{n} 0 29 2 *"), format!("{n} 0 29 2 ?")));
    // The hour that the clock skips has both edges, each year.
    let skipped = || rules(|_| ("15 3 * 3 0#L".to_owned(), "45 3 * 3 0#L".to_owned()));
    let nights = || {
        rules(|n| {
            let hibernate = format!("{n} {} * * {}", n % 24, n % 7);
            (hibernate, format!("{} {} 1-{},31 * 6", n + 9, n % 13, n + 1 - n / 31))
        })
    };
    let awake = DesiredState::Awake;
    let mut worst = Duration::ZERO;
    for (name, rules, exceptions) in [
        ("32 rules that are tied, 200 exceptions every other day", tied(), exceptions(awake, 2)),
        ("32 rules for each minute, 200 exceptions every other day", full(), exceptions(awake, 2)),
        ("32 rules for each minute, 200 exceptions in 41 years", full(), exceptions(awake, 75)),
        (
            "32 rules for each minute, 200 exceptions in 7000 years",
            full(),
            exceptions(awake, 12_000),
        ),
        ("32 rules for leap days, 200 exceptions in 41 years", leap(), exceptions(awake, 75)),
        ("32 rules in the hour that the clock skips", skipped(), exceptions(awake, 75)),
        ("32 rules for nights", nights(), Vec::new()),
    ] {
        let schedule = api::Schedule { time_zone: "Europe/Kyiv".to_owned(), rules, exceptions };
        let cost = (0..ROUNDS).map(|_| reconcile(&schedule)).min().unwrap_or_default();
        println!("{cost:>10.2?}  {name}");
        worst = worst.max(cost);
    }
    assert!(worst < LIMIT, "a schedule costs {worst:.2?}, more than {LIMIT:?}");
}

/// Parses a schedule and resolves it for three plans: as many as a reconcile makes at most.
fn reconcile(schedule: &api::Schedule) -> Duration {
    let now: Timestamp = "2026-12-31T12:00:00Z".parse().expect("a time");
    let until = "2026-12-31T23:00:00Z".to_owned();
    let began = Instant::now();
    let basis = Basis::parse(None, Some(schedule)).expect("a valid schedule");
    let raw = api::Override { state: DesiredState::Awake, until };
    let over = Override::parse(&raw).expect("a valid override");
    for _ in 0..3 {
        black_box(Resolved::at(&basis, Some(&over), now));
    }
    began.elapsed()
}
