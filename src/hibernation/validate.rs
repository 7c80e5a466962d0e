//! Parse once: after this only valid types exist. What the object alone tells is refused at
//! admission already; what needs a search (a cron that never fires) is refused here.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde_json::Value;

use crate::api::database::Database;
use crate::api::deals::Deals;
use crate::api::hibernation::{HibernationSpec, OnDelete};
use crate::api::schedule::DesiredState;
use crate::api::workload::{Action, MissedRuns, Workload};
use crate::deals::clearance::Rules;
use crate::hold::lever::{self, Kind, WORKLOADS};
use crate::hold::subject::Subject;
use crate::schedule::{Basis, Override};

/// A spec that has been read.
#[derive(Debug)]
pub struct Valid {
    /// `spec.state` or `spec.schedule`.
    pub basis: Basis,
    /// `spec.override`.
    pub override_: Option<Override>,
    /// What is stopped or restarted.
    pub workloads: Vec<Entry>,
    /// What is overridden.
    pub config_maps: Vec<ConfigEntry>,
    /// What is emptied.
    pub database: Option<DatabaseEntry>,
    /// What a deletion does.
    pub on_delete: OnDelete,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// How long a step may take.
    pub deadline: SignedDuration,
    /// What has to have ended before it sleeps.
    pub deals: Option<Rules>,
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
    /// What is done.
    pub action: Action,
    /// What a CronJob missed.
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

/// `spec.database`, and a digest of it by which a change is seen.
#[derive(Debug)]
pub struct DatabaseEntry {
    /// As it was written.
    pub spec: Database,
    /// Digest of it.
    pub digest: String,
}

/// What is wrong with a spec, and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A kind that nobody installed.
    #[error("kind {0:?} is not known here; these are: {known}", known = known_kinds())]
    UnknownKind(String),
    /// No target, or several.
    #[error("workloads[{0}]: give exactly one of `name`, `selector` and `all: true`")]
    Target(usize),
    /// Labels that don't parse.
    #[error("{field}: {message}")]
    Selector {
        /// Where.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// A schedule that can't be.
    #[error("schedule: {0}")]
    Schedule(#[from] crate::schedule::ScheduleError),
    /// A duration that doesn't parse.
    #[error("progressDeadline: {0:?} is no duration; write for example `10m`")]
    Duration(String),
    /// The market's constraints.
    #[error("deals.settle: {0:?} is no duration; write for example `30s`")]
    Settle(String),
}

impl Invalid {
    /// The reason of the condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownKind(_) => "UnknownKind",
            Self::Schedule(_) => "ScheduleInvalid",
            _ => "SpecInvalid",
        }
    }
}

