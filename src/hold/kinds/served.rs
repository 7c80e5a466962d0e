//! Whether the cluster has the kinds of the table.

use std::fmt;

use kube::Client;

use crate::apiserver::{definitions, request};
use crate::hold::lever::{Kind, annotation};

/// Why the objects of a kind of the table cannot be held in this cluster. Both may change, so that neither is an
/// error of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Unusable {
    /// The API server does not serve the kind.
    NotServed {
        /// API group and version.
        api_version: String,
        /// The plural name.
        plural: &'static str,
    },
    /// The schema of the kind lacks a lever.
    NoField {
        /// API group and version.
        api_version: String,
        /// The plural name.
        plural: &'static str,
        /// The JSON pointer of the lever.
        lever: String,
    },
}

impl Unusable {
    /// Returns what to do about it.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::NotServed { .. } => {
                "install the project that has it, or remove the entry from the chart's value kinds or kindPresets".to_owned()
            }
            Self::NoField { plural, .. } => format!(
                "correct the lever in the chart's value kinds (kubectl explain {plural}.spec shows the fields)"
            ),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotServed { api_version, plural } => {
                write!(
                    f,
                    "the cluster does not serve {plural} of {api_version}, so that none is held"
                )
            }
            Self::NoField { api_version, plural, lever } => write!(
                f,
                "{plural} of {api_version} have no field {lever}, so that the API server drops what Torpor writes there"
            ),
        }
    }
}

/// Returns why objects of a kind of the table cannot be held: a line for each lever that its schema lacks.
///
/// # Errors
///
/// The API server does not answer.
pub(crate) async fn unusable(
    client: &Client,
    kind: &Kind,
) -> Result<Vec<Unusable>, request::Error> {
    let (api_version, plural) = (kind.api_version(), kind.plural);
    if !definitions::serves(client, &api_version, plural).await? {
        return Ok(vec![Unusable::NotServed { api_version, plural }]);
    }
    let mut lacking = Vec::new();
    let levers = kind.stop.into_iter().chain(kind.also().map(|also| also.lever.as_str()));
    for lever in levers.filter(|lever| annotation(lever).is_none()) {
        if !definitions::has_field(client, (kind.group, kind.version, kind.name), lever).await? {
            let api_version = api_version.clone();
            lacking.push(Unusable::NoField { api_version, plural, lever: lever.to_owned() });
        }
    }
    Ok(lacking)
}
