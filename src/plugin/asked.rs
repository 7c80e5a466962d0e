//! The request of a spec at a time, in words: the state, the field that decides it, and the change that follows.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::when::{absolute, moment};
use crate::api::schedule::{DesiredState, ScheduleRule};
use crate::api::{HibernationSpec, MaintenanceWindowSpec};
use crate::schedule::{Basis, Cause, DesiredCause, Override, Resolved, Transition};

/// The request of a Hibernation at a time.
pub(super) struct Asked {
    /// The resolved state.
    pub(super) resolved: Resolved,
    /// `spec.state` or `spec.schedule`.
    pub(super) basis: Basis,
    /// `spec.override`, expired or not.
    pub(super) override_: Option<Override>,
}

impl Asked {
    /// Reads a spec. Fails with the reason why it is not valid.
    pub(super) fn of(spec: &HibernationSpec, now: Timestamp) -> Result<Self, String> {
        let invalid = |error: crate::schedule::ScheduleError| error.to_string();
        let basis = Basis::parse(spec.state, spec.schedule.as_ref()).map_err(invalid)?;
        let override_ =
            spec.override_.as_ref().map(Override::parse).transpose().map_err(invalid)?;
        let resolved = Resolved::at(&basis, override_.as_ref(), now);
        Ok(Self { resolved, basis, override_ })
    }

    /// Returns the override, if it has not expired.
    pub(super) fn in_force(&self, now: Timestamp) -> Option<Override> {
        self.override_.filter(|overriding| now < overriding.until)
    }

    /// Returns the resolved state at a time without the override.
    pub(super) fn without_override(&self, at: Timestamp) -> Resolved {
        Resolved::at(&self.basis, None, at)
    }

    /// Returns the request in words.
    pub(super) fn in_words(
        &self,
        spec: &HibernationSpec,
        now: Timestamp,
        zone: &TimeZone,
    ) -> String {
        let state = word(self.resolved.state);
        let by = cause(&self.resolved.cause, self.resolved.state, spec);
        match self.resolved.cause {
            DesiredCause::Override { until } => {
                let after = self.without_override(until);
                format!(
                    "{state} until {}, by {by}; then {}, by {}",
                    moment(until, now, zone),
                    word(after.state),
                    cause(&after.cause, after.state, spec)
                )
            }
            _ => format!("{state}, by {by}"),
        }
    }
}

/// Returns the name of a state.
pub(super) fn word(state: DesiredState) -> &'static str {
    match state {
        DesiredState::Hibernated => "Hibernated",
        DesiredState::Awake => "Awake",
    }
}

/// Returns the field that decides a state.
pub(super) fn cause(cause: &DesiredCause, state: DesiredState, spec: &HibernationSpec) -> String {
    match cause {
        DesiredCause::State => "spec.state".to_owned(),
        DesiredCause::Override { .. } => "spec.override".to_owned(),
        DesiredCause::Schedule(Cause::Rule { index }) => {
            let rules = spec.schedule.as_ref().map(|schedule| schedule.rules.as_slice());
            let cron = rules.and_then(|rules| rules.get(*index)).and_then(|rule| cron(rule, state));
            let cron = cron.map(|cron| format!(" ({cron})")).unwrap_or_default();
            format!("spec.schedule.rules[{index}]{cron}")
        }
        DesiredCause::Schedule(Cause::Exception { index, reason }) => {
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("spec.schedule.exceptions[{index}]{reason}")
        }
        DesiredCause::Schedule(Cause::Default) => {
            "spec.schedule, of which no rule has fired and no exception applies".to_owned()
        }
    }
}

fn cron(rule: &ScheduleRule, state: DesiredState) -> Option<String> {
    match state {
        DesiredState::Hibernated => rule.hibernate.as_ref().map(|cron| format!("hibernate {cron}")),
        DesiredState::Awake => rule.wake.as_ref().map(|cron| format!("wake {cron}")),
    }
}

