//! Observes a namespace. Lists are consistent reads (no resourceVersion), in pages, and Torpor keeps only
//! the fields that it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};

use super::job;
use super::pod::PodView;
use super::roles::kind_of;
use super::spec::{Spec, Target};
use super::unavailable::{self, Unavailable};
use crate::api::hold_state::{Attempt, DatabaseState, HoldState};
use crate::api::pod::unscheduled;
use crate::api::workload::Action;
use crate::apiserver::documents;
use crate::apiserver::request::{Error, call};
use crate::hold::document::Parser;
use crate::hold::lever::{CONFIG_MAP, Kind};
use crate::hold::record::{Holder, LABEL};
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::Subject;

/// Most bytes that the held fields of one list may have together: values of ConfigMaps, above all.
const MOST_VALUES: usize = 4 * 1024 * 1024;
/// Most Events that are read.
const MOST_EVENTS: u32 = 100;
/// The state of a namespace that a plan is made from.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Workloads of the kinds that the spec or the status names, and held ones of any kind.
    pub workloads: Vec<Arc<Subject>>,
    /// ConfigMaps that the spec names, and held ones.
    pub config_maps: Vec<Arc<Subject>>,
    /// The kinds of the table that cannot be observed, and why.
    pub unavailable: BTreeMap<&'static str, Unavailable>,
    /// Pods, and the ReplicaSets and Jobs between them and workloads; none before a plan asks for them.
    pub pods: Option<Pods>,
    /// The Job of the preflight, where one may be running.
    pub preflight: Option<JobView>,
    /// The Job of the truncation, where one may be running.
    pub truncation: Option<JobView>,
    /// Whether the namespace is being deleted.
    pub namespace_deleting: bool,
}

impl Observed {
    /// Returns since when Events count: since the beginning of a wake, where a StatefulSet or DaemonSet is among the
    /// workloads. All other kinds have a condition.
    pub fn events_since(&self, state: &HoldState) -> Option<Timestamp> {
        let since = state.episode.as_ref()?.waking_since.as_ref()?.0;
        let mut kinds = self.workloads.iter().map(|subject| subject.kind.name);
        kinds.any(|kind| matches!(kind, "StatefulSet" | "DaemonSet")).then_some(since)
    }

    /// Believes the records that were restored into this namespace together with the holder.
    pub fn believe_moved(&mut self, holder: &Holder) {
        for subject in self.workloads.iter_mut().chain(&mut self.config_maps) {
            if let Some(moved) = subject.moved(Some(holder)) {
                *subject = Arc::new(moved);
            }
        }
    }
}

/// One list of the pods of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    /// When the lists began.
    pub began: Timestamp,
    /// When the lists were complete.
    pub complete: Timestamp,
    /// All that have not finished.
    pub running: Vec<PodView>,
    /// ReplicaSets.
    pub replica_sets: Vec<Subject>,
    /// Jobs.
    pub jobs: Vec<Subject>,
    /// All Deployments, StatefulSets, DaemonSets and CronJobs, and objects of the table's kinds, where a truncation asks
    /// who may still write, or an object of the table controls workloads.
    pub controllers: Vec<Subject>,
    /// Why controllers cannot create pods, by the uid of the workload, in Kubernetes' own words; observed in a wake.
    pub failed_creates: BTreeMap<String, String>,
}

/// A Job of Torpor's own, with the state of its container.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "they are what the API says, each for itself")]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// Whether it exists.
    pub exists: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its spec suspends it.
    pub suspended: bool,
    /// Whether its controller has suspended it: it creates no pods any more.
    pub stopped: bool,
    /// Whether it has finished, which it has only once all its pods have.
    pub finished: bool,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// The addresses for whose sessions it looks.
    pub watched: BTreeSet<IpAddr>,
    /// Its pods.
    pub pods: usize,
    /// Exit codes and termination messages of its own containers, newest last. A mesh may have put another
    /// container beside one, which runs on.
    pub terminated: Vec<(i32, String)>,
    /// When the last of these containers ended, by the kubelet's clock.
    pub last_end: Option<Timestamp>,
    /// Why a container does not start.
    pub waiting: Option<(String, String)>,
    /// The scheduler's reason why its newest pod has no node.
    pub unscheduled: Option<String>,
}

