//! The targets of `torpor release`, as arguments.

use std::fmt;
use std::str::FromStr;

use crate::api::names::HOLDERS;
use crate::hold::lever::Kind;
use crate::hold::record::{Holder, Record};
use crate::hold::subject::Subject;

/// The kinds that Torpor can hold, by their short names in kubectl.
const SHORT: [(&str, &str); 6] = [
    ("deploy", "Deployment"),
    ("sts", "StatefulSet"),
    ("rs", "ReplicaSet"),
    ("ds", "DaemonSet"),
    ("cj", "CronJob"),
    ("cm", "ConfigMap"),
];

/// A target of a release.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// All objects that one holder holds.
    Holder {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// One held object, from all its holders.
    Object {
        /// The kind.
        kind: &'static Kind,
        /// The name.
        name: String,
    },
}

/// The argument is not a target.
#[derive(Debug, thiserror::Error)]
#[error(
    "write hib/NAME or mw/NAME for all objects that one holder holds, or KIND/NAME for one held object, such as deployment/worker (kinds: {known})",
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
        // kubectl prints `deployments.apps/worker`.
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
    /// Returns whether the target concerns an object.
    pub fn concerns(&self, subject: &Subject) -> bool {
        match self {
            Self::Object { kind, name } => subject.kind == *kind && subject.name == *name,
            Self::Holder { .. } => subject.found.record().is_some_and(|record| {
                record.holders().any(|holding| self.releases(&holding.holder))
            }),
        }
    }

    /// Returns whether the target releases an object from a holder.
    pub fn releases(&self, holder: &Holder) -> bool {
        match self {
            Self::Object { .. } => true,
            Self::Holder { kind, name } => holder.kind == *kind && holder.name == *name,
        }
    }
}

/// Returns a holder as an argument: `hib/NAME` or `mw/NAME`.
pub fn written(holder: &Holder) -> String {
    format!("{}/{}", short(&holder.kind), holder.name)
}

fn short(kind: &str) -> String {
    let known = HOLDERS.iter().find(|(known, _)| *known == kind);
    known.map_or_else(|| kind.to_lowercase(), |(_, names)| names[0].to_owned())
}

/// Returns the holders of an object without duplicates.
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
