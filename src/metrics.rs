//! The metrics of the operator, in the `OpenMetrics` text format.
//!
//! Label values are from small fixed sets. The name of an object or namespace is never a label value: every
//! deleted object would leave a series behind.

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

use crate::version::{self, VERSION};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The kind of a reconciled object.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum ObjectKind {
    /// `Hibernation`.
    Hibernation,
    /// `MaintenanceWindow`.
    MaintenanceWindow,
}

/// The outcome of a reconcile.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The observed state is the desired state.
    Settled,
    /// A step is under way; a later reconcile continues.
    Waiting,
    /// This process does not lead, or another client wrote first; a later reconcile continues.
    Deferred,
    /// The reconcile failed and is retried.
    Failed,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum WriteResult {
    /// The API server accepted the write.
    Done,
    /// Another client wrote first.
    Conflict,
    /// The API server rejected the write.
    Refused,
    /// The API server did not answer, or answered with an error of its own.
    Failed,
}

/// A label value from the code: the kind of a held object, or a phase.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Word(String);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(&self.0)
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReconcileLabels {
    kind: ObjectKind,
    outcome: Outcome,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabels {
    kind: ObjectKind,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PhaseLabels {
    kind: ObjectKind,
    phase: Word,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabels {
    kind: ObjectKind,
    phase: Word,
    reason: Word,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WriteLabels {
    resource: Word,
    result: WriteResult,
}

/// Where the metrics count an object; nowhere by default. All are constants of the API, never text of a user.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counted {
    /// The phase.
    pub phase: Option<String>,
    /// The reason of `Stalled`, where that is True.
    pub stalled: Option<String>,
    /// The reason of `Reconciling`, where that is True.
    pub reconciling: Option<String>,
}

impl Counted {
    /// Returns the labels for a reason. An object without a phase has none yet.
    fn labels(&self, kind: ObjectKind, reason: &str) -> ReasonLabels {
        let phase = self.phase.clone().unwrap_or_default();
        ReasonLabels { kind, phase: Word(phase), reason: Word(reason.to_owned()) }
    }
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Family<KindLabels, Histogram>,
    objects: Family<PhaseLabels, Gauge>,
    stalled_objects: Family<ReasonLabels, Gauge>,
    reconciling_objects: Family<ReasonLabels, Gauge>,
    orders_left_behind: Family<KindLabels, Counter>,
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
    /// Creates all metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("torpor");
        let version = Info::new([("version", VERSION), ("revision", version::revision())]);
        registry.register("build", "Version and commit of the running operator", version);
        let reconciles = Family::default();
        registry.register("reconciles", "Finished reconciles by kind of object and outcome (Settled, Waiting, Deferred or Failed)", reconciles.clone());
        // 1 ms to about 16 s.
        let reconcile_seconds: Family<KindLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        registry.register_with_unit(
            "reconcile_duration",
            "Duration of reconciles by kind of object",
            Unit::Seconds,
            reconcile_seconds.clone(),
        );
        let objects = Family::default();
        registry.register(
            "objects",
            "Hibernations and MaintenanceWindows by kind and phase",
            objects.clone(),
        );
        let stalled_objects = Family::default();
        registry.register(
            "stalled_objects",
            "Hibernations and MaintenanceWindows whose condition Stalled is True, by kind, phase and reason",
            stalled_objects.clone(),
        );
        let reconciling_objects = Family::default();
        registry.register(
            "reconciling_objects",
            "Hibernations and MaintenanceWindows whose condition Reconciling is True, by kind, phase and reason",
            reconciling_objects.clone(),
        );
        let orders_left_behind: Family<KindLabels, Counter> = Family::default();
        registry.register(
            "orders_left_behind",
            "Objects that were deleted while orders which they had withdrawn were not back on the market, by kind",
            orders_left_behind.clone(),
        );
        // An alert on a counter that begins at 1 would miss its first increase.
        for kind in [ObjectKind::Hibernation, ObjectKind::MaintenanceWindow] {
            drop(orders_left_behind.get_or_create(&KindLabels { kind }));
        }
        let writes = Family::default();
        registry.register("writes", "Writes to workloads and ConfigMaps by kind and result (Done, Conflict, Refused or Failed)", writes.clone());
        let truncated_bytes = Counter::default();
        registry.register_with_unit(
            "truncated",
            "Database bytes that truncations have freed",
            Unit::Bytes,
            truncated_bytes.clone(),
        );
        let leader = Gauge::default();
        registry.register(
            "leader",
            "1 if this process holds the lease and reconciles, else 0",
            leader.clone(),
        );
        Self {
            registry,
            reconciles,
            reconcile_seconds,
            objects,
            stalled_objects,
            reconciling_objects,
            orders_left_behind,
            writes,
            truncated_bytes,
            leader,
        }
    }

    /// Counts a finished reconcile and its duration.
    pub fn reconciled(&self, kind: ObjectKind, outcome: Outcome, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, outcome }).inc();
        self.reconcile_seconds.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// Moves an object from where it was counted to where it is counted now.
    pub fn counted(&self, kind: ObjectKind, from: &Counted, to: &Counted) {
        let change = |counted: &Counted, by: i64| {
            if let Some(phase) = &counted.phase {
                let labels = PhaseLabels { kind, phase: Word(phase.clone()) };
                self.objects.get_or_create_owned(&labels).inc_by(by);
            }
            for (family, reason) in [
                (&self.stalled_objects, &counted.stalled),
                (&self.reconciling_objects, &counted.reconciling),
            ] {
                if let Some(reason) = reason {
                    family.get_or_create_owned(&counted.labels(kind, reason)).inc_by(by);
                }
            }
        };
        change(from, -1);
        change(to, 1);
    }

    /// Counts an object that was deleted while orders which it had withdrawn were not back on the market.
    pub fn left_behind(&self, kind: ObjectKind) {
        self.orders_left_behind.get_or_create(&KindLabels { kind }).inc();
    }

    /// Counts a write. `resource` is a kind from the table of kinds.
    pub fn wrote(&self, resource: &str, result: WriteResult) {
        self.writes
            .get_or_create(&WriteLabels { resource: Word(resource.to_owned()), result })
            .inc();
    }

    /// Adds the bytes that a truncation has freed.
    pub fn truncated(&self, bytes: u64) {
        self.truncated_bytes.inc_by(bytes);
    }

    /// Sets whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Returns all metrics as text of the media type [`CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