/// Reads from one namespace.
#[derive(Clone)]
pub struct Reader {
    /// The client.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

impl Reader {
    /// Observes everything that a plan is made from, except pods.
    pub async fn observe(
        &self,
        spec: &Spec,
        state: &HoldState,
        database: Option<&DatabaseState>,
        deleting: bool,
    ) -> Result<Observed, Error> {
        // In a namespace that goes nothing else matters, and a failed read must not block its deletion.
        if deleting && self.namespace_deleting().await {
            return Ok(Observed { namespace_deleting: true, ..Observed::default() });
        }
        let episode = state.episode.as_ref();
        let waking = episode.is_some_and(|episode| episode.waking_since.is_some());
        let attempt = episode.and_then(|episode| episode.attempt.as_ref());
        let truncation = attempt.filter(|attempt| attempt.ended.is_none() || waking || deleting);
        let preflight = database.and_then(|database| database.preflight.as_ref());
        let preflight = preflight.map(|preflight| &preflight.attempt);
        let preflight = preflight.filter(|attempt| attempt.ended.is_none());
        let job = async |attempt: Option<&Attempt>| match attempt {
            Some(attempt) => self.job(&attempt.job).await.map(Some),
            None => Ok(None),
        };
        let (subjects, truncation, preflight) = futures::try_join!(
            self.subjects(spec, &state.originals),
            job(truncation),
            job(preflight)
        )?;
        Ok(Observed { preflight, truncation, ..subjects })
    }

    /// Returns workloads and ConfigMaps: all of the kinds that the spec or the status names, held ones of any
    /// kind, and all that scale workloads.
    async fn subjects(
        &self,
        spec: &Spec,
        originals: &BTreeMap<String, String>,
    ) -> Result<Observed, Error> {
        let remembered = originals.keys().map(|key| kind_of(key));
        let full: BTreeSet<&str> =
            spec.workloads.iter().map(|entry| entry.kind.name).chain(remembered).collect();
        let workloads = try_join_all(Kind::workloads().map(async |kind| {
            let named = full.contains(kind.name);
            let params = if named || kind.scales() {
                ListParams::default()
            } else {
                ListParams::default().labels(LABEL)
            };
            unavailable::sorted(kind, self.list(kind, params, Vec::new()).await, named)
        }));
        let pointers = config_pointers(spec, originals);
        let config_maps = self.config_maps(spec, originals, &pointers);
        let (listed, mut config_maps) = futures::try_join!(workloads, config_maps)?;
        let (listed, unavailable): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
        let workloads: Vec<Subject> = listed.into_iter().flatten().collect();
        // Besides, the ConfigMaps that restarted workloads read.
        let restarted = workloads.iter().filter(|subject| {
            spec.entry_for(subject).is_some_and(|entry| entry.action == Action::Restart)
        });
        let read: BTreeSet<&str> =
            restarted.flat_map(|subject| &subject.facts.config_maps).map(String::as_str).collect();
        self.add(read, &pointers, &mut config_maps).await?;
        Ok(Observed {
            workloads: workloads.into_iter().map(Arc::new).collect(),
            config_maps: config_maps.into_values().map(Arc::new).collect(),
            unavailable: unavailable.into_iter().flatten().collect(),
            ..Observed::default()
        })
    }

    /// Returns ConfigMaps by name. They can be many and large: held or selected ones are listed by their labels.
    /// Named ones, and held ones that have lost their label, are read one by one.
    async fn config_maps(
        &self,
        spec: &Spec,
        originals: &BTreeMap<String, String>,
        pointers: &[String],
    ) -> Result<BTreeMap<String, Subject>, Error> {
        let selectors = spec.config_maps.iter().filter_map(|entry| match &entry.target {
            Target::Labels(labels) => Some(labels.to_string()),
            Target::Name(_) | Target::All => None,
        });
        let listed = try_join_all(selectors.chain([LABEL.to_owned()]).map(|labels| {
            self.list(&CONFIG_MAP, ListParams::default().labels(&labels), pointers.to_vec())
        }));
        let mut all: BTreeMap<String, Subject> =
            listed.await?.into_iter().flatten().map(|s| (s.name.clone(), s)).collect();
        let asked_for = spec.config_maps.iter().filter_map(|entry| match &entry.target {
            Target::Name(name) => Some(name.as_str()),
            Target::Labels(_) | Target::All => None,
        });
        let remembered = originals.keys().filter_map(|key| {
            key.strip_prefix("ConfigMap/").and_then(|rest| rest.split('/').next())
        });
        self.add(asked_for.chain(remembered).collect(), pointers, &mut all).await?;
        Ok(all)
    }

    /// Reads the ConfigMaps of these names that are not among `all` yet.
    async fn add(
        &self,
        names: BTreeSet<&str>,
        pointers: &[String],
        all: &mut BTreeMap<String, Subject>,
    ) -> Result<(), Error> {
        let missing = names.into_iter().filter(|name| !all.contains_key(*name));
        let read = try_join_all(missing.map(|name| self.get(name, pointers))).await?;
        all.extend(read.into_iter().flatten().map(|subject| (subject.name.clone(), subject)));
        Ok(())
    }

