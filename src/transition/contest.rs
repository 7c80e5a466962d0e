//! Contests: other field managers write held fields again and again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::condition::shorten;
use crate::api::hold_state::{ForeignWrites, HoldState};
use crate::api::text::few;
use crate::hold::foreign::Foreign;
use crate::hold::lever::owned_field;

/// Foreign writes to an object from which they are a contest.
const CONTEST: i32 = 3;
/// A contest is over after this many of its own average intervals without a foreign write, ...
const QUIET_INTERVALS: i64 = 3;
/// ... but not before this time, because a tool may back off ...
const SHORTEST_QUIET: SignedDuration = SignedDuration::from_mins(10);
/// ... and at this time at the latest.
const LONGEST_QUIET: SignedDuration = SignedDuration::from_hours(6);
/// Reverted writes within [`BUSY`] from which Torpor slows down.
const AT_ONCE: usize = 6;
/// A rival is fast where [`AT_ONCE`] writes take less than this. One that writes every ten seconds takes exactly
/// this, and a tool with that interval is not slowed down for.
const BUSY: SignedDuration = SignedDuration::from_secs(50);
/// The pause between two reverted writes of a fast rival: five of them, and a sixth write at once, are a minute.
/// It is longer than ten seconds, so that after one early write such a tool is soon not fast any more.
const PAUSE: SignedDuration = SignedDuration::from_secs(12);
/// Fields that the status shows for one object.
const FIELDS: usize = 20;

/// The foreign writes to held objects, by kind and name as in `Deployment web`.
pub type Contests = BTreeMap<String, Contest>;

/// The foreign writes to one held object in one episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Contest {
    /// The id of the episode.
    pub episode: String,
    /// The writes, as the status shows them.
    pub writes: ForeignWrites,
    /// The last writes that Torpor reverted, the oldest first. After a restart there are none.
    pub recent: Vec<Timestamp>,
}

impl Contest {
    /// Returns how long Torpor still waits before it reverts the next write; none where it does so at once.
    pub fn pause(&self, now: Timestamp) -> Option<SignedDuration> {
        let (first, last) = self.recent.first().zip(self.recent.last())?;
        let is_fast = self.recent.len() == AT_ONCE && last.duration_since(*first) < BUSY;
        let left = PAUSE - now.duration_since(*last);
        (is_fast && left.is_positive()).then_some(left)
    }
}

/// Counts the foreign writes that one write of Torpor's has reverted. Returns whether an Event is to report
/// them: the first of an episode, unless it is a rollout.
pub fn record(
    contests: &mut Contests,
    object: &str,
    episode: &str,
    foreign: &[Foreign],
    now: Timestamp,
) -> bool {
    let Some(last) = foreign.last() else { return false };
    let at = Time(now);
    let known = contests.remove(object).filter(|known| known.episode == episode);
    let mut contest = known.unwrap_or_else(|| Contest {
        episode: episode.to_owned(),
        writes: ForeignWrites {
            count: 0,
            first: at.clone(),
            last: at.clone(),
            manager: None,
            fields: Vec::new(),
            change: String::new(),
        },
        recent: Vec::new(),
    });
    let writes = &mut contest.writes;
    writes.count = writes.count.saturating_add(1);
    writes.last = at;
    writes.manager = last.owner.as_ref().map(|owner| shorten(&owner.manager));
    writes.change = shorten(&last.to_string());
    let fields = foreign.iter().map(|foreign| owned_field(&foreign.pointer).to_owned());
    let fields: BTreeSet<String> = writes.fields.drain(..).chain(fields).collect();
    writes.fields = fields.into_iter().take(FIELDS).collect();
    contest.recent.push(now);
    if contest.recent.len() > AT_ONCE {
        contest.recent.remove(0);
    }
    let is_first = contest.writes.count == 1;
    contests.insert(object.to_owned(), contest);
    is_first && !last.rollout
}

