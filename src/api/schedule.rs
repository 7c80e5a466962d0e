//! `spec.schedule` and `spec.override`: rules, exceptions, and a state for a limited time.

// KubeSchema derives from a copy of each struct inside a function, including `pub`.
#![allow(unreachable_pub)]
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A cron expression of five fields. The rule checks letters only: names appear only where a month
/// or a weekday belongs. It admits nothing that CEL's `matches` and [`crate::schedule::Cron`] would
/// read differently.
pub const CRON_RULE: &str = "self.matches('^ *[0-9*/,?-]+ +[0-9*/,?-]+ +[0-9LW*/,?-]+ \
    +[0-9A-Za-z*/,?-]+ +[0-9A-Za-z*/,?#-]+ *$')";
/// Message of [`CRON_RULE`].
pub const CRON_MESSAGE: &str = "must be a cron expression of five fields (minute, hour, day of \
    month, month, day of week), such as '0 20 * * 1-5'; write '0 0 * * *' instead of '@daily', and \
    the zone in timeZone";

/// A name of the IANA time zone database. CEL's time functions also accept `Local` and offsets such
/// as `+02:00`, which are not names of time zones.
pub const TIME_ZONE_RULE: &str = "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && \
    self != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0";
/// Message of [`TIME_ZONE_RULE`].
pub const TIME_ZONE_MESSAGE: &str = "must be the IANA name of a time zone, such as 'Europe/Kyiv' \
    or 'Etc/UTC' (names are case-sensitive; '+02:00' is not a name, 'Etc/GMT-2' is)";

/// A date of the calendar, or a time with its UTC offset.
pub const MOMENT_RULE: &str = "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}$') ? \
    timestamp(self + 'T00:00:00Z') > timestamp('0001-01-01T00:00:00Z') : \
    self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T') && \
    timestamp(self) > timestamp('0001-01-01T00:00:00Z')";
/// Message of [`MOMENT_RULE`].
pub const MOMENT_MESSAGE: &str = "must be a date that exists, such as '2026-12-24' (the whole day \
    in the schedule's zone), or a time with its offset, such as '2026-12-24T18:00:00Z'";

/// A time with its UTC offset.
pub const TIME_RULE: &str = "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T') && \
    timestamp(self) > timestamp('0001-01-01T00:00:00Z')";
/// Message of [`TIME_RULE`].
pub const TIME_MESSAGE: &str =
    "must be a time with its offset, such as '2026-12-28T20:00:00Z' or '2026-12-28T22:00:00+02:00'";

/// `from` is before the end of `to`. Two equal dates are one day. CEL does not know the time zone,
/// so the rule compares a date with a time only roughly; the operator compares them exactly when it
/// reads the schedule.
pub const FROM_TO_RULE: &str = "self.from.size() == 10 && self.to.size() == 10 ? \
    self.from <= self.to : \
    (self.from.size() == 10 ? timestamp(self.from + 'T00:00:00Z') - duration('14h') : timestamp(self.from)) \
    < (self.to.size() == 10 ? timestamp(self.to + 'T00:00:00Z') + duration('36h') : timestamp(self.to))";
/// Message of [`FROM_TO_RULE`].
pub const FROM_TO_MESSAGE: &str = "'to' must come after 'from'; both dates belong to the \
    exception, so write a single day as the same date twice";

/// The state of the project: Hibernated (workloads are down, ConfigMap keys are overridden) or
/// Awake (everything is as it was).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum DesiredState {
    /// Workloads are down, and ConfigMap keys have other values.
    Hibernated,
    /// Workloads and ConfigMaps are as they were.
    Awake,
}

/// `Schedule` lists the times at which the project goes to sleep and wakes. The most recent time of
/// all rules decides the state; if a `hibernate` and a `wake` time coincide, the project is awake.
/// Without `rules` the project is awake outside of the exceptions.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(validation = Rule::new(
    "(has(self.rules) && self.rules.size() > 0) || (has(self.exceptions) && self.exceptions.size() > 0)"
).message("a schedule needs at least one entry in 'rules' or 'exceptions': add one, or write 'state' instead of 'schedule'"))]
#[x_kube(validation = Rule::new(
    "!has(self.rules) || self.rules.size() == 0 || self.rules.exists(rule, has(rule.hibernate) || !has(rule.wake)) || \
    (has(self.exceptions) && self.exceptions.exists(exception, exception.state == 'Hibernated'))"
).message("no rule has 'hibernate' and no exception is Hibernated, so that the schedule never hibernates anything: add one of the two"))]
pub struct Schedule {
    /// `timeZone` is the IANA name of the time zone of the rules and of the dates in `exceptions`,
    /// for example `Europe/Kyiv`. If the clock skips a time, the rule takes effect right after the
    /// clock change (02:30 takes effect at 03:00). If the clock passes a time twice, the rule takes
    /// effect the first time only. Default: `Etc/UTC`.
    #[serde(default = "default_time_zone")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(TIME_ZONE_RULE).message(TIME_ZONE_MESSAGE))]
    pub time_zone: String,
    /// `rules` lists pairs of cron expressions, of which one may be absent. The most recent time of
    /// all rules decides the state, so rules may overlap, for example one rule for nights and one
    /// for weekends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<ScheduleRule>,
    /// `exceptions` lists periods in which the rules do not apply, for example holidays. If
    /// exceptions overlap, the exception with the latest `from` wins; if these are equal, an Awake
    /// exception wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub exceptions: Vec<Exception>,
}