/// Returns the next transition in words; empty without one.
pub(super) fn next_in_words(next: Option<Transition>, now: Timestamp, zone: &TimeZone) -> String {
    next.map(|next| format!("{} at {}", word(next.state), moment(next.at, now, zone)))
        .unwrap_or_default()
}

/// Returns the request of a MaintenanceWindow in words.
pub(super) fn window_in_words(spec: &MaintenanceWindowSpec, zone: &TimeZone) -> String {
    let duration = spec.duration.as_ref().map(|duration| format!(", for {duration}"));
    let duration = duration.unwrap_or_else(|| ", without an end".to_owned());
    let begins = match (&spec.start, &spec.after, &spec.schedule) {
        (Some(start), None, None) => match start.parse() {
            Ok(at) => format!("maintenance at {}{duration}, by spec.start", absolute(at, zone)),
            Err(_) => format!("maintenance at {start}{duration}, by spec.start"),
        },
        (None, Some(after), None) => format!("maintenance after {after}{duration}, by spec.after"),
        (None, None, Some(schedule)) => format!(
            "maintenance at {} in {}{duration}, by spec.schedule",
            schedule.cron, schedule.time_zone
        ),
        _ => "nothing: spec needs exactly one of start, after and schedule".to_owned(),
    };
    if spec.suspend { format!("nothing, by spec.suspend; without it: {begins}") } else { begins }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn says(spec: &Value) -> String {
        let spec: HibernationSpec = serde_json::from_value(spec.clone()).unwrap();
        let now = "2026-11-30T18:00:00Z".parse().unwrap();
        let zone = crate::schedule::time_zone("Europe/Kyiv").unwrap();
        match Asked::of(&spec, now) {
            Ok(asked) => asked.in_words(&spec, now, &zone),
            Err(error) => error,
        }
    }

    #[test]
    fn the_field_that_decides_is_named() {
        assert_eq!(says(&json!({"state": "Awake"})), "Awake, by spec.state");
        let rules = json!({"timeZone": "Europe/Kyiv",
            "rules": [{"hibernate": "0 20 * * 1-5", "wake": "0 7 * * 1-5"}]});
        assert_eq!(
            says(&json!({"schedule": rules})),
            "Hibernated, by spec.schedule.rules[0] (hibernate 0 20 * * 1-5)"
        );
        let override_ = json!({"state": "Awake", "until": "2026-11-30T20:00:00Z"});
        assert_eq!(
            says(&json!({"schedule": rules, "override": override_})),
            "Awake until Mon 2026-11-30 22:00 EET (in 2 h), by spec.override; then Hibernated, by \
             spec.schedule.rules[0] (hibernate 0 20 * * 1-5)"
        );
        let exception = json!({"exceptions": [{"from": "2026-11-30", "to": "2026-11-30",
            "state": "Hibernated", "reason": "holiday"}]});
        assert_eq!(
            says(&json!({"schedule": exception})),
            "Hibernated, by spec.schedule.exceptions[0] (holiday)"
        );
        assert!(says(&json!({})).contains("exactly one of 'state' and 'schedule'"));
    }

    #[test]
    fn the_request_of_a_window_is_told() {
        let says = |spec: Value| {
            let spec = serde_json::from_value(spec).unwrap();
            window_in_words(&spec, &TimeZone::UTC)
        };
        assert_eq!(
            says(json!({"after": "12h", "duration": "2h"})),
            "maintenance after 12h, for 2h, by spec.after"
        );
        assert_eq!(
            says(json!({"start": "2026-12-01T02:00:00Z", "suspend": true})),
            "nothing, by spec.suspend; without it: maintenance at Tue 2026-12-01 02:00 UTC, without an end, \
             by spec.start"
        );
        let schedule = json!({"cron": "0 2 * * SUN", "timeZone": "Europe/Kyiv"});
        assert_eq!(
            says(json!({"schedule": schedule, "duration": "2h"})),
            "maintenance at 0 2 * * SUN in Europe/Kyiv, for 2h, by spec.schedule"
        );
    }
}
