//! What the operator counts, in the `OpenMetrics` text format.
//!
//! Labels are from small fixed sets. The name of an object or namespace never becomes one: it would
//! leave a series behind for each object that ever was.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A custom resource's kind.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum Kind {
    /// `Hibernation`.
    Hibernation,
    /// `MaintenanceWindow`.
    MaintenanceWindow,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// What is asked for is so.
    Settled,
    /// It goes on later: something is on the way.
    Waiting,
    /// It goes on later: this process does not lead, or somebody else wrote first.
    Deferred,
    /// It failed and is tried again.
    Failed,
}

/// How a write was answered.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum WriteResult {
    /// It is done.
    Done,
    /// Somebody else wrote first.
    Conflict,
    /// It was refused.
    Refused,
    /// No answer, or the server's fault.
    Failed,
}

/// A name that the code or the installer's table gives: a resource's kind or a phase.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Word(String);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(&self.0)
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReconcileLabels {
    kind: Kind,
    outcome: Outcome,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabels {
    kind: Kind,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PhaseLabels {
    kind: Kind,
    phase: Word,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WriteLabels {
    resource: Word,
    result: WriteResult,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Family<KindLabels, Histogram>,
    objects: Family<PhaseLabels, Gauge>,
    writes: Family<WriteLabels, Counter>,
    truncated_bytes: Counter,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics at nothing yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("torpor");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", version);
        let reconciles = Family::default();
        registry.register("reconciles", "Reconciles by kind and outcome", reconciles.clone());
        // 1 ms to about 16 s.
        let reconcile_seconds: Family<KindLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        registry.register_with_unit(
            "reconcile_duration",
            "How long reconciles take",
            Unit::Seconds,
            reconcile_seconds.clone(),
        );
        let objects = Family::default();
        registry.register("objects", "Objects by kind and phase", objects.clone());
        let writes = Family::default();
        registry.register("writes", "Writes by kind of resource and result", writes.clone());
        let truncated_bytes = Counter::default();
        registry.register_with_unit(
            "truncated",
            "What truncations have freed",
            Unit::Bytes,
            truncated_bytes.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "Whether this process leads", leader.clone());
        Self { registry, reconciles, reconcile_seconds, objects, writes, truncated_bytes, leader }
    }

    /// A reconcile has ended.
    pub fn reconciled(&self, kind: Kind, outcome: Outcome, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, outcome }).inc();
        self.reconcile_seconds.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// An object has gone from one phase to another; `None` is before it was known or after it has
    /// gone. A phase is a word of the API, never something that a user wrote.
    pub fn moved(&self, kind: Kind, from: Option<&str>, to: Option<&str>) {
        let gauge = |phase: &str| {
            let labels = PhaseLabels { kind, phase: Word(phase.to_owned()) };
            self.objects.get_or_create_owned(&labels)
        };
        if let Some(from) = from {
            gauge(from).dec();
        }
        if let Some(to) = to {
            gauge(to).inc();
        }
    }

    /// A write was answered. `resource` is a kind from the table of kinds.
    pub fn wrote(&self, resource: &str, result: WriteResult) {
        self.writes
            .get_or_create(&WriteLabels { resource: Word(resource.to_owned()), result })
            .inc();
    }

    /// A truncation has freed that many bytes.
    pub fn truncated(&self, bytes: u64) {
        self.truncated_bytes.inc_by(bytes);
    }

    /// Whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// All of it as text, see [`CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.reconciled(Kind::Hibernation, Outcome::Settled, Duration::from_millis(3));
        metrics.moved(Kind::Hibernation, None, Some("Awake"));
        metrics.moved(Kind::Hibernation, None, Some("Awake"));
        metrics.moved(Kind::Hibernation, Some("Awake"), Some("Hibernated"));
        metrics.wrote("Deployment", WriteResult::Conflict);
        metrics.truncated(4096);
        metrics.set_leader(true);
        let text = metrics.encode().unwrap();
        for line in [
            concat!("torpor_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            r#"torpor_reconciles_total{kind="Hibernation",outcome="Settled"} 1"#,
            r#"torpor_reconcile_duration_seconds_bucket{le="0.004",kind="Hibernation"} 1"#,
            r#"torpor_objects{kind="Hibernation",phase="Awake"} 1"#,
            r#"torpor_objects{kind="Hibernation",phase="Hibernated"} 1"#,
            r#"torpor_writes_total{resource="Deployment",result="Conflict"} 1"#,
            "torpor_truncated_bytes_total 4096",
            "torpor_leader 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
