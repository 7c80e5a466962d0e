//! The API server's audit log: the rights that service accounts used, and those that they were refused.

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use super::cluster;

/// The right to one verb of one resource.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Right {
    /// The API group, empty for the core group and for a path.
    pub(crate) group: String,
    /// The resource with its subresource, or a path.
    pub(crate) resource: String,
    pub(crate) verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, resource, verb } = self;
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "{verb} {resource}{dot}{group}")
    }
}

/// The requests of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) used: BTreeSet<Right>,
    pub(crate) refused: BTreeSet<Right>,
}

/// Returns the requests of a user so far. The API server writes a line right after its answer.
pub(crate) fn asked(user: &str) -> Asked {
    let log = std::fs::read_to_string(cluster::variable("TORPOR_AUDIT_LOG"));
    let log = log.expect("the audit log is readable");
    let mut asked = Asked::default();
    // A line that is being written is read the next time.
    let lines = log.lines().filter(|line| line.contains(user));
    for event in lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if event["user"]["username"] != user {
            continue;
        }
        let forbidden = event["annotations"]["authorization.k8s.io/decision"] == "forbid";
        let into = if forbidden { &mut asked.refused } else { &mut asked.used };
        let right = right(&event);
        // A server-side apply needs both rights where the object is not there.
        if right.verb == "patch" && event["responseStatus"]["code"] == 201 {
            into.insert(Right { verb: "create".to_owned(), ..right.clone() });
        }
        into.insert(right);
    }
    asked
}

fn right(event: &Value) -> Right {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let path = text(&event["requestURI"]);
    let resource = match (object["resource"].as_str(), object["subresource"].as_str()) {
        (None, _) => path.split('?').next().unwrap_or_default().to_owned(),
        (Some(resource), None) => resource.to_owned(),
        (Some(resource), Some(subresource)) => format!("{resource}/{subresource}"),
    };
    Right { group: text(&object["apiGroup"]), resource, verb: text(&event["verb"]) }
}
