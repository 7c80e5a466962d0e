//! The pods and workloads that may still write to the database although everything that the spec names is
//! down. While a truncation is pending, every pod of the namespace that has not finished needs an explanation:
//! a controller that exists and that nobody asked to stop. A pod without one is a possible writer.

use std::sync::Arc;

use kube::core::{Selector, SelectorExt};

use super::blockers::{is_pod_of, selector};
use super::chain::Chain;
use super::draft::Draft;
use super::observe::Pods;
use super::pod::PodView;
use super::role::Role;
use super::roles::is_torpors;
use super::step::{Step, StepName};
use crate::api::hold_state::EpisodeTruncation;
use crate::api::reason::Reason;
use crate::api::text::{counted, few};
use crate::hold::lever::WORKLOADS;
use crate::hold::subject::{Controller, Subject};

/// The label of every ReplicaSet that a Deployment created.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What to do about a pod that no controller explains.
const UNEXPLAINED: &str =
    "delete the pod, or select it by spec.database.truncate.ignorePods if it does not write";

/// The pods and workloads that may still write.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Writers {
    /// Those that end by themselves: terminating pods.
    ending: Vec<String>,
    /// Those that a person has to stop, or to declare harmless.
    staying: Vec<String>,
}

impl Writers {
    pub(super) fn is_empty(&self) -> bool {
        self.ending.is_empty() && self.staying.is_empty()
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.staying.into_iter().chain(self.ending).collect()
    }
}

impl Draft<'_> {
    /// Returns whether this episode is to truncate and has not done so.
    pub(super) fn truncation_is_pending(&self) -> bool {
        let episode = self.state.episode.as_ref();
        episode.is_some_and(|episode| episode.truncation == EpisodeTruncation::Pending)
    }

    /// Records whether this list shows a possible writer. Two lists without one, some seconds apart, have to
    /// precede the truncation; the lists of the steps before it count.
    pub(super) fn note_writers(&mut self) {
        let Some(pods) = self.input.observed.pods.as_ref().filter(|_| self.truncation_is_pending())
        else {
            return;
        };
        let key = StepName::Truncate.to_string();
        let writers = self.writers(pods);
        if writers.is_empty() {
            self.confirmations.clear.entry(key).or_insert(pods.complete);
        } else {
            self.confirmations.clear.remove(&key);
        }
        self.possible_writers = Some(writers);
    }

    /// Keeps the truncation back while anything may write.
    pub(super) fn no_writers(&mut self) -> Step {
        if let Some(step) = self.unaccounted() {
            self.writer_observed = true;
            return step;
        }
        let Some((pods, writers)) =
            self.input.observed.pods.as_ref().zip(self.possible_writers.take())
        else {
            return Step::Observe;
        };
        if let Some(step) = self.newcomer(pods) {
            self.writer_observed = true;
            return step;
        }
        self.writer_observed |= !writers.is_empty();
        if writers.staying.is_empty() {
            return self.confirm(&StepName::Truncate, pods, writers.ending);
        }
        let message = format!("nothing is truncated: {}", few(&writers.into_lines()));
        Step::Blocked { reason: Reason::PossibleWriter, message }
    }

    /// Returns the obstacle to a truncation that the objects themselves tell, without their pods: known
    /// while awake too. None without a database.
    pub(super) fn unaccounted(&self) -> Option<Step> {
        self.truncate_settings()?;
        let missing = self.missing_workloads();
        if !missing.is_empty() {
            let message = format!(
                "{}: correct the name in spec.workloads, or remove the entry. Nothing is truncated before",
                few(&missing)
            );
            return Some(Step::Blocked { reason: Reason::WorkloadNotFound, message });
        }
        if let Some(Step::Blocked { reason, message }) = self.warning() {
            let message = format!("nothing is truncated: {message}");
            return Some(Step::Blocked { reason, message });
        }
        let unseen = self.unseen_scalers();
        if !unseen.is_empty() {
            let message = format!("nothing is truncated: {}", few(&unseen));
            return Some(Step::Blocked { reason: Reason::KindUnavailable, message });
        }
        let skipped: Vec<String> =
            self.skipped().into_iter().chain(self.unknown_targets()).collect();
        (!skipped.is_empty()).then(|| Step::Blocked {
            reason: Reason::PossibleWriter,
            message: format!("nothing is truncated: {}", few(&skipped)),
        })
    }

    /// Returns a sentence for each entry with a name that matches nothing.
    pub(super) fn missing_workloads(&self) -> Vec<String> {
        let named = self.unmatched_entries().filter(|entry| entry.target.is_name());
        let in_words = named.filter_map(super::spec::Entry::in_words);
        in_words.map(|name| format!("{name} does not exist")).collect()
    }

    /// Returns a sentence for each workload that the spec selects and that Torpor can't hold.
    pub(super) fn skipped(&self) -> Vec<String> {
        let skipped = self.roles.iter().filter_map(|(subject, role)| match role {
            Role::Skip(owner) => Some(skip_message(subject, owner)),
            _ => None,
        });
        skipped.collect()
    }

    /// Returns the possible writers in a list of pods: those that no step waits for.
    pub(super) fn writers(&self, pods: &Pods) -> Writers {
        let mut writers = Writers::default();
        let ignored = self.input.spec.database.as_ref().and_then(|d| d.ignored_pods.as_ref());
        let roles = self.roles.iter();
        let known: Vec<_> =
            roles.map(|(subject, role)| (*subject, role, selector(subject))).collect();
        for pod in &pods.running {
            if is_torpors(&pod.labels) || ignored.is_some_and(|labels| labels.matches(&pod.labels))
            {
                continue;
            }
            let Some(why) = self.unexplained(pod, pods, &known) else { continue };
            let line = format!("Pod {} may write: {why}", pod.name);
            if pod.terminating {
                writers.ending.push(line);
            } else {
                writers.staying.push(line);
            }
        }
        // A controller that has lost its owner, and has no pod at the moment, may create one.
        let idle = pods.replica_sets.iter().filter(|set| set.facts.replicas > 0);
        let idle = idle.chain(pods.jobs.iter().filter(|job| !job.facts.finished));
        for subject in
            idle.filter(|subject| !self.has_role(subject) && !is_torpors(&subject.labels))
        {
            if let Some(why) = lost(&Chain::of(&subject.owners, pods), pods) {
                let name = subject.display();
                writers.staying.push(format!("{name} may write: {why}; delete {name}"));
            }
        }
        writers
    }

    /// Returns why a pod may write; none where a step waits for it, or where its controller explains it.
    fn unexplained(
        &self,
        pod: &PodView,
        pods: &Pods,
        known: &[(&Arc<Subject>, &Role, Option<Selector>)],
    ) -> Option<String> {
        let chain = Chain::of(&pod.owners, pods);
        // Its own step waits for it, or the spec asks for it after the truncation.
        let of_step = known.iter().find(|(subject, role, selector)| {
            matches!(role, Role::Stop(_) | Role::Restart(_))
                && is_pod_of(subject, selector.as_ref(), pod, &chain)
        });
        if let Some((subject, role, _)) = of_step {
            return self.stays(subject, role).filter(|_| !pod.terminating);
        }
        let alike = known.iter().find(|(_, role, selector)| {
            self.stops_before_truncation(role)
                && selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
        });
        if let Some((subject, ..)) = alike
            && let Some(owner) = chain.owners.last()
        {
            let (subject, owner) = (subject.display(), owner.display());
            return Some(format!(
                "it has the labels of {subject}, and {owner} owns it; stop {owner}"
            ));
        }
        if chain.owners.is_empty() {
            return Some(format!("it has no owner; {UNEXPLAINED}"));
        }
        lost(&chain, pods)
            .map(|why| format!("{why}; {UNEXPLAINED}"))
            .or_else(|| orphaned(&chain, pods))
    }

    /// Returns why the pods of a workload may write that its own step has left; none where it leaves none.
    fn stays(&self, subject: &Subject, role: &Role) -> Option<String> {
        let Role::Stop(entry) = role else { return None };
        let keeps = self.kept(subject, entry);
        (keeps > 0 && self.stops_before_truncation(role)).then(|| {
            format!(
                "{} keeps {} by spec.workloads[].replicas; set replicas to 0, add action: Restart if it reads an \
                 overridden ConfigMap, or select its pods by spec.database.truncate.ignorePods if they do not write",
                subject.display(),
                counted(keeps, "replica")
            )
        })
    }

    fn has_role(&self, of: &Subject) -> bool {
        self.roles.iter().any(|(subject, _)| subject.uid == of.uid)
    }

    /// Returns whether a workload of this role goes down before the truncation.
    pub(super) fn stops_before_truncation(&self, role: &Role) -> bool {
        let before = self.truncate_settings().and_then(|truncate| truncate.before_stage);
        matches!(role, Role::Stop(entry) if before.is_none_or(|before| entry.stage < before))
    }
}

