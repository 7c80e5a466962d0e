//! The part of a spec that says what a transition takes down: the same for both kinds of object.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde_json::Value;

use crate::api::database::{Connection, Database, SecretKeyRef};
use crate::api::deals::Deals;
use crate::api::reason::Reason;
use crate::api::workload::{Action, ConfigMapOverride, MissedRuns, Workload};
use crate::deals::market_state::Rules;
use crate::hold::lever::{self, Kind, REPLICAS};
use crate::hold::subject::Subject;

/// The validated part of a spec that both kinds have.
#[derive(Debug)]
pub struct Spec {
    /// `spec.workloads`.
    pub workloads: Vec<Entry>,
    /// `spec.configMaps`.
    pub config_maps: Vec<ConfigEntry>,
    /// `spec.database`; a MaintenanceWindow has none.
    pub database: Option<DatabaseEntry>,
    /// `spec.deals`.
    pub deals: Option<Rules>,
    /// `spec.wake.maxConcurrent`; `None` for all workloads of a stage at once.
    pub max_concurrent: Option<usize>,
    /// `spec.progressDeadline`.
    pub deadline: SignedDuration,
}

/// One entry of `spec.workloads`.
#[derive(Debug)]
pub struct Entry {
    /// Its kind.
    pub kind: &'static Kind,
    /// Which of them.
    pub target: Target,
    /// Names left out.
    pub except: Vec<String>,
    /// When it goes down; 0 for a restart.
    pub stage: i32,
    /// Stop or Restart.
    pub action: Action,
    /// How many replicas it keeps at most; `None` for none where it is stopped, and for all where it is restarted.
    pub replicas: Option<i32>,
    /// Whether a CronJob runs its missed runs.
    pub missed_runs: MissedRuns,
}

/// Which objects an entry is about.
#[derive(Clone, Debug)]
pub enum Target {
    /// One.
    Name(String),
    /// Those with these labels.
    Labels(Selector),
    /// Every one.
    All,
}

/// One entry of `spec.configMaps`.
#[derive(Debug)]
pub struct ConfigEntry {
    /// Which of them.
    pub target: Target,
    /// Levers and their values.
    pub wants: BTreeMap<String, Value>,
}

/// The Secret with the way to a database.
#[derive(Clone, Debug)]
pub enum Login {
    /// It has the URL.
    Url(SecretKeyRef),
    /// It has user and password.
    Parts(Connection),
}

/// `spec.database`, with a digest by which Torpor detects a change.
#[derive(Debug)]
pub struct DatabaseEntry {
    /// `secretRef` or `connection`.
    pub login: Login,
    /// As it was written.
    pub spec: Database,
    /// Digest of it.
    pub digest: String,
    /// `truncate.ignorePods`.
    pub ignored_pods: Option<Selector>,
}

/// Why a spec is not valid, and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// The kind is unknown.
    #[error(
        "workloads[].kind: {0:?} is not a kind that Torpor can hold; use one of {known}, or ask whoever installed \
         Torpor to add {0} to the chart's value kinds",
        known = known_kinds()
    )]
    UnknownKind(String),
    /// No target, or several.
    #[error("workloads[{0}]: give exactly one of `name`, `selector` and `all: true`")]
    Target(usize),
    /// A kind without replicas has `replicas`.
    #[error("workloads[{0}].replicas: {1} has no replicas; remove the field")]
    Replicas(usize, &'static str),
    /// A kind of the table is to be restarted.
    #[error("workloads[{0}].action: {1} cannot be restarted; use `action: Stop`")]
    Restart(usize, &'static str),
    /// A selector does not parse.
    #[error("{field}: {message}")]
    Selector {
        /// The field.
        field: String,
        /// The cause and the remedy.
        message: String,
    },
    /// No login, or two.
    #[error("database: give exactly one of `secretRef` and `connection`")]
    Login,
    /// `spec.progressDeadline` does not parse.
    #[error("progressDeadline: {0:?} is not a duration; write for example `10m`")]
    Deadline(String),
    /// `spec.deals.settle` does not parse.
    #[error("deals.settle: {0:?} is not a duration; write for example `30s`")]
    Settle(String),
}

impl Invalid {
    /// Returns the reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownKind(_) => Reason::UnknownKind,
            _ => Reason::SpecInvalid,
        }
    }
}

