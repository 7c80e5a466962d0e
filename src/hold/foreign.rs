//! What others write into a lever while it is held.

use std::fmt;

use serde_json::Value;

use super::fields::Owner;
use super::lever;
use super::record::{ANNOTATION, LABEL};

/// Where the record of a hold is.
const RECORD: &str = "/metadata/annotations/torpor.dev~1hold";

/// A value that somebody else wrote while the lever was held.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    /// The lever.
    pub pointer: String,
    /// The value.
    pub value: Option<Value>,
    /// Who wrote it, where that can be seen.
    pub owner: Option<Owner>,
    /// Whether it is what the lever comes back to.
    pub rollout: bool,
}

impl Foreign {
    /// Somebody took the record off what is held, or the label that vouches for it.
    pub fn of_the_record() -> Self {
        Self { pointer: RECORD.to_owned(), value: None, owner: None, rollout: false }
    }

    /// Who wrote it, where that can be seen.
    pub fn manager(&self) -> &str {
        match &self.owner {
            Some(owner) => owner.manager.as_str(),
            None if self.pointer == RECORD => {
                "somebody who takes off its annotation torpor.dev/hold"
            }
            None => "somebody",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer == RECORD {
            return write!(
                f,
                "somebody removed or changed {ANNOTATION} or {LABEL} while it is held; that was put back"
            );
        }
        let by = match &self.owner {
            Some(owner) if !owner.subresource.is_empty() => {
                format!("{} (through /{})", owner.manager, owner.subresource)
            }
            _ => self.manager().to_owned(),
        };
        let field = lever::segments(&self.pointer).last().unwrap_or_default();
        let did = match &self.value {
            Some(Value::String(value)) => {
                let short: String = value.chars().take(60).collect();
                format!("set {field} to {short:?}")
            }
            Some(value) => format!("set {field} to {value}"),
            None => format!("removed {field}"),
        };
        let then = if self.rollout {
            "a deploy: that is what it wakes to"
        } else {
            "no deploy: it wakes to what it was before"
        };
        write!(f, "{by} {did} while it is held; that was put back ({then})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_told_who_did_what_and_what_becomes_of_it() {
        let owner = Owner {
            manager: "kubectl".into(),
            operation: "Update".into(),
            subresource: "scale".into(),
        };
        let mut foreign = Foreign {
            pointer: "/spec/replicas".into(),
            value: Some(json!(1)),
            owner: Some(owner),
            rollout: false,
        };
        let words = foreign.to_string();
        assert!(words.starts_with("kubectl (through /scale) set replicas to 1 "), "{words}");
        assert!(words.contains("wakes to what it was before"), "{words}");
        foreign = Foreign { pointer: "/data/A".into(), value: None, owner: None, rollout: true };
        let words = foreign.to_string();
        assert!(words.starts_with("somebody removed A "), "{words}");
        assert!(words.contains("that is what it wakes to"), "{words}");
        let words = Foreign::of_the_record().to_string();
        assert!(words.starts_with("somebody removed or changed torpor.dev/hold "), "{words}");
    }
}
