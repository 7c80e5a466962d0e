//! When something sleeps: rules, exceptions to them, and a person's override.

// KubeSchema derives from a copy of each struct inside of a function, `pub` included.
#![allow(unreachable_pub)]
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A five-field cron expression, as far as its letters tell: names only where a month or a weekday
/// belongs, and nothing that CEL's `matches` and [`crate::schedule::Cron`] would read differently.
pub const CRON_RULE: &str = "self.matches('^ *[0-9*/,-]+ +[0-9*/,-]+ +[0-9LW*/,?-]+ \
    +[0-9A-Za-z*/,-]+ +[0-9A-Za-z*/,?#-]+ *$')";
/// What to write instead of what [`CRON_RULE`] refuses.
pub const CRON_MESSAGE: &str = "must be a cron expression of five fields (minute, hour, day of \
    month, month, day of week), such as '0 20 * * 1-5'; write '0 0 * * *' instead of '@daily', and \
    the zone in timeZone";

/// A name that the zone database knows. CEL's time functions also take offsets such as `+02:00`,
/// and `Local`; neither is a zone with rules of its own.
pub const TIME_ZONE_RULE: &str = "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && \
    self != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0";
/// What to write instead of what [`TIME_ZONE_RULE`] refuses.
pub const TIME_ZONE_MESSAGE: &str = "must be the IANA name of a time zone, such as 'Europe/Kyiv' \
    or 'Etc/UTC' (case matters; offsets such as '+02:00' are none, 'Etc/GMT-2' is)";

/// A day of the calendar or a time with its offset from UTC.
pub const MOMENT_RULE: &str = "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}$') ? \
    timestamp(self + 'T00:00:00Z') > timestamp('0001-01-01T00:00:00Z') : \
    self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T') && \
    timestamp(self) > timestamp('0001-01-01T00:00:00Z')";
/// What to write instead of what [`MOMENT_RULE`] refuses.
pub const MOMENT_MESSAGE: &str = "must be a date that exists, such as '2026-12-24' (the whole day \
    in the schedule's zone), or a time with its offset, such as '2026-12-24T18:00:00Z'";

/// A time with its offset from UTC.
pub const TIME_RULE: &str = "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T') && \
    timestamp(self) > timestamp('0001-01-01T00:00:00Z')";
/// What to write instead of what [`TIME_RULE`] refuses.
pub const TIME_MESSAGE: &str =
    "must be a time with its offset, such as '2026-12-28T20:00:00Z' or '2026-12-28T22:00:00+02:00'";

/// `from` is before the end that `to` gives. Two dates may be the same one. A date beside a time is
/// compared as far as that is possible without the zone; the rest is found when the schedule is read.
pub const FROM_TO_RULE: &str = "self.from.size() == 10 && self.to.size() == 10 ? \
    self.from <= self.to : \
    (self.from.size() == 10 ? timestamp(self.from + 'T00:00:00Z') - duration('14h') : timestamp(self.from)) \
    < (self.to.size() == 10 ? timestamp(self.to + 'T00:00:00Z') + duration('36h') : timestamp(self.to))";
/// What to write instead of what [`FROM_TO_RULE`] refuses.
pub const FROM_TO_MESSAGE: &str = "'to' must come after 'from'; of two dates both belong to the \
    exception, so a single day is written as the same date twice";

/// Asleep or awake.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum DesiredState {
    /// Down: workloads held, configuration overridden.
    Hibernated,
    /// Up, as it was.
    Awake,
}

/// When the object sleeps and wakes. Each rule gives edges; the latest edge of all rules tells the
/// state, and where a hibernate and a wake edge fall on the same time, it is awake. Without any
/// rule it is awake outside of the exceptions.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(validation = Rule::new(
    "(has(self.rules) && self.rules.size() > 0) || (has(self.exceptions) && self.exceptions.size() > 0)"
).message("a schedule needs at least one entry in 'rules' or 'exceptions'; for a state that does not change with time write 'state' instead"))]
pub struct Schedule {
    /// The IANA name of the time zone in which rules and dates are read, such as `Europe/Kyiv`.
    /// A rule's time that a change of the clock skips takes effect right after the change
    /// (02:30 at 03:00); one that is passed twice takes effect the first time only.
    #[serde(default = "default_time_zone")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(TIME_ZONE_RULE).message(TIME_ZONE_MESSAGE))]
    pub time_zone: String,
    /// Pairs of cron expressions. The latest edge of all rules wins, so rules may overlap: one for
    /// nights and one for weekends, for example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<ScheduleRule>,
    /// Spans of time in which the rules do not apply, such as holidays. Where several overlap, the
    /// one with the latest `from` wins, and of those with the same `from` an awake one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub exceptions: Vec<Exception>,
}

pub(super) fn default_time_zone() -> String {
    "Etc/UTC".to_owned()
}

/// One pair of times at which it goes to sleep and wakes.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(validation = Rule::new("self.hibernate != self.wake").message(
    "'hibernate' and 'wake' are the same, which always means awake; remove the rule or change one of them"
))]
pub struct ScheduleRule {
    /// When it goes to sleep: a cron expression of five fields (minute, hour, day of month, month,
    /// day of week), such as `0 20 * * 1-5`. Sunday is 0 or 7; names (`MON`, `JAN`) are known, and
    /// so are `L`, `W` and `#`. If both days are restricted, either is enough, as in a `CronJob`.
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new(CRON_RULE).message(CRON_MESSAGE))]
    pub hibernate: String,
    /// When it wakes, in the same way, such as `0 7 * * 1-5`.
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new(CRON_RULE).message(CRON_MESSAGE))]
    pub wake: String,
}

/// A span of time with a state of its own, whatever the rules say. When it ends, the rules apply
/// again as if it had not been.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(validation = Rule::new(FROM_TO_RULE).message(FROM_TO_MESSAGE))]
pub struct Exception {
    /// Its beginning: a date (`2026-12-24`, from the start of that day in the schedule's zone) or a
    /// time with its offset (`2026-12-24T18:00:00Z`).
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(MOMENT_RULE).message(MOMENT_MESSAGE))]
    pub from: String,
    /// Its end: a date (the last day, up to its end in the schedule's zone) or a time with its
    /// offset, at which the exception is over.
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(MOMENT_RULE).message(MOMENT_MESSAGE))]
    pub to: String,
    /// The state for that span.
    pub state: DesiredState,
    /// Why, for whoever reads the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// A person's word for a while: it beats `state` and `schedule`, and expires by itself.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
pub struct Override {
    /// The state until then.
    pub state: DesiredState,
    /// When it expires: a time with its offset, such as `2026-12-28T20:00:00Z`. To change the
    /// state for good, change `state` or `schedule` instead.
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
