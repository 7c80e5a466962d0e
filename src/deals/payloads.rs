//! What was withdrawn, kept until it is back.

use crate::hold::record::Holder;

/// Name of the ConfigMap.
pub fn name(holder: &Holder) -> String {
    format!("torpor-{}-{}-withdrawn", holder.kind.to_lowercase(), holder.name)
}
