//! The runs that a CronJob missed while it was held. Pure.

use jiff::Timestamp;

use crate::hold::subject::Subject;
use crate::schedule::Cron;
use crate::schedule::time_zone;

/// Returns the time before which a CronJob is to skip its runs; none where it missed none, so that its
/// `status.lastScheduleTime` stays as it is. A schedule that does not parse may have missed a run.
pub fn skips_before(subject: &Subject, before: Timestamp) -> Option<Timestamp> {
    let facts = &subject.facts;
    let Some(cron_job) = &facts.cron_job else { return Some(before) };
    let zone = time_zone(cron_job.time_zone.as_deref().unwrap_or("Etc/UTC"));
    let Some((cron, zone)) = Cron::parse(&cron_job.schedule).ok().zip(zone) else {
        return Some(before);
    };
    let since = cron_job.last_scheduled.or(cron_job.created)?;
    cron.next_after(&zone, since).filter(|due| *due < before).map(|_| before)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hold::lever::Kind;

    #[test]
    fn only_a_cron_job_that_missed_a_run_skips_it() {
        let skips = |schedule: &str, zone: Option<&str>, last: Option<&str>| {
            let object = json!({
                "apiVersion": "batch/v1", "kind": "CronJob",
                "metadata": {
                    "namespace": "ns", "name": "nightly", "uid": "u", "resourceVersion": "1",
                    "creationTimestamp": "2026-12-01T01:00:00Z",
                },
                "spec": {"schedule": schedule, "timeZone": zone, "suspend": true},
                "status": {"lastScheduleTime": last},
            });
            let kind = Kind::any("CronJob").unwrap();
            let subject =
                Subject::read(kind, &serde_json::from_value(object).unwrap(), []).unwrap();
            let wake = "2026-12-01T07:00:00Z".parse().unwrap();
            let skips = skips_before(&subject, wake);
            assert!(skips.is_none_or(|before| before == wake));
            skips.is_some()
        };
        let last = Some("2026-12-01T02:00:00Z");
        assert!(!skips("0 2 * * *", None, last), "the next one is tomorrow");
        assert!(!skips("0 7 * * *", None, last), "the run at the wake time is due");
        assert!(skips("0 6 * * *", None, last));
        assert!(skips("*/10 * * * *", None, last));
        assert!(skips("0 2 * * *", None, None), "since its creation");
        assert!(!skips("0 12 * * *", None, None));
        assert!(skips("0 8 * * *", Some("Europe/Kyiv"), last), "that is 06:00 UTC");
        assert!(!skips("0 6 * * *", Some("America/New_York"), last));
        assert!(skips("TZ=UTC 0 12 * * *", None, last), "it may have missed one");
    }
}