    async fn get(&self, name: &str, pointers: &[String]) -> Result<Option<Subject>, Error> {
        const WHAT: &str = "ConfigMaps";
        let url = self.url(&CONFIG_MAP);
        let Some(document) = documents::get(&self.client, WHAT, &url, name).await? else {
            return Ok(None);
        };
        let subject = Parser::new(&CONFIG_MAP, pointers.to_vec()).subject(document.as_bytes());
        subject.map_err(|error| Error::unreadable(WHAT, error))
    }

    /// Returns the URL of a resource in the namespace.
    fn url(&self, kind: &Kind) -> String {
        let resource = kind.api_resource();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.resource_url().to_owned()
    }

    /// Returns the objects of every page of a list.
    pub async fn list(
        &self,
        kind: &'static Kind,
        params: ListParams,
        pointers: Vec<String>,
    ) -> Result<Vec<Subject>, Error> {
        let parser = Parser::new(kind, pointers);
        let mut values = 0;
        let read = |document: &[u8]| {
            let what = kind.plural;
            let subject =
                parser.subject(document).map_err(|error| Error::unreadable(what, error))?;
            values += subject.as_ref().map_or(0, Subject::length_of_values);
            if values > MOST_VALUES {
                return Err(Error::TooLarge { what, limit: MOST_VALUES });
            }
            Ok(subject)
        };
        documents::list(&self.client, kind.plural, &self.url(kind), params, read).await
    }

    /// Returns an object as it is now; none where it is gone, or another object has its name.
    pub async fn again(&self, before: &Subject) -> Result<Option<Subject>, Error> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &before.kind.api_resource());
        let object = call(before.kind.plural, api.get_opt(&before.name)).await?;
        let subject = object.and_then(|object| Subject::read(before.kind, &object, []));
        Ok(subject.filter(|subject| subject.uid == before.uid))
    }

    /// Lists the pods, and then the ReplicaSets and Jobs between them and workloads; the workloads too, where a spec
    /// truncates, or names a kind of the table, whose objects control workloads. In this order the owner of a new
    /// pod is never missing.
    pub async fn pods(&self, spec: &Spec) -> Result<Pods, Error> {
        let of_table = spec.workloads.iter().any(|entry| entry.kind.entry.is_some());
        let controllers = of_table || spec.database.is_some();
        let began = Timestamp::now();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let wanted = PodView::wanted();
        let read = |document: &[u8]| {
            PodView::parse(&wanted, document).map_err(|error| Error::unreadable("pods", error))
        };
        let url = api.resource_url();
        let running =
            documents::list(&self.client, "pods", url, ListParams::default(), read).await?;
        let (between, others): (Vec<&Kind>, Vec<_>) = Kind::workloads()
            .filter(|kind| of_table || kind.entry.is_none())
            .partition(|kind| matches!(kind.name, "ReplicaSet" | "Job"));
        let list = async |kinds: Vec<&'static Kind>| {
            let lists = kinds.into_iter().map(async |kind| {
                let listed = self.list(kind, ListParams::default(), Vec::new()).await;
                let named = spec.workloads.iter().any(|entry| entry.kind == kind);
                unavailable::sorted(kind, listed, named).map(|(listed, _)| listed)
            });
            Ok::<Vec<_>, Error>(try_join_all(lists).await?.into_iter().flatten().collect())
        };
        let others = if controllers { others } else { Vec::new() };
        let (between, others) = futures::try_join!(list(between), list(others))?;
        let (replica_sets, jobs) =
            between.into_iter().partition(|subject: &Subject| subject.kind.name == "ReplicaSet");
        Ok(Pods {
            began,
            complete: Timestamp::now(),
            running,
            replica_sets,
            jobs,
            controllers: others,
            failed_creates: BTreeMap::new(),
        })
    }

    /// Returns why controllers have not been able to create pods since a time, by the uid of the workload. Only Events
    /// tell that of a StatefulSet or DaemonSet. They are words for people: without them, or without the right to list
    /// them, there are none.
    pub async fn failed_creates(&self, since: Timestamp) -> BTreeMap<String, String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let failed = ListParams::default().fields("reason=FailedCreate").limit(MOST_EVENTS);
        let events = match call("events", events.list(&failed)).await {
            Ok(list) => list.items,
            Err(error) => {
                tracing::debug!(namespace = self.namespace, %error, "Events are not listed");
                return BTreeMap::new();
            }
        };
        let last = |event: &Event| {
            let series = event.series.as_ref().map(|series| series.last_observed_time.0);
            let once = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
            series.or(once).or(event.event_time.as_ref().map(|time| time.0))
        };
        let mut failed: Vec<_> = events
            .into_iter()
            .filter_map(|event| {
                let at = last(&event).filter(|at| *at >= since)?;
                Some((at, event.regarding?.uid?, event.note?))
            })
            .collect();
        failed.sort();
        failed.into_iter().map(|(_, uid, note)| (uid, note)).collect()
    }

    /// Returns one of Torpor's own Jobs.
    pub async fn job(&self, name: &str) -> Result<JobView, Error> {
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let labels = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
        let (job, pods) =
            futures::try_join!(call("jobs", jobs.get_opt(name)), call("pods", pods.list(&labels)))?;
        let mut view = JobView {
            name: name.to_owned(),
            exists: job.is_some(),
            deleting: job.as_ref().is_some_and(|job| job.metadata.deletion_timestamp.is_some()),
            suspended: job.as_ref().and_then(|job| job.spec.as_ref()?.suspend) == Some(true),
            pods: pods.items.len(),
            watched: job.as_ref().map(job::watched).unwrap_or_default(),
            ..JobView::default()
        };
        for condition in job.and_then(|j| j.status?.conditions).into_iter().flatten() {
            if condition.status == "True" {
                view.stopped |= condition.type_ == "Suspended";
                view.succeeded |= condition.type_ == "Complete";
                view.finished |= condition.type_ == "Complete" || condition.type_ == "Failed";
            }
        }
        let mut pods = pods.items;
        pods.sort_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp));
        let newest = pods.last().and_then(|pod| pod.status.as_ref());
        view.unscheduled =
            newest.and_then(unscheduled).and_then(|condition| condition.message.clone());
        for state in pods
            .into_iter()
            .filter_map(|pod| pod.status?.container_statuses)
            .flatten()
            .filter(|container| container.name == job::CONTAINER)
            .filter_map(|container| container.state)
        {
            if let Some(end) = state.terminated {
                view.last_end = end.finished_at.as_ref().map(|at| at.0).max(view.last_end);
                view.terminated.push((end.exit_code, end.message.unwrap_or_default()));
            }
            if let Some(waiting) = state.waiting {
                view.waiting =
                    Some((waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default()));
            }
        }
        Ok(view)
    }

    /// Returns whether the namespace is being deleted. An installation for one namespace may not read it, and
    /// assumes that it stays.
    pub async fn namespace_deleting(&self) -> bool {
        let api: Api<Namespace> = Api::all(self.client.clone());
        match call("namespaces", api.get_metadata(&self.namespace)).await {
            Ok(namespace) => namespace.metadata.deletion_timestamp.is_some(),
            Err(_) => false,
        }
    }
}

