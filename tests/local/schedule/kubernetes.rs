//! A cron expression means what it means for a CronJob: compared with the library that Kubernetes uses.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use torpor::schedule::{Cron, CronError, time_zone};

use crate::support::kubernetes_cron::KubernetesCron;
use crate::support::schedule::at;

/// The comparison, and what it has found.
struct Comparison {
    kubernetes: KubernetesCron,
    counts: BTreeMap<&'static str, u32>,
}

/// Returns times over ten years: twenty that follow each other as the expression fires, and others apart.
fn times(start: Timestamp, ours: &Cron, zone: &str) -> Vec<Timestamp> {
    let zone = time_zone(zone).unwrap();
    let following = std::iter::successors(Some(start), |time| ours.next_after(&zone, *time));
    let apart = (1..120).map(|n| start + SignedDuration::from_secs(n * 2_659_561));
    following.take(20).chain(apart).collect()
}

/// Returns whether the clock of a zone changes within two days of a time.
fn is_near_change(zone: &str, time: Timestamp) -> bool {
    let days = SignedDuration::from_hours(48);
    let next = time_zone(zone).unwrap().following(time - days).next().map(|next| next.timestamp());
    next.is_some_and(|next| next < time + days)
}

impl Comparison {
    fn start() -> Self {
        Self { kubernetes: KubernetesCron::start(), counts: BTreeMap::new() }
    }

    fn count(&mut self, outcome: &'static str) {
        *self.counts.entry(outcome).or_default() += 1;
    }

    /// Compares the next times. They differ at most at a change of the clock: a CronJob skips the times that the
    /// change skips, and runs twice at those that occur twice.
    fn compare(&mut self, text: &str, zone: &str, start: Timestamp) -> Result<(), TestCaseError> {
        let ours = match Cron::parse(text) {
            Ok(ours) => ours,
            Err(CronError::Never(_)) => {
                self.count("expressions that never fire");
                let theirs = self.kubernetes.next(text, zone, &[start]);
                prop_assert_eq!(theirs, Ok(vec![None]), "'{}'", text);
                return Ok(());
            }
            Err(refusal) => {
                self.count("expressions that both refuse");
                // A CronJob accepts a field that has no value.
                let empty = text.split(' ').any(|field| field == ",");
                let theirs = self.kubernetes.next(text, zone, &[start]);
                prop_assert!(theirs.is_err() || empty, "{:?}: {}", theirs, refusal);
                prop_assert!(refusal.to_string().contains("; write "), "{}", refusal);
                return Ok(());
            }
        };
        let times = times(start, &ours, zone);
        let theirs = self.kubernetes.next(text, zone, &times);
        let theirs = theirs
            .map_err(|error| TestCaseError::fail(format!("a CronJob refuses '{text}': {error}")))?;
        self.count("expressions that fire");
        let in_zone = time_zone(zone).unwrap();
        for (time, theirs) in times.into_iter().zip(theirs) {
            let ours = ours.next_after(&in_zone, time).unwrap();
            let Some(theirs) = theirs else {
                // The library searches to the end of the fifth year.
                let years = in_zone.to_datetime(ours).year() - in_zone.to_datetime(time).year();
                prop_assert!(years > 5, "'{}' fires at {} after {}", text, ours, time);
                self.count("times beyond five years");
                continue;
            };
            if ours != theirs && (is_near_change(zone, ours) || is_near_change(zone, theirs)) {
                self.count("times at a change of the clock that differ");
                continue;
            }
            let context = format!("'{text}' after {time} in {zone}");
            prop_assert_eq!(ours, theirs, "{}", context);
            self.count("times that are the same");
        }
        Ok(())
    }

    /// Compares generated expressions, and prints what was found.
    fn of(zones: &'static [&'static str]) -> BTreeMap<&'static str, u32> {
        let comparison = Mutex::new(Self::start());
        let cases = (expression(), prop::sample::select(zones), start());
        TestRunner::new(config())
            .run(&cases, |(text, zone, start)| {
                comparison.lock().unwrap().compare(&text, zone, start)
            })
            .unwrap_or_else(|failure| panic!("{failure}"));
        let counts = comparison.into_inner().unwrap().counts;
        println!("{zones:?}: {counts:#?}");
        counts
    }
}

/// Writes a value, now and then with zeros before it, or beyond the border.
fn value(min: u32, max: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (min..=max).prop_map(|value| value.to_string()),
        1 => (min..=max).prop_map(|value| format!("0{value}")),
    ]
}

