//! The role of a workload or ConfigMap in a transition, and how its write stands.

use std::collections::BTreeMap;

use serde_json::Value;

use super::spec::Entry;
use crate::hold::subject::Controller;

/// The role of a workload or ConfigMap.
#[derive(Clone, Debug)]
pub enum Role<'a> {
    /// Stop it.
    Stop(&'a Entry),
    /// Restart it.
    Restart(&'a Entry),
    /// Override its keys.
    Override(BTreeMap<String, Value>),
    /// Release it: it is held, and the spec no longer names it.
    Release,
    /// Leave it out: a selector or `all` matches it, and this owner would revert any change.
    Skip(&'a Controller),
}

impl Role<'_> {
    /// Returns the stage in which it is stopped.
    pub fn stage(&self) -> Option<i32> {
        match self {
            Self::Stop(entry) => Some(entry.stage),
            _ => None,
        }
    }
}

/// How the write of a hold stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Written {
    /// No write is needed.
    Already,
    /// The write is planned.
    Now,
    /// The write waits: a field manager keeps changing the object.
    Contested,
}
