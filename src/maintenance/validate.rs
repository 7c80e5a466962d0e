//! Validates the spec of a MaintenanceWindow: after this only valid types exist.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::api::maintenance_window::{MaintenanceWindowSpec, WindowSchedule};
use crate::api::reason::Reason;
use crate::hold::lever::digest;
use crate::schedule::{Cron, CronError, Period, PeriodError, time_zone};
use crate::transition::spec::{self, Fields, Spec};

/// A valid spec.
#[derive(Debug)]
pub struct Valid {
    /// `start`, `after` or `schedule`.
    pub begins: Begins,
    /// How long a window lasts.
    pub duration: Option<SignedDuration>,
    /// Whether it is suspended.
    pub suspend: bool,
    /// Workloads, ConfigMaps and deals.
    pub hold: Spec,
}

/// When windows begin.
#[derive(Debug)]
pub enum Begins {
    /// Once, then.
    At(Timestamp),
    /// Once, so long after its creation or its last change.
    After {
        /// As it was written.
        text: String,
        /// How long.
        duration: SignedDuration,
    },
    /// Again and again.
    Every(Box<Recurrence>),
    /// Never: for an object whose spec can't be read.
    Never,
}

/// A schedule of windows.
#[derive(Debug)]
pub struct Recurrence {
    /// The schedule, for the status.
    pub text: String,
    cron: Cron,
    zone: TimeZone,
    exceptions: Vec<Period>,
}

/// Why a spec is not valid, and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A part that both kinds have.
    #[error(transparent)]
    Hold(#[from] spec::Invalid),
    /// None, or several, of the three.
    #[error("give exactly one of `start`, `after` and `schedule`")]
    Begins,
    /// A time that does not parse.
    #[error("start: {0:?} is not a time; write for example `2026-12-01T02:00:00Z`")]
    Start(String),
    /// A duration that does not parse.
    #[error("{field}: {text:?} is not a duration; write for example `2h`")]
    Duration {
        /// Which.
        field: &'static str,
        /// The text in the spec.
        text: String,
    },
    /// A schedule without a duration.
    #[error("a window with a `schedule` needs a `duration`, for example `2h`")]
    Endless,
    /// A cron expression that does not parse or never fires.
    #[error("schedule.cron: {0}")]
    Cron(#[from] CronError),
    /// A zone that nobody knows.
    #[error("schedule.timeZone: {0:?} is not an IANA time zone; write for example `Europe/Kyiv`")]
    TimeZone(String),
    /// A span that can't be.
    #[error("schedule.exceptions[{index}]: {source}")]
    Exception {
        /// Which.
        index: usize,
        /// The cause.
        source: PeriodError,
    },
}

impl Invalid {
    /// Returns the reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Hold(invalid) => invalid.reason(),
            Self::Cron(_) | Self::TimeZone(_) | Self::Exception { .. } => Reason::ScheduleInvalid,
            _ => Reason::SpecInvalid,
        }
    }
}

/// Reads a spec.
pub fn validate(spec: &MaintenanceWindowSpec) -> Result<Valid, Invalid> {
    // A field that is added and not read here fails to compile.
    let MaintenanceWindowSpec {
        start,
        after,
        schedule,
        duration,
        suspend,
        workloads,
        config_maps,
        deals,
        progress_deadline,
    } = spec;
    let begins = match (start, after, schedule) {
        (Some(start), None, None) => {
            let start: Timestamp = start.parse().map_err(|_| Invalid::Start(start.clone()))?;
            Begins::At(Timestamp::from_second(start.as_second()).unwrap_or(start))
        }
        (None, Some(after), None) => {
            Begins::After { text: after.clone(), duration: parse("after", after)? }
        }
        (None, None, Some(schedule)) => Begins::Every(Box::new(recurrence(schedule)?)),
        _ => return Err(Invalid::Begins),
    };
    let duration = duration.as_deref().map(|text| parse("duration", text)).transpose()?;
    if duration.is_none() && matches!(begins, Begins::Every(_)) {
        return Err(Invalid::Endless);
    }
    let config_maps: Vec<_> = config_maps.iter().map(Into::into).collect();
    Ok(Valid {
        begins,
        duration,
        suspend: *suspend,
        hold: Spec::validate(&Fields {
            max_concurrent: None,
            workloads,
            config_maps: &config_maps,
            database: None,
            deals: deals.as_ref(),
            progress_deadline,
        })?,
    })
}

