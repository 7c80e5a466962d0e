//! Creates schedules from the texts of a spec, and checks their transitions.

use jiff::Timestamp;
use torpor::api::schedule as api;
use torpor::schedule::{DesiredState, Schedule};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Creates a schedule. An empty text stands for an expression that is absent.
pub(crate) fn raw(
    zone: &str,
    rules: &[(&str, &str)],
    exceptions: &[(&str, &str, DesiredState)],
) -> api::Schedule {
    let rules = rules.iter().map(|(hibernate, wake)| api::ScheduleRule {
        hibernate: expression(hibernate),
        wake: expression(wake),
    });
    let exceptions = exceptions.iter().map(|(from, to, state)| api::Exception {
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        state: *state,
        reason: None,
    });
    api::Schedule {
        time_zone: zone.to_owned(),
        rules: rules.collect(),
        exceptions: exceptions.collect(),
    }
}

pub(crate) fn schedule(
    zone: &str,
    rules: &[(&str, &str)],
    exceptions: &[(&str, &str, DesiredState)],
) -> Schedule {
    Schedule::parse(&raw(zone, rules, exceptions)).unwrap()
}

fn expression(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Checks the transitions after `now`, in order.
pub(crate) fn expect_changes(schedule: &Schedule, now: &str, expected: &[(DesiredState, &str)]) {
    let mut now = at(now);
    for (state, at) in expected {
        let next = schedule.next_transition(now).unwrap();
        assert_eq!((next.state, next.at.to_string().as_str()), (*state, *at), "after {now}");
        now = next.at;
    }
}

pub(crate) fn expect_states(schedule: &Schedule, states: &[(&str, DesiredState)]) {
    for (now, state) in states {
        assert_eq!(schedule.state_at(at(now)).state, *state, "{now}");
    }
}
