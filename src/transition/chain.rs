//! The chain of owners of a pod or object: its owners, their owners, and so on.

use super::observe::Pods;
use crate::hold::subject::{Controller, Subject};

/// The longest chain that Torpor follows: pod, Job, CronJob, and the owner of that.
const LONGEST: usize = 4;

/// All owners of a pod or object.
#[derive(Debug, Default)]
pub(super) struct Chain<'a> {
    /// The owners, the nearest first.
    pub(super) owners: Vec<&'a Controller>,
    /// A ReplicaSet or Job in the chain that does not exist any more.
    pub(super) gone: Option<&'a Controller>,
}

impl<'a> Chain<'a> {
    /// Returns the chain above these owners.
    pub(super) fn of(owners: &'a [Controller], pods: &'a Pods) -> Self {
        let mut chain = Self::default();
        chain.follow(owners, pods, LONGEST);
        chain
    }

    fn follow(&mut self, owners: &'a [Controller], pods: &'a Pods, left: usize) {
        for owner in owners {
            self.owners.push(owner);
            let Some(known) = pods.between(owner) else { continue };
            match known {
                Some(subject) if left > 0 => self.follow(&subject.owners, pods, left - 1),
                Some(_) => {}
                None => self.gone = Some(owner),
            }
        }
    }

    /// Returns whether the object with this uid is in the chain.
    pub(super) fn leads_to(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| owner.uid == uid)
    }

    /// Returns whether the chain leads to no object that exists: there is no owner, or its owner is gone.
    pub(super) fn ends_nowhere(&self) -> bool {
        self.owners.is_empty() || self.gone.is_some()
    }
}

impl Pods {
    /// Returns the ReplicaSet or Job that an owner reference names, or none in it where it is gone. None for
    /// an owner of another kind.
    fn between(&self, owner: &Controller) -> Option<Option<&Subject>> {
        let all = match owner.kind.as_str() {
            "ReplicaSet" => &self.replica_sets,
            "Job" => &self.jobs,
            _ => return None,
        };
        Some(all.iter().find(|subject| subject.uid == owner.uid))
    }
}
