//! The pods whose sessions of the database keep a truncation back. The operator gives their addresses to the Job, and
//! the Job looks for sessions from there, until just before COMMIT.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use kube::core::{Selector, SelectorExt};

use super::blockers::{is_pod_of, selector};
use super::chain::Chain;
use super::draft::Draft;
use super::job::{Purpose, Watch};
use super::observe::{JobView, Pods};
use super::pod::PodView;
use super::role::Role;
use super::roles::is_torpors;
use super::step::Step;
use crate::api::database::Sessions;
use crate::api::reason::Reason;
use crate::hold::subject::Subject;
use crate::truncate::report::Report;
use crate::truncate::session::more_in_words;

/// Most addresses that a Job is given: more would not fit into its manifest beside all else.
const MOST_ADDRESSES: usize = 5000;

/// Sessions in one message, and in the status.
const MOST_TOLD: usize = 5;

impl Draft<'_> {
    /// Returns the sessions for which a new Job looks. Fails with the step that comes first.
    pub(super) fn watch(&self, purpose: Purpose) -> Result<Watch, Step> {
        let policy = self.truncate_settings().map(|truncate| truncate.sessions);
        match (policy.unwrap_or_default(), purpose) {
            (Sessions::Ignore, _) => return Ok(Watch::Nobody),
            (Sessions::RefuseAll, Purpose::Truncation) => return Ok(Watch::All),
            (Sessions::RefuseAll, Purpose::Preflight) | (Sessions::Refuse, _) => {}
        }
        let Some(pods) = &self.input.observed.pods else { return Err(Step::Observe) };
        let sources = self.sources(pods, purpose);
        let addresses: BTreeSet<IpAddr> =
            sources.into_iter().flat_map(|pod| pod.addresses.iter().copied()).collect();
        if addresses.len() > MOST_ADDRESSES {
            let message = format!(
                "{} addresses of pods that nobody stops may be connected to the database, more than the {MOST_ADDRESSES} \
                 that a Job can look for: set spec.database.truncate.sessions to Ignore or RefuseAll",
                addresses.len()
            );
            return Err(Step::Blocked { reason: Reason::PossibleWriter, message });
        }
        Ok(Watch::From(addresses))
    }

    /// Returns the pods whose sessions keep the truncation back. Before a hibernation those are the pods that stay up.
    fn sources<'a>(&self, pods: &'a Pods, purpose: Purpose) -> Vec<&'a PodView> {
        let settings = self.truncate_settings();
        let restarts_count =
            settings.is_some_and(|truncate| truncate.sessions == Sessions::RefuseAll);
        let accepted: Vec<_> = self
            .roles
            .iter()
            .filter(|(_, role)| match role {
                Role::Stop(_) => {
                    purpose == Purpose::Preflight && self.stops_before_truncation(role)
                }
                Role::Restart(_) => !restarts_count,
                Role::Override(_) | Role::Release | Role::Skip(_) => false,
            })
            .map(|(subject, _)| (*subject, selector(subject)))
            .collect();
        let ignored = self.input.spec.database.as_ref().and_then(|d| d.ignored_pods.as_ref());
        let uids: BTreeSet<&str> =
            accepted.iter().map(|(subject, _)| subject.uid.as_str()).collect();
        let is_accepted = |pod: &PodView| {
            let chain = Chain::of(&pod.owners, pods);
            let of = |(subject, selector): &(&Arc<Subject>, Option<Selector>)| {
                is_pod_of(subject, selector.as_ref(), pod, &chain)
            };
            // Of many workloads most pods are found by the owner alone.
            chain.owners.iter().any(|owner| uids.contains(owner.uid.as_str()))
                || (chain.ends_nowhere() && accepted.iter().any(of))
        };
        let counts = |pod: &&PodView| {
            !is_torpors(&pod.labels)
                && !ignored.is_some_and(|labels| labels.matches(&pod.labels))
                && !is_accepted(pod)
        };
        pods.running.iter().filter(counts).collect()
    }

    /// Returns a step that keeps the truncation back where a pod has come up for whose sessions the running Job does
    /// not look.
    pub(super) fn newcomer(&self, pods: &Pods) -> Option<Step> {
        let job: &JobView = self.input.observed.truncation.as_ref().filter(|job| job.exists)?;
        let attempt = self.state.episode.as_ref()?.attempt.as_ref()?;
        if attempt.ended.is_some() || attempt.job != job.name {
            return None;
        }
        if self.truncate_settings()?.sessions != Sessions::Refuse {
            return None;
        }
        let sources = self.sources(pods, Purpose::Truncation);
        let unknown = |pod: &&&PodView| pod.addresses.iter().any(|at| !job.watched.contains(at));
        let pod = sources.iter().find(unknown)?;
        Some(Step::Wait(vec![format!(
            "Pod {} has started since Job {} looks for sessions; another Job does",
            pod.name, attempt.job
        )]))
    }

    /// Returns a sentence for each address from which sessions keep the truncation back.
    pub(super) fn connected(&self, report: &Report, pods: &Pods) -> Vec<String> {
        let mut lines: Vec<String> = report
            .sessions
            .iter()
            .take(MOST_TOLD)
            .map(|session| {
                let at = |pod: &&PodView| {
                    session.address.is_some_and(|from| pod.addresses.contains(&from))
                };
                let pod = self
                    .sources(pods, Purpose::Truncation)
                    .into_iter()
                    .find(at)
                    .or_else(|| pods.running.iter().find(at));
                match pod {
                    Some(pod) => format!("{} has {}", whose(pod, pods), session.in_words()),
                    None => format!("there is {}", session.in_words()),
                }
            })
            .collect();
        let left = report.sessions.len().saturating_sub(MOST_TOLD) as u64;
        let more = more_in_words(left.saturating_add(report.omitted_sessions));
        lines.extend(more.map(|more| format!("there are {more}")));
        lines
    }

    /// Returns why the Job emptied nothing, and what to do.
    pub(super) fn kept_back(&self, report: &Report, pods: &Pods) -> String {
        let all = self
            .truncate_settings()
            .is_some_and(|truncate| truncate.sessions == Sessions::RefuseAll);
        let remedy = if all {
            "end these sessions, or set spec.database.truncate.sessions to Refuse"
        } else {
            "stop its owner, or select the pod by spec.database.truncate.ignorePods if it does not write"
        };
        let lines = self.connected(report, pods);
        format!("nothing is truncated: {}; {remedy}", lines.join(", "))
    }
}

/// Returns the name of a pod, and of the object at the end of its owners.
fn whose(pod: &PodView, pods: &Pods) -> String {
    let chain = Chain::of(&pod.owners, pods);
    let owner = chain.owners.last().map(|owner| format!(" of {}", owner.display()));
    let host = if pod.host_network { ", in the network of its node," } else { "" };
    format!("Pod {}{}{host}", pod.name, owner.unwrap_or_default())
}