fn element(min: u32, max: u32, names: &'static [&'static str]) -> BoxedStrategy<String> {
    let name = if names.is_empty() {
        value(min, max).boxed()
    } else {
        prop::sample::select(names).prop_map(ToOwned::to_owned).boxed()
    };
    let one = prop_oneof![3 => value(min, max), 1 => name];
    let range = (min..=max, min..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let step = prop_oneof![
        4 => (1..=max + 2).prop_map(|step| step.to_string()),
        3 => prop::sample::select(&["1", "01", "2"][..]).prop_map(ToOwned::to_owned),
    ];
    let star = prop::sample::select(&["*", "?"][..]).prop_map(ToOwned::to_owned);
    prop_oneof![
        4 => one.clone(),
        2 => range.clone(),
        3 => star.clone(),
        4 => (prop_oneof![star, one.clone(), range], step).prop_map(|(range, step)| format!("{range}/{step}")),
        1 => (one.clone(), one).prop_map(|(from, to)| format!("{from}-{to}")),
    ]
    .boxed()
}

fn field(min: u32, max: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let wrong = prop::sample::select(
        &[
            "", ",", "x", "-1", "1-", "-", "1/0", "*/0", "*/", "/2", "1/2/3", "1-2-3", "60", "99",
            "MON-", "JANUARY", "*/x",
        ][..],
    );
    prop_oneof![
        60 => prop::collection::vec(element(min, max, names), 1..4).prop_map(|elements| elements.join(",")),
        20 => Just("*".to_owned()),
        // An empty element is none.
        1 => element(min, max, names).prop_map(|element| format!(",{element},")),
        1 => wrong.prop_map(ToOwned::to_owned),
    ]
}

const MONTHS: [&str; 5] = ["JAN", "feb", "Mar", "NOV", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "MON", "Tue", "WED", "THU", "fri", "SAT"];

/// Generates the day fields. Few days of a year, or none of any year, are in some.
fn days() -> impl Strategy<Value = String> {
    let generated = (field(1, 31, &[]), field(1, 12, &MONTHS), field(0, 6, &WEEKDAYS))
        .prop_map(|(day, month, weekday)| format!("{day} {month} {weekday}"));
    let rare = prop::sample::select(
        &["29 2 *", "29 feb ?", "30 2 *", "31 2,4,6 */1", "31 2-6/2 *,2", "*/30,31 11 *"][..],
    );
    prop_oneof![20 => generated, 1 => rare.prop_map(ToOwned::to_owned)]
}

fn expression() -> impl Strategy<Value = String> {
    (field(0, 59, &[]), field(0, 23, &[]), days())
        .prop_map(|(minute, hour, days)| format!("{minute} {hour} {days}"))
        // A week that ends with its Sunday goes beyond a CronJob.
        .prop_filter("a CronJob refuses", |text| !text.to_lowercase().contains("-sun"))
}

fn start() -> impl Strategy<Value = Timestamp> {
    (1_577_836_800_i64..4_102_444_800).prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(1000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn an_expression_means_what_it_means_for_a_cron_job() {
    let counts = Comparison::of(&["Etc/UTC"]);
    assert_eq!(counts.get("times at a change of the clock that differ"), None);
}

#[test]
fn only_at_a_change_of_the_clock_it_differs_from_a_cron_job() {
    Comparison::of(&["Europe/Kyiv", "America/New_York", "Asia/Kolkata"]);
}

#[test]
fn whatever_is_a_star_for_a_cron_job_is_one() {
    let mut comparison = Comparison::start();
    let utc = time_zone("Etc/UTC").unwrap();
    let next = |day: &str, weekday: &str| {
        let cron = Cron::parse(&format!("0 12 {day} * {weekday}")).unwrap();
        cron.next_after(&utc, at("2026-06-09T13:00:00Z")).unwrap().to_string()
    };
    // Wednesday is the 10th of June, Monday the 15th.
    for star in ["*", "?", "*/1", "?/1", "*/01", "1,*/1", "*,1", "*,3", "*/2,?"] {
        assert_eq!(next(star, "1"), "2026-06-15T12:00:00Z", "{star}");
        assert_eq!(next("15", star), "2026-06-15T12:00:00Z", "{star}");
    }
    // Both fields are alternatives.
    for alternative in ["1-31", "1/1"] {
        assert_eq!(next(alternative, "1"), "2026-06-10T12:00:00Z", "{alternative}");
    }
    assert_eq!(next("15", "0-6"), "2026-06-10T12:00:00Z");
    assert_eq!(next("*/2", "1"), "2026-06-11T12:00:00Z");
    let start = at("2026-06-09T13:00:00Z");
    for day in
        ["*", "?", "*/1", "?/1", "*/01", "1,*/1", "*,1", "*,3", "*/2,?", "1-31", "1/1", "*/2"]
    {
        comparison.compare(&format!("0 12 {day} * 1"), "Etc/UTC", start).unwrap();
    }
}

#[test]
fn rare_days_are_those_of_a_cron_job() {
    let mut comparison = Comparison::start();
    for (text, start, outcome) in [
        ("0 0 30 2 *", "2026-01-01T00:00:00Z", "expressions that never fire"),
        // 2100 has no leap day.
        ("0 0 29 2 *", "2097-01-01T00:00:00Z", "times beyond five years"),
    ] {
        comparison.compare(text, "Etc/UTC", at(start)).unwrap();
        assert!(comparison.counts.contains_key(outcome), "{text}");
    }
}
