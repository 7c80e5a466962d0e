//! Schedules agree with the model on generated cases.

use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use torpor::schedule::{Cron, CronError, Schedule, ScheduleError, Transition, time_zone};

use super::model::{AFTER, case, cron, place};

/// Returns few cases by default, as each walks through a week. `PROPTEST_CASES` sets the number.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(32),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn agrees_with_the_model(case in case()) {
        let zone = time_zone(case.zone).unwrap();
        let schedule = match Schedule::parse(&case.raw(&zone)) {
            Ok(schedule) => schedule,
            Err(ScheduleError::Order { .. }) => return Err(TestCaseError::reject("order")),
            Err(ScheduleError::Cron { source: CronError::Never(_), .. }) => {
                return Err(TestCaseError::reject("never"));
            }
            Err(error) => panic!("{error}"),
        };
        let model = case.walk(&zone);
        for (now, state) in &model {
            prop_assert_eq!(schedule.state_at(*now).state, *state, "at {}", now);
        }
        // From one change to the next: they are exactly the changes in the model.
        let Some((first, mut state)) = model.first_key_value().map(|(at, state)| (*at, *state)) else {
            return Ok(());
        };
        // An exception alone can be the first thing that the model knows, and then not know again.
        prop_assume!(model.len() == usize::try_from((case.minute(AFTER * 1440).as_second() - first.as_second()) / 60).unwrap());
        let mut expected = Vec::new();
        for (at, now) in &model {
            if *now != state {
                state = *now;
                expected.push(Transition { state, at: *at });
            }
        }
        let end = case.minute(AFTER * 1440);
        let found: Vec<Transition> =
            std::iter::successors(schedule.next_transition(first), |last| schedule.next_transition(last.at))
                .take_while(|transition| transition.at < end)
                .collect();
        prop_assert_eq!(&found, &expected);
        // Whenever it is asked (the operator may have been down since), the answer is the same.
        for offset in (0..AFTER * 1440).step_by(611) {
            let now = case.minute(offset) + SignedDuration::from_secs(17);
            if now > first {
                let next = schedule.next_transition(now).filter(|transition| transition.at < end);
                prop_assert_eq!(next, expected.iter().find(|transition| transition.at > now).copied());
            }
        }
    }

    #[test]
    fn a_cron_is_found_both_ways((name, around) in place(), cron in cron()) {
        let Ok(parsed) = Cron::parse(&cron.text()) else { return Err(TestCaseError::reject("never")) };
        let zone = time_zone(name).unwrap();
        // Both ends are in the open: nothing is skipped or repeated there.
        let start = around - SignedDuration::from_hours(30);
        let end = around + SignedDuration::from_hours(30);
        let mut now = start;
        let mut shown = zone.to_datetime(now);
        let mut fired = Vec::new();
        while now < end {
            now += SignedDuration::from_mins(1);
            let wall = zone.to_datetime(now);
            while shown < wall {
                shown += 1.minute();
                if cron.fires(shown) && fired.last() != Some(&now) {
                    fired.push(now);
                }
            }
        }
        let forward: Vec<Timestamp> =
            std::iter::successors(parsed.next_after(&zone, start), |last| parsed.next_after(&zone, *last))
                .take_while(|at| *at <= end)
                .collect();
        prop_assert_eq!(&forward, &fired);
        let mut backward: Vec<Timestamp> = std::iter::successors(parsed.latest_at(&zone, end), |last| {
            parsed.latest_at(&zone, *last - SignedDuration::from_nanos(1))
        })
        .take_while(|at| *at > start)
        .collect();
        backward.reverse();
        prop_assert_eq!(&backward, &fired);
    }
}