fn parse(field: &'static str, text: &str) -> Result<SignedDuration, Invalid> {
    text.parse().map_err(|_| Invalid::Duration { field, text: text.to_owned() })
}

fn recurrence(schedule: &WindowSchedule) -> Result<Recurrence, Invalid> {
    let WindowSchedule { cron, time_zone: zone, exceptions } = schedule;
    let mut text = format!("{cron}, {zone}");
    if !exceptions.is_empty() {
        // Too many to show: what matters is whether they change.
        let periods =
            exceptions.iter().map(|exception| format!("{} {}", exception.from, exception.to));
        let digest = digest(&periods.collect::<Vec<_>>().join(","));
        text = format!("{text}, exceptions {digest}");
    }
    let zone = time_zone(zone).ok_or_else(|| Invalid::TimeZone(zone.clone()))?;
    let exceptions = exceptions.iter().enumerate().map(|(index, exception)| {
        Period::parse(&exception.from, &exception.to, &zone)
            .map_err(|source| Invalid::Exception { index, source })
    });
    Ok(Recurrence {
        text,
        cron: Cron::parse(cron)?,
        exceptions: exceptions.collect::<Result<_, _>>()?,
        zone,
    })
}

impl Recurrence {
    fn excepted(&self, at: Timestamp) -> Option<&Period> {
        self.exceptions.iter().find(|period| period.contains(at))
    }

    /// Returns the first start after that time.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let mut next = self.cron.next_after(&self.zone, time)?;
        // Each step leaves at least one exception behind it.
        for _ in 0..=self.exceptions.len() {
            let Some(period) = self.excepted(next) else { return Some(next) };
            let before_its_end = period.to - SignedDuration::from_secs(1);
            next = self.cron.next_after(&self.zone, before_its_end)?;
        }
        None
    }

    /// Returns the last start at or before that time.
    pub fn latest_at(&self, time: Timestamp) -> Option<Timestamp> {
        let mut latest = self.cron.latest_at(&self.zone, time)?;
        for _ in 0..=self.exceptions.len() {
            let Some(period) = self.excepted(latest) else { return Some(latest) };
            let before = period.from - SignedDuration::from_secs(1);
            latest = self.cron.latest_at(&self.zone, before)?;
        }
        None
    }
}

impl Valid {
    /// Returns the spec of an object that is being deleted and whose own is not valid.
    pub fn unreadable(spec: &MaintenanceWindowSpec) -> Self {
        Self {
            begins: Begins::Never,
            duration: None,
            suspend: false,
            hold: Spec::empty(&spec.progress_deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recurrence_of(exceptions: &serde_json::Value) -> Recurrence {
        let schedule =
            json!({"cron": "0 2 * * *", "timeZone": "Etc/UTC", "exceptions": exceptions});
        recurrence(&serde_json::from_value(schedule).unwrap()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn none_begins_inside_an_exception() {
        let daily = recurrence_of(&json!([
            {"from": "2026-12-24", "to": "2026-12-26"},
            {"from": "2026-12-26T12:00:00Z", "to": "2026-12-27T02:00:01Z"},
        ]));
        let next = daily.next_after(at("2026-12-23T02:00:00Z"));
        assert_eq!(next, Some(at("2026-12-28T02:00:00Z")));
        let latest = daily.latest_at(at("2026-12-27T12:00:00Z"));
        assert_eq!(latest, Some(at("2026-12-23T02:00:00Z")));
    }

    #[test]
    fn the_end_of_an_exception_is_not_part_of_it() {
        let daily =
            recurrence_of(&json!([{"from": "2026-12-24T01:00:00Z", "to": "2026-12-25T02:00:00Z"}]));
        let next = daily.next_after(at("2026-12-23T02:00:00Z"));
        assert_eq!(next, Some(at("2026-12-25T02:00:00Z")));
    }
}
