//! Whether the cluster has the kinds of the table.

use kube::Client;

use crate::apiserver::{definitions, request};
use crate::hold::lever::{Kind, annotation};

/// Why the objects of a kind of the table cannot be held in this cluster. Both may change, so that neither is an
/// error of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Unusable {
    /// The API server does not serve the kind.
    NotServed,
    /// The schema of the kind lacks this lever, a JSON pointer.
    NoField(String),
}

impl Unusable {
    /// Returns cause and consequence.
    pub(crate) fn cause(&self, kind: &Kind) -> String {
        let (plural, version) = (kind.plural, kind.api_version());
        match self {
            Self::NotServed => {
                format!("the cluster does not serve {plural} of {version}, so that none is held")
            }
            Self::NoField(lever) => format!(
                "{plural} of {version} have no field {lever}, so that the API server drops what Torpor writes there"
            ),
        }
    }

    /// Returns what to do about it.
    pub(crate) fn remedy(&self, kind: &Kind) -> String {
        match self {
            Self::NotServed => {
                "install the project that has it, or remove the entry from the chart's value kinds or kindPresets".to_owned()
            }
            Self::NoField(_) => format!(
                "correct the lever in the chart's value kinds (kubectl explain {}.spec shows the fields)",
                kind.plural
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
    if !definitions::serves(client, &kind.api_version(), kind.plural).await? {
        return Ok(vec![Unusable::NotServed]);
    }
    let mut lacking = Vec::new();
    for lever in kind.levers().filter(|lever| annotation(lever).is_none()) {
        if !definitions::has_field(client, (kind.group, kind.version, kind.name), lever).await? {
            lacking.push(Unusable::NoField(lever.to_owned()));
        }
    }
    Ok(lacking)
}