/// Drops the contests of other episodes, and takes over from the status what was counted before a restart.
pub fn take_over(contests: &mut Contests, state: &HoldState) {
    let episode = state.episode.as_ref().map(|episode| episode.id.as_str());
    contests.retain(|_, contest| Some(contest.episode.as_str()) == episode);
    let Some(episode) = episode else { return };
    for workload in &state.workloads {
        let Some(writes) = &workload.foreign_writes else { continue };
        let object = format!("{} {}", workload.kind, workload.name);
        contests.entry(object).or_insert_with(|| Contest {
            episode: episode.to_owned(),
            writes: writes.clone(),
            recent: Vec::new(),
        });
    }
}

/// Returns when foreign writes are no contest any more; none where they are too few to be one.
pub fn ends(writes: &ForeignWrites) -> Option<Timestamp> {
    (writes.count >= CONTEST).then(|| {
        let lasted = writes.last.0.duration_since(writes.first.0).as_secs();
        let interval = lasted / i64::from(writes.count - 1);
        let quiet = SignedDuration::from_secs(interval.saturating_mul(QUIET_INTERVALS));
        writes.last.0 + quiet.clamp(SHORTEST_QUIET, LONGEST_QUIET)
    })
}

/// Returns the message of contests: each object with its fields, and for each field manager what to write
/// where. Empty where there are none.
pub fn describe(contested: &[(String, &ForeignWrites)]) -> String {
    let mut managers: BTreeMap<&str, (Vec<String>, BTreeSet<&str>)> = BTreeMap::new();
    for (object, writes) in contested {
        let manager = writes.manager.as_deref().unwrap_or_default();
        let (objects, fields) = managers.entry(manager).or_default();
        objects.push(format!("{object} ({})", few(&writes.fields)));
        fields.extend(writes.fields.iter().map(String::as_str));
    }
    let sentences = managers.into_iter().map(|(manager, (objects, fields))| {
        let name = if manager.is_empty() { "an unknown client" } else { manager };
        format!(
            "{name} keeps changing held fields of {}, and Torpor reverts each change. {}",
            few(&objects),
            advice(manager, &fields)
        )
    });
    sentences.collect::<Vec<_>>().join(". ")
}

/// Returns the paths that Flux has to ignore, for the list of a YAML file. Its dry run with another node selector also raises the counter of
/// templates of a DaemonSet: without the second path Flux writes the DaemonSet at each sync, though nothing changes.
fn ignored_by_flux(fields: &BTreeSet<&str>) -> String {
    let mut paths: Vec<&str> = fields.iter().copied().collect();
    if fields.contains("/spec/template/spec/nodeSelector") {
        paths.push("/metadata/annotations/deprecated.daemonset.template.generation");
    }
    paths.join(", ")
}

/// Returns what a person writes where, so that a field manager leaves the fields of held objects alone.
fn advice(manager: &str, fields: &BTreeSet<&str>) -> String {
    match manager {
        "kustomize-controller" => format!(
            "Add to spec.ignore of the Flux Kustomization: {{target: {{labelSelector: torpor.dev/held}}, paths: [{}]}} (Flux before 2.9: set spec.suspend: true). Keep the fields in Git: an apply without them sets the API server's defaults",
            ignored_by_flux(fields)
        ),
        "helm-controller" => format!(
            "Add to spec.driftDetection.ignore of the HelmRelease: {{paths: [{}]}}",
            ignored_by_flux(fields)
        ),
        argocd if argocd.starts_with("argocd") => "Add to the spec of the Argo CD Application: ignoreDifferences: [{group: \"*\", kind: \"*\", managedFieldsManagers: [torpor]}] and syncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}. Without the second one, each sync starts pods".to_owned(),
        keda if keda.starts_with("keda") => {
            "Pause the ScaledObject: annotate it with autoscaling.keda.sh/paused-replicas: \"0\"".to_owned()
        }
        // The HorizontalPodAutoscaler's controller; no other one there writes a lever.
        "kube-controller-manager" => "A HorizontalPodAutoscaler scales the workload: lower its minReplicas to `replicas` of the entry in spec.workloads, or remove `replicas`; at 0 replicas the autoscaler is inactive".to_owned(),
        "" => "Find the client, for example in the audit log of the API server, and stop it".to_owned(),
        other => format!("Make {other} ignore the fields while the label torpor.dev/held is set, or stop it"),
    }
}

#[cfg(test)]
#[path = "contest_tests.rs"]
mod tests;