fn known_kinds() -> String {
    Kind::workloads().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

/// The fields of a spec that become a [`Spec`].
pub struct Fields<'a> {
    /// `spec.workloads`.
    pub workloads: &'a [Workload],
    /// `spec.configMaps`.
    pub config_maps: &'a [ConfigMapOverride],
    /// `spec.database`.
    pub database: Option<&'a Database>,
    /// `spec.deals`.
    pub deals: Option<&'a Deals>,
    /// `spec.wake.maxConcurrent`.
    pub max_concurrent: Option<i32>,
    /// `spec.progressDeadline`.
    pub progress_deadline: &'a str,
}

impl Spec {
    /// Validates the fields.
    pub fn validate(fields: &Fields) -> Result<Self, Invalid> {
        // A field that is added and not read here fails to compile.
        let Fields { workloads, config_maps, database, deals, max_concurrent, progress_deadline } =
            fields;
        Ok(Self {
            workloads: workloads
                .iter()
                .enumerate()
                .map(|(index, workload)| entry(index, workload))
                .collect::<Result<_, _>>()?,
            config_maps: config_maps
                .iter()
                .enumerate()
                .map(|(index, config_map)| config_entry(index, config_map))
                .collect::<Result<_, _>>()?,
            database: database.map(database_entry).transpose()?,
            deals: deals.map(rules).transpose()?,
            max_concurrent: max_concurrent.and_then(|most| usize::try_from(most).ok()),
            deadline: progress_deadline
                .parse()
                .map_err(|_| Invalid::Deadline((*progress_deadline).to_owned()))?,
        })
    }

    /// Returns the spec of an object that is being deleted and whose own is not valid: it names
    /// nothing, so that every hold is released.
    pub fn empty(progress_deadline: &str) -> Self {
        Self {
            workloads: Vec::new(),
            config_maps: Vec::new(),
            database: None,
            deals: None,
            max_concurrent: None,
            deadline: progress_deadline.parse().unwrap_or(SignedDuration::from_mins(10)),
        }
    }

    /// Returns the entry of a workload: a name beats a selector, a selector beats `all`, and Stop beats
    /// Restart.
    pub fn entry_for(&self, subject: &Subject) -> Option<&Entry> {
        self.workloads
            .iter()
            .filter(|entry| entry.kind == subject.kind && !entry.except.contains(&subject.name))
            .filter_map(|entry| Some((entry.target.precision(subject)?, entry)))
            .rev() // Of equals, max_by_key takes the last: the first one written.
            .max_by_key(|(precision, entry)| (*precision, entry.action == Action::Stop))
            .map(|(_, entry)| entry)
    }

    /// Returns the values that a ConfigMap has while down. An entry with a name beats one with a selector, key
    /// by key.
    pub fn config_wants(&self, subject: &Subject) -> BTreeMap<String, Value> {
        let mut matching: Vec<_> = self
            .config_maps
            .iter()
            .filter_map(|entry| Some((entry.target.precision(subject)?, entry)))
            .collect();
        matching.sort_by_key(|(precision, _)| *precision);
        matching.into_iter().flat_map(|(_, entry)| entry.wants.clone()).collect()
    }

    /// Returns every lever of a ConfigMap in the spec.
    pub fn config_pointers(&self) -> Vec<String> {
        self.config_maps.iter().flat_map(|entry| entry.wants.keys().cloned()).collect()
    }

    /// Returns the digest of a restart: of the configuration, the episode, and the uids of the overridden
    /// ConfigMaps that the pods read. Pods that started before one of these was overridden have another.
    pub fn restart_digest(&self, episode: &str, overridden: &[&str]) -> String {
        let set: Vec<_> = self.config_maps.iter().map(|entry| &entry.wants).collect();
        let set = serde_json::to_string(&set).unwrap_or_default();
        lever::digest(&format!("{episode} {set} {}", overridden.join(" ")))
    }

    /// Returns the stages that are stopped, ascending.
    pub fn stages(&self) -> Vec<i32> {
        let mut stages: Vec<i32> = self
            .workloads
            .iter()
            .filter(|entry| entry.action == Action::Stop)
            .map(|entry| entry.stage)
            .collect();
        stages.sort_unstable();
        stages.dedup();
        stages
    }
}

