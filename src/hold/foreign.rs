//! Foreign writes: values that another field manager writes into a lever while Torpor holds it.

use std::fmt;

use serde_json::Value;

use super::fields::Owner;
use super::lever;
use super::record::{ANNOTATION, LABEL};

/// The pointer of a foreign write to the record itself.
const RECORD: &str = "/metadata/annotations/torpor.dev~1hold";
/// The longest value that a message shows, in characters.
const LONGEST: usize = 60;

/// A write of another field manager to a lever that was held. Torpor reverts it.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    /// The lever.
    pub pointer: String,
    /// The value that was written; none where the field was removed.
    pub value: Option<Value>,
    /// The field manager, where managedFields name one.
    pub owner: Option<Owner>,
    /// Whether the write is a rollout, whose value becomes the value to restore.
    pub rollout: bool,
    /// The value that the wake restores; none where it removes the field.
    pub restores: Option<Value>,
    /// Whether the field still has the held value, so that nothing is reverted: the manifest contains that
    /// value, or none.
    pub unseen: bool,
}

impl Foreign {
    /// Returns the foreign write of somebody who removed or changed the annotation or the label.
    pub fn of_the_record() -> Self {
        Self {
            pointer: RECORD.to_owned(),
            value: None,
            owner: None,
            rollout: false,
            restores: None,
            unseen: false,
        }
    }

    /// Returns the name of the field manager, for a message.
    pub fn manager(&self) -> &str {
        match &self.owner {
            Some(owner) => owner.manager.as_str(),
            None if self.pointer == RECORD => {
                "an unknown client that removes the annotation torpor.dev/hold"
            }
            None => "an unknown client",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer == RECORD {
            return write!(
                f,
                "an unknown client removed or changed {ANNOTATION} or {LABEL}; both were restored"
            );
        }
        let field = lever::segments(&self.pointer).last().unwrap_or_default();
        f.write_str(self.manager())?;
        match &self.value {
            Some(value) => write!(f, " set {field} to {}", shown(value))?,
            None if self.unseen => write!(f, " deployed a manifest without {field}")?,
            None => write!(f, " removed {field}")?,
        }
        if let Some(owner) = self.owner.as_ref().filter(|owner| !owner.subresource.is_empty()) {
            write!(f, " through /{}", owner.subresource)?;
        }
        if self.rollout && !(self.unseen && self.value.is_none()) {
            f.write_str(" in a rollout")?;
        }
        f.write_str(if self.unseen { ". The wake " } else { "; reverted. The wake " })?;
        match &self.restores {
            Some(value) => write!(f, "restores {}", shown(value)),
            None => write!(f, "removes {field}"),
        }
    }
}

/// Returns a value as a message shows it: a text is quoted and shortened.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.chars().take(LONGEST).collect::<String>()),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_says_who_wrote_what_and_what_the_wake_restores() {
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
            restores: Some(json!(5)),
            unseen: false,
        };
        assert_eq!(
            foreign.to_string(),
            "kubectl set replicas to 1 through /scale; reverted. The wake restores 5"
        );
        foreign = Foreign {
            pointer: "/data/A".into(),
            value: Some(json!("x".repeat(70))),
            owner: Some(Owner {
                manager: "helm".into(),
                operation: "Apply".into(),
                subresource: String::new(),
            }),
            rollout: true,
            restores: Some(json!("y")),
            unseen: false,
        };
        let shortened = "x".repeat(60);
        assert_eq!(
            foreign.to_string(),
            format!(
                "helm set A to \"{shortened}\" in a rollout; reverted. The wake restores \"y\""
            )
        );
        foreign = Foreign { value: None, owner: None, rollout: false, restores: None, ..foreign };
        assert_eq!(
            foreign.to_string(),
            "an unknown client removed A; reverted. The wake removes A"
        );
        let left_out = Foreign {
            pointer: "/spec/replicas".into(),
            rollout: true,
            unseen: true,
            restores: Some(json!(1)),
            ..foreign
        };
        assert_eq!(
            left_out.to_string(),
            "an unknown client deployed a manifest without replicas. The wake restores 1"
        );
        let words = Foreign::of_the_record().to_string();
        assert!(
            words.contains(" removed or changed torpor.dev/hold or torpor.dev/held"),
            "{words}"
        );
    }
}
