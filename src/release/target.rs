//! What is to be released, as a person writes it.

use std::fmt;
use std::str::FromStr;

use crate::hold::lever::Kind;
use crate::hold::record::{Holder, Record};
use crate::hold::subject::Subject;

/// The kinds that hold, and the names that kubectl knows them by.
const HOLDERS: [(&str, &[&str]); 2] = [
    ("Hibernation", &["hib", "hibernation", "hibernations"]),
    ("MaintenanceWindow", &["mw", "maintenancewindow", "maintenancewindows"]),
];

/// Short names of the kinds that are held, as kubectl knows them.
const SHORT: [(&str, &str); 6] = [
    ("deploy", "Deployment"),
    ("sts", "StatefulSet"),
    ("rs", "ReplicaSet"),
    ("ds", "DaemonSet"),
    ("cj", "CronJob"),
    ("cm", "ConfigMap"),
];

/// What is to be released.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// All that one object holds.
    Holder {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// One held object, whoever holds it.
    Object {
        /// Its kind.
        kind: &'static Kind,
        /// Its name.
        name: String,
    },
}

/// What was written is nothing that can be released.
#[derive(Debug, thiserror::Error)]
#[error(
    "write hib/NAME or mw/NAME for all that one object holds, or KIND/NAME for one held object, such as deployment/worker (kinds: {known})",
    known = known()
)]
pub struct NotATarget;

fn known() -> String {
    let names: Vec<String> = Kind::all().map(|kind| kind.name.to_lowercase()).collect();
    names.join(", ")
}

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let (kind, name) = text.split_once('/').ok_or(NotATarget)?;
        // `deployments.apps/worker` is what kubectl prints.
        let kind = kind.split_once('.').map_or(kind, |(kind, _)| kind).to_lowercase();
        if name.is_empty() || name.contains('/') {
            return Err(NotATarget);
        }
        let name = name.to_owned();
        if let Some((kind, _)) = HOLDERS.iter().find(|(_, names)| names.contains(&kind.as_str())) {
            return Ok(Self::Holder { kind, name });
        }
        let long =
            SHORT.iter().find(|(short, _)| *short == kind).map(|(_, long)| long.to_lowercase());
        let kind = long.unwrap_or(kind);
        let known = |known: &&Kind| known.name.to_lowercase() == kind || known.plural == kind;
        let kind = Kind::all().find(known).ok_or(NotATarget)?;
        Ok(Self::Object { kind, name })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holder { kind, name } => write!(f, "{}/{name}", short(kind)),
            Self::Object { kind, name } => write!(f, "{}/{name}", kind.name.to_lowercase()),
        }
    }
}

impl Target {
    /// Whether it is about this object at all.
    pub fn concerns(&self, subject: &Subject) -> bool {
        match self {
            Self::Object { kind, name } => subject.kind == *kind && subject.name == *name,
            Self::Holder { .. } => subject.found.record().is_some_and(|record| {
                record.holders().any(|holding| self.releases(&holding.holder))
            }),
        }
    }

    /// Whether this holder is to let go.
    pub fn releases(&self, holder: &Holder) -> bool {
        match self {
            Self::Object { .. } => true,
            Self::Holder { kind, name } => holder.kind == *kind && holder.name == *name,
        }
    }
}

/// A holder as a person writes it.
pub fn written(holder: &Holder) -> String {
    format!("{}/{}", short(&holder.kind), holder.name)
}

fn short(kind: &str) -> String {
    let known = HOLDERS.iter().find(|(known, _)| *known == kind);
    known.map_or_else(|| kind.to_lowercase(), |(_, names)| names[0].to_owned())
}

/// Who holds an object, each once.
pub fn holders(record: &Record) -> Vec<Holder> {
    let mut holders: Vec<Holder> = record.holders().map(|h| h.holder.clone()).collect();
    holders.sort();
    holders.dedup();
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_written_as_kubectl_knows_it() {
        for (text, shown) in [
            ("hib/cornice", "hib/cornice"),
            ("Hibernations.torpor.dev/cornice", "hib/cornice"),
            ("mw/gpu", "mw/gpu"),
            ("deploy/worker", "deployment/worker"),
            ("deployments.apps/worker", "deployment/worker"),
            ("cm/env", "configmap/env"),
            ("job/long", "job/long"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
        for text in ["cornice", "hib/", "unicorn/x", "hib/a/b", "/x"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("hib/NAME") && error.contains("configmap"), "{error}");
        }
    }
}
