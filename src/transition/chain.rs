//! The chain of owners of a pod or object: its owners, their owners, and so on.

use super::observe::Pods;
use crate::hold::subject::Controller;

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
            let between = match owner.kind.as_str() {
                "ReplicaSet" => &pods.replica_sets,
                "Job" => &pods.jobs,
                _ => {
                    let above = pods.controllers.iter().find(|subject| subject.uid == owner.uid);
                    if let Some(above) = above.filter(|_| left > 0) {
                        self.follow(&above.owners, pods, left - 1);
                    }
                    continue;
                }
            };
            match between.iter().find(|subject| subject.uid == owner.uid) {
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