pub(super) fn database_entry(spec: &Database) -> Result<DatabaseEntry, Invalid> {
    let ignored = spec.truncate.ignore_pods.as_ref();
    let login = match (&spec.secret_ref, &spec.connection) {
        (Some(url), None) => Login::Url(url.clone()),
        (None, Some(connection)) => Login::Parts(connection.clone()),
        (Some(_), Some(_)) | (None, None) => return Err(Invalid::Login),
    };
    Ok(DatabaseEntry {
        login,
        // A struct of strings, numbers and maps always serialises.
        digest: lever::digest(&serde_json::to_string(spec).unwrap_or_default()),
        ignored_pods: ignored
            .map(|labels| selector("database.truncate.ignorePods", labels))
            .transpose()?,
        spec: spec.clone(),
    })
}

fn rules(deals: &Deals) -> Result<Rules, Invalid> {
    let Deals { source, forward, spot, orders, restore_orders, settle } = deals;
    Ok(Rules {
        source: source.clone(),
        forward: *forward,
        spot: *spot,
        orders: *orders,
        restore_orders: *restore_orders,
        settle: settle.parse().map_err(|_| Invalid::Settle(settle.clone()))?,
    })
}

fn config_entry(index: usize, config_map: &ConfigMapOverride) -> Result<ConfigEntry, Invalid> {
    let field = format!("configMaps[{index}].selector");
    let target = match (&config_map.name, &config_map.selector) {
        (Some(name), _) => Target::Name(name.clone()),
        (None, Some(labels)) => Target::Labels(selector(&field, labels)?),
        (None, None) => return Err(Invalid::Target(index)),
    };
    Ok(ConfigEntry { target, wants: lever::key_wants(&config_map.set) })
}

fn entry(index: usize, workload: &Workload) -> Result<Entry, Invalid> {
    let Workload {
        kind,
        name,
        selector: labels,
        all,
        except,
        stage,
        action,
        replicas,
        missed_runs,
    } = workload;
    let target = match (name, labels, all) {
        (Some(name), None, None) => Target::Name(name.clone()),
        (None, Some(labels), None) => {
            Target::Labels(selector(&format!("workloads[{index}].selector"), labels)?)
        }
        (None, None, Some(true)) => Target::All,
        _ => return Err(Invalid::Target(index)),
    };
    let kind = Kind::workload(kind).ok_or_else(|| Invalid::UnknownKind(kind.clone()))?;
    if replicas.is_some() && (kind.stop != Some(REPLICAS) || kind.entry.is_some()) {
        return Err(Invalid::Replicas(index, kind.name));
    }
    if kind.entry.is_some() && *action == Action::Restart {
        return Err(Invalid::Restart(index, kind.name));
    }
    Ok(Entry {
        kind,
        target,
        except: except.clone(),
        stage: stage.unwrap_or_default(),
        action: *action,
        replicas: *replicas,
        missed_runs: missed_runs.unwrap_or_default(),
    })
}

fn selector(field: &str, labels: &LabelSelector) -> Result<Selector, Invalid> {
    let selector = Selector::try_from(labels.clone()).map_err(|error| Invalid::Selector {
        field: field.to_owned(),
        message: format!(
            "{error}; an `operator` is In or NotIn with `values`, or Exists or DoesNotExist without"
        ),
    })?;
    if selector.selects_all() {
        let message = "an empty selector would match everything".to_owned();
        return Err(Invalid::Selector { field: field.to_owned(), message });
    }
    Ok(selector)
}

impl Entry {
    /// Returns the objects that it names, as text; none for `all`.
    pub(super) fn in_words(&self) -> Option<String> {
        match &self.target {
            Target::Name(name) => Some(format!("{} {name}", self.kind.name)),
            Target::Labels(labels) => Some(format!("{} with {labels}", self.kind.name)),
            Target::All => None,
        }
    }
}

impl Target {
    /// Returns whether it names one object.
    pub(super) fn is_name(&self) -> bool {
        matches!(self, Self::Name(_))
    }

    /// Returns how exactly it names an object; none where it does not.
    pub(super) fn precision(&self, subject: &Subject) -> Option<u8> {
        self.names(&subject.name, &subject.labels)
    }

    /// Returns the same by name and labels.
    pub fn names(&self, name: &str, labels: &BTreeMap<String, String>) -> Option<u8> {
        match self {
            Self::Name(named) => (named == name).then_some(2),
            Self::Labels(selector) => selector.matches(labels).then_some(1),
            Self::All => Some(0),
        }
    }
}