pub(super) fn default_time_zone() -> String {
    "Etc/UTC".to_owned()
}

/// `ScheduleRule` is one pair of times at which the project goes to sleep and wakes. At least one of
/// the two is set.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(validation = Rule::new("has(self.hibernate) || has(self.wake)").message(
    "a rule needs 'hibernate', 'wake' or both: add one, or remove the rule"
))]
#[x_kube(validation = Rule::new("!has(self.hibernate) || !has(self.wake) || self.hibernate != self.wake").message(
    "'hibernate' and 'wake' are the same, so that the rule never hibernates anything: remove the rule, or change one of the two"
))]
pub struct ScheduleRule {
    /// `hibernate` is the cron expression of the times at which the project goes to sleep. It has
    /// five fields (minute, hour, day of month, month, day of week), for example `0 20 * * 1-5`,
    /// and means what it means for a CronJob: if both day fields are restricted, one match is
    /// enough. `7` (Sunday), `L`, `W` and `#` are supported in addition. Without `hibernate` the
    /// rule only wakes the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new(CRON_RULE).message(CRON_MESSAGE))]
    pub hibernate: Option<String>,
    /// `wake` is the cron expression of the times at which the project wakes, for example `0 7 * *
    /// 1-5`. Without `wake` the project stays hibernated until another rule, an exception or
    /// `override` wakes it, or a person changes the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new(CRON_RULE).message(CRON_MESSAGE))]
    pub wake: Option<String>,
}

/// `Exception` is a period with a fixed state. After the period the rules decide the state again,
/// as if the exception did not exist.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(validation = Rule::new(FROM_TO_RULE).message(FROM_TO_MESSAGE))]
pub struct Exception {
    /// `from` is the start of the period: a date (`2026-12-24`: from the start of that day in the
    /// time zone of the schedule) or a time with its UTC offset (`2026-12-24T18:00:00Z`).
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(MOMENT_RULE).message(MOMENT_MESSAGE))]
    pub from: String,
    /// `to` is the end of the period: a date (the last day of the period, in the time zone of the
    /// schedule) or a time with its UTC offset (the period ends at that time).
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(MOMENT_RULE).message(MOMENT_MESSAGE))]
    pub to: String,
    /// `state` is the state during the period: Hibernated or Awake.
    pub state: DesiredState,
    /// `reason` is a note that the status repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// `Override` sets a state until a given time. It takes precedence over `state` and `schedule`, and