fn known_kinds() -> String {
    WORKLOADS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

/// Reads a spec.
pub fn validate(spec: &HibernationSpec) -> Result<Valid, Invalid> {
    // A field that is added and not read here fails to compile.
    let HibernationSpec {
        state,
        schedule,
        override_,
        workloads,
        config_maps,
        database,
        deals,
        on_delete,
        dry_run,
        progress_deadline,
    } = spec;
    Ok(Valid {
        basis: Basis::parse(*state, schedule.as_ref())?,
        override_: override_.as_ref().map(Override::parse).transpose()?,
        workloads: workloads
            .iter()
            .enumerate()
            .map(|(index, workload)| entry(index, workload))
            .collect::<Result<_, _>>()?,
        config_maps: config_maps
            .iter()
            .enumerate()
            .map(|(index, config_map)| {
                let field = format!("configMaps[{index}].selector");
                let target = match (&config_map.name, &config_map.selector) {
                    (Some(name), _) => Target::Name(name.clone()),
                    (None, Some(labels)) => Target::Labels(selector(&field, labels)?),
                    (None, None) => return Err(Invalid::Target(index)),
                };
                Ok(ConfigEntry { target, wants: lever::key_wants(&config_map.set) })
            })
            .collect::<Result<_, _>>()?,
        database: database.as_ref().map(|spec| DatabaseEntry {
            // A struct of strings, numbers and maps always serialises.
            digest: lever::digest(&serde_json::to_string(spec).unwrap_or_default()),
            spec: spec.clone(),
        }),
        on_delete: *on_delete,
        dry_run: *dry_run,
        deadline: progress_deadline
            .parse()
            .map_err(|_| Invalid::Duration(progress_deadline.clone()))?,
        deals: deals.as_ref().map(rules).transpose()?,
    })
}

/// Reads the deals block.
pub fn rules(deals: &Deals) -> Result<Rules, Invalid> {
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

fn entry(index: usize, workload: &Workload) -> Result<Entry, Invalid> {
    let Workload { kind, name, selector: labels, all, except, stage, action, missed_runs } =
        workload;
    let target = match (name, labels, all) {
        (Some(name), None, None) => Target::Name(name.clone()),
        (None, Some(labels), None) => {
            Target::Labels(selector(&format!("workloads[{index}].selector"), labels)?)
        }
        (None, None, Some(true)) => Target::All,
        _ => return Err(Invalid::Target(index)),
    };
    Ok(Entry {
        kind: Kind::workload(kind).ok_or_else(|| Invalid::UnknownKind(kind.clone()))?,
        target,
        except: except.clone(),
        stage: stage.unwrap_or_default(),
        action: *action,
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
    /// What it names, where it names anything.
    pub(super) fn in_words(&self) -> Option<String> {
        match &self.target {
            Target::Name(name) => Some(format!("{} {name}", self.kind.name)),
            Target::Labels(labels) => Some(format!("{} with {labels}", self.kind.name)),
            Target::All => None,
        }
    }
}

impl Target {
    /// How exactly it names an object; none where it does not.
    pub(super) fn precision(&self, subject: &Subject) -> Option<u8> {
        self.names(&subject.name, &subject.labels)
    }

    /// The same by name and labels.
    pub fn names(&self, name: &str, labels: &BTreeMap<String, String>) -> Option<u8> {
        match self {
            Self::Name(named) => (named == name).then_some(2),
            Self::Labels(selector) => selector.matches(labels).then_some(1),
            Self::All => Some(0),
        }
    }
}

impl Valid {
    /// For an object that is being deleted and whose spec can't be read: it names nothing, so that
    /// all that is held is let go, or kept.
    pub fn unreadable(spec: &HibernationSpec) -> Self {
        Self {
            basis: Basis::State(DesiredState::Awake),
            override_: None,
            workloads: Vec::new(),
            config_maps: Vec::new(),
            database: None,
            on_delete: spec.on_delete,
            dry_run: false,
            deadline: spec.progress_deadline.parse().unwrap_or(SignedDuration::from_mins(10)),
            deals: None,
        }
    }

    /// The entry that an object falls under: a name beats a selector, a selector beats `all`, and
    /// Stop beats Restart.
    pub fn entry_for(&self, subject: &Subject) -> Option<&Entry> {
        self.workloads
            .iter()
            .filter(|entry| entry.kind == subject.kind && !entry.except.contains(&subject.name))
            .filter_map(|entry| Some((entry.target.precision(subject)?, entry)))
            .rev() // Of equals, max_by_key takes the last: the first one written.
            .max_by_key(|(precision, entry)| (*precision, entry.action == Action::Stop))
            .map(|(_, entry)| entry)
    }

    /// What is wanted of a ConfigMap; a key that is named by name beats one named by labels.
    pub fn config_wants(&self, subject: &Subject) -> BTreeMap<String, Value> {
        let mut matching: Vec<_> = self
            .config_maps
            .iter()
            .filter_map(|entry| Some((entry.target.precision(subject)?, entry)))
            .collect();
        matching.sort_by_key(|(precision, _)| *precision);
        matching.into_iter().flat_map(|(_, entry)| entry.wants.clone()).collect()
    }

    /// Every ConfigMap lever that somebody wants.
    pub fn config_pointers(&self) -> Vec<String> {
        self.config_maps.iter().flat_map(|entry| entry.wants.keys().cloned()).collect()
    }

    /// The digest that a restart is known by: of the configuration and the episode.
    pub fn restart_digest(&self, episode: &str) -> String {
        let set: Vec<_> = self.config_maps.iter().map(|entry| &entry.wants).collect();
        lever::digest(&format!("{episode} {}", serde_json::to_string(&set).unwrap_or_default()))
    }

    /// The stages that are stopped, ascending.
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