/// Returns the levers of ConfigMaps that the spec names or the status records: a key may have left the spec,
/// and an annotation may have been removed.
fn config_pointers(spec: &Spec, originals: &BTreeMap<String, String>) -> Vec<String> {
    let originals = originals.iter().filter(|(key, _)| key.starts_with("ConfigMap/"));
    let remembered = originals.filter_map(|(_, text)| serde_json::from_str(text).ok());
    let mut pointers = spec.config_pointers();
    pointers.extend(remembered.flat_map(|record: StatusRecord| record.levers.into_keys()));
    pointers.sort_unstable();
    pointers.dedup();
    pointers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transition::spec::Fields;
    use serde_json::json;

    #[test]
    fn a_key_that_has_left_the_spec_is_looked_at_as_long_as_it_is_remembered() {
        let config_maps = json!([{"name": "env", "set": {"A": "1"}}]);
        let spec = Spec::validate(&Fields {
            max_concurrent: None,
            workloads: &[],
            config_maps: &serde_json::from_value::<Vec<_>>(config_maps).unwrap(),
            database: None,
            deals: None,
            progress_deadline: "10m",
        });
        let spec = spec.unwrap();
        let remembered = |levers: serde_json::Value| levers.to_string();
        let originals = [
            ("ConfigMap/env/u".to_owned(), remembered(json!({"/data/B": ["b", "x"]}))),
            ("ConfigMap/odd/u".to_owned(), "no JSON".to_owned()),
            ("Deployment/a/u".to_owned(), remembered(json!({"/spec/replicas": [1, 0]}))),
        ]
        .into();
        assert_eq!(config_pointers(&spec, &originals), ["/data/A", "/data/B"]);
    }
}