/// Returns why no owner in a chain explains a pod: one of a kind that Torpor knows is gone, or is being
/// deleted.
fn lost(chain: &Chain, pods: &Pods) -> Option<String> {
    if let Some(gone) = chain.gone {
        return Some(format!("its {} is gone", gone.display()));
    }
    let all = || pods.replica_sets.iter().chain(&pods.jobs).chain(&pods.controllers);
    chain.owners.iter().find_map(|owner: &&Controller| {
        if !WORKLOADS.iter().any(|kind| kind.name == owner.kind) {
            return None;
        }
        match all().find(|subject| subject.uid == owner.uid) {
            None => Some(format!("its {} is gone", owner.display())),
            Some(subject) if subject.deleting => {
                Some(format!("its {} is being deleted", owner.display()))
            }
            Some(_) => None,
        }
    })
}

/// Returns why the ReplicaSet of a pod explains nothing: its Deployment was deleted and left it behind.
fn orphaned(chain: &Chain, pods: &Pods) -> Option<String> {
    let orphan = pods.replica_sets.iter().find(|set| {
        chain.leads_to(&set.uid) && set.owners.is_empty() && set.labels.contains_key(TEMPLATE_HASH)
    })?;
    let name = orphan.display();
    Some(format!("the Deployment of {name} was deleted without it; delete {name}"))
}

/// Returns the sentence about a workload that Torpor leaves out because of its owner.
pub(super) fn skip_message(subject: &Subject, owner: &Controller) -> String {
    format!(
        "{} is not held, because {} controls it and would revert any change; \
         stop {}, or list {} in spec.workloads[].except",
        subject.display(),
        owner.display(),
        owner.display(),
        subject.name
    )
}
