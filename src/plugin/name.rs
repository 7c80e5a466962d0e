//! The name of a Hibernation or MaintenanceWindow, as an argument.

use std::fmt;
use std::str::FromStr;

use crate::api::names::HOLDERS;

/// The kind of an object.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    /// A Hibernation.
    Hibernation,
    /// A MaintenanceWindow.
    MaintenanceWindow,
}

impl Kind {
    /// Both kinds.
    pub(super) const ALL: [Self; 2] = [Self::Hibernation, Self::MaintenanceWindow];

    /// Returns the name of the kind in a manifest.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hibernation => "Hibernation",
            Self::MaintenanceWindow => "MaintenanceWindow",
        }
    }

    /// Returns the shortest name of the kind in kubectl.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Hibernation => "hib",
            Self::MaintenanceWindow => "mw",
        }
    }

    /// Returns the kind of that name in a manifest.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An argument that names an object: NAME, hib/NAME or mw/NAME.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Name {
    /// The kind; none where the argument is a bare name.
    pub(super) kind: Option<Kind>,
    /// The name.
    pub(super) name: String,
}

/// The argument does not name an object.
#[derive(Debug, thiserror::Error)]
#[error("write NAME, hib/NAME for a Hibernation or mw/NAME for a MaintenanceWindow")]
pub(super) struct NotAName;

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (kind, name) = match text.split_once('/') {
            None => (None, text),
            Some((kind, name)) => {
                // kubectl prints `hibernation.torpor.dev/cornice`.
                let kind = kind.split_once('.').map_or(kind, |(kind, _)| kind).to_lowercase();
                let known = HOLDERS.iter().find(|(_, names)| names.contains(&kind.as_str()));
                let (kind, _) = known.ok_or(NotAName)?;
                (Some(Kind::named(kind).ok_or(NotAName)?), name)
            }
        };
        if name.is_empty() || name.contains('/') || name.contains(char::is_whitespace) {
            return Err(NotAName);
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{}/{}", kind.short(), self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_as_kubectl_names_it() {
        for (text, shown) in [
            ("cornice", "cornice"),
            ("hib/cornice", "hib/cornice"),
            ("hibernation.torpor.dev/cornice", "hib/cornice"),
            ("Hibernations/cornice", "hib/cornice"),
            ("mw/gpu", "mw/gpu"),
            ("maintenancewindow/gpu", "mw/gpu"),
        ] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), shown);
        }
        for text in ["", "hib/", "deployment/worker", "hib/a/b", "/a", "a b"] {
            let error = text.parse::<Name>().unwrap_err().to_string();
            assert!(error.contains("mw/NAME"), "{error}");
        }
    }
}