/// expires by itself.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
pub struct Override {
    /// `state` is the state until `until`: Hibernated or Awake.
    pub state: DesiredState,
    /// `until` is the time at which the override expires, with its UTC offset, for example
    /// `2026-12-28T20:00:00Z`. To change the state permanently, change `state` or `schedule`
    /// instead.
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(TIME_RULE).message(TIME_MESSAGE))]
    pub until: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refused(result: Result<(), kube::core::cel::ValidationErrors>) -> String {
        result.expect_err("should be refused").to_string()
    }

    #[test]
    fn a_schedule_says_something() {
        let empty = json!({"timeZone": "Etc/UTC"});
        assert!(refused(Schedule::validate_cel(&empty, None)).contains("at least one entry"));
        let empty = json!({"rules": [], "exceptions": []});
        assert!(refused(Schedule::validate_cel(&empty, None)).contains("at least one entry"));
    }

    #[test]
    fn a_rule_has_two_different_crons_of_five_fields() {
        let rule = |hibernate: &str, wake: &str| {
            ScheduleRule::validate_cel(&json!({"hibernate": hibernate, "wake": wake}), None)
        };
        rule("0 20 * * 1-5", "0 7 * * MON-FRI").unwrap();
        rule("*/15 0-6 1,15,L jan-MAR ?", "0  7 LW * 5#L").unwrap();
        rule("? ?/2 */1 ? 5L", "0 7 15W * FRI-SUN").unwrap();
        for bad in [
            "@daily",
            "0 20 * *",
            "0 0 20 * * 1-5",
            "0 20 * * 1-5 2026",
            "TZ=UTC 0 20 * * 1",
            "0 MON * * 1",
            "0 20 * * +1",
        ] {
            assert!(refused(rule(bad, "0 7 * * *")).contains("five fields"), "{bad}");
            assert!(refused(rule("0 7 * * *", bad)).contains("five fields"), "{bad}");
        }
        assert!(refused(rule("0 7 * * *", "0 7 * * *")).contains("the same"));
    }

    #[test]
    fn a_rule_may_have_one_of_the_two() {
        let rule = |rule: &Value| ScheduleRule::validate_cel(rule, None);
        rule(&json!({"hibernate": "0 20 * * *"})).unwrap();
        rule(&json!({"wake": "0 7 * * *"})).unwrap();
        assert!(refused(rule(&json!({}))).contains("'hibernate', 'wake' or both"));
        // Something has to hibernate the project.
        let schedule = |schedule: &Value| Schedule::validate_cel(schedule, None);
        let wakes = json!([{"wake": "0 7 * * *"}, {"wake": "0 8 * * 6"}]);
        assert!(refused(schedule(&json!({"rules": wakes}))).contains("never hibernates anything"));
        let mut rules = wakes.clone();
        rules[1]["hibernate"] = json!("0 20 * * *");
        schedule(&json!({"rules": rules})).unwrap();
        let exception =
            |state: &str| json!([{"from": "2026-12-24", "to": "2026-12-24", "state": state}]);
        schedule(&json!({"rules": wakes, "exceptions": exception("Hibernated")})).unwrap();
        let never = schedule(&json!({"rules": wakes, "exceptions": exception("Awake")}));
        assert!(refused(never).contains("never hibernates anything"));
    }

    #[test]
    fn an_exception_is_a_span_that_exists() {
        let exception = |from: &str, to: &str| {
            Exception::validate_cel(&json!({"from": from, "to": to, "state": "Awake"}), None)
        };
        exception("2026-12-24", "2027-01-02").unwrap();
        exception("2026-12-24", "2026-12-24").unwrap();
        exception("2028-02-29", "2028-02-29").unwrap();
        exception("2026-12-24T18:00:00Z", "2026-12-24T20:00:00.5+01:00").unwrap();
        exception("2026-12-24", "2026-12-24T18:00:00Z").unwrap();
        exception("2026-12-24T18:00:00Z", "2026-12-24").unwrap();
        for (from, to) in [
            ("2026-12-24", "2026-12-23"),
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
            ("2026-12-24T18:00:00Z", "2026-12-24T19:00:00+02:00"),
            ("2026-12-24", "2026-12-23T09:00:00Z"),
            ("2026-12-26T18:00:00Z", "2026-12-24"),
        ] {
            assert!(refused(exception(from, to)).contains("must come after"), "{from} {to}");
        }
        for bad in
            ["2026-02-30", "2027-02-29", "2026-13-01", "2026-1-01", "24.12.2026", "tomorrow!"]
        {
            assert!(exception(bad, "2099-01-01").is_err(), "{bad}");
            assert!(exception("2020-01-01", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_override_ends_at_a_time() {
        let until =
            |until: &str| Override::validate_cel(&json!({"state": "Awake", "until": until}), None);
        until("2026-12-28T20:00:00Z").unwrap();
        until("2026-12-28T20:00:00+05:45").unwrap();
        for bad in ["2026-12-28", "2026-12-28T20:00:00", "2026-12-28 20:00:00Z", "20:00"] {
            assert!(until(bad).is_err(), "{bad}");
        }
    }

    /// What the API server fills in and bounds.
    #[test]
    fn the_schema_has_its_default_and_bounds() {
        let schema = serde_json::to_value(schemars::schema_for!(Schedule)).unwrap();
        let at = |pointer: &str| schema.pointer(pointer).cloned().unwrap_or(Value::Null);
        assert_eq!(at("/properties/timeZone/default"), "Etc/UTC");
        assert_eq!(at("/properties/timeZone/maxLength"), 64);
        assert_eq!(at("/properties/rules/maxItems"), 32);
        assert_eq!(at("/properties/exceptions/maxItems"), 200);
        assert_eq!(at("/properties/exceptions/items/properties/reason/maxLength"), 256);
        assert_eq!(at("/required"), Value::Null);
    }
}
