//! Times in whole seconds, as Kubernetes has them.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Returns the time in so many seconds, in whole seconds.
pub(crate) fn in_seconds(seconds: i64) -> Timestamp {
    let now = Timestamp::from_second(Timestamp::now().as_second()).expect("a time");
    now + SignedDuration::from_secs(seconds)
}

/// Parses a time of a status.
pub(crate) fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no time: {value}"))
}
