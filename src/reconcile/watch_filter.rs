//! The changes in its namespace that concern an object. A ConfigMap that somebody writes every second, and that
//! the object does not name, costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::hold::lever::Kind;
use crate::hold::record::{ANNOTATION, Holder, LABEL};
use crate::transition::spec::{Spec, Target};

/// The changes in a namespace that concern one object.
#[derive(Debug, Default)]
pub struct WatchFilter {
    workloads: Vec<(&'static Kind, Target, Vec<String>)>,
    config_maps: Vec<Target>,
    /// Held objects, `Kind/name`: their labels may have changed.
    known: BTreeSet<String>,
}

impl WatchFilter {
    /// Returns the filter for a spec and `status.originals`.
    pub fn of(spec: &Spec, originals: &BTreeMap<String, String>) -> Self {
        let workloads = spec.workloads.iter();
        Self {
            workloads: workloads
                .map(|entry| (entry.kind, entry.target.clone(), entry.except.clone()))
                .collect(),
            config_maps: spec.config_maps.iter().map(|entry| entry.target.clone()).collect(),
            known: originals
                .keys()
                .filter_map(|key| key.rsplit_once('/').map(|(known, _)| known.to_owned()))
                .collect(),
        }
    }

    /// Returns whether the spec names a kind.
    pub fn names(&self, kind: &Kind) -> bool {
        self.workloads.iter().any(|(of, ..)| *of == kind)
    }

    /// Returns whether the spec names a kind whose objects scale workloads: any workload may be one of these.
    fn scales(&self) -> bool {
        self.workloads.iter().any(|(kind, ..)| kind.scales())
    }

    /// Returns whether the spec names a changed object, or the object was held or is, or its owner is: a Job that
    /// somebody starts by hand belongs to its CronJob. An object that others hold concerns these alone. Marks that name no
    /// holder may be the rest of any record.
    pub fn concerns(&self, kind: &'static Kind, meta: &ObjectMeta, holders: &[Holder]) -> bool {
        let name = meta.name.as_deref().unwrap_or_default();
        let labels = meta.labels.clone().unwrap_or_default();
        let annotations = meta.annotations.as_ref();
        let marked = labels.contains_key(LABEL)
            || annotations.is_some_and(|annotations| annotations.contains_key(ANNOTATION));
        let matches = |target: &Target| target.names(name, &labels).is_some();
        marked && holders.is_empty()
            || self.known.contains(&format!("{}/{name}", kind.name))
            || self.owns(meta)
            || if kind.name == "ConfigMap" {
                self.config_maps.iter().any(matches)
            } else {
                self.scales()
                    || self.workloads.iter().any(|(of, target, except)| {
                        *of == kind && matches(target) && !except.iter().any(|out| out == name)
                    })
            }
    }

    /// Returns whether an owner of it is held, or may be named by the spec: labels of another object are not known
    /// here.
    fn owns(&self, meta: &ObjectMeta) -> bool {
        let mut owners = meta.owner_references.iter().flatten();
        owners.any(|owner| {
            let may_be = |target: &Target| match target {
                Target::Name(name) => *name == owner.name,
                Target::Labels(_) | Target::All => true,
            };
            self.known.contains(&format!("{}/{}", owner.kind, owner.name))
                || self.workloads.iter().any(|(kind, target, except)| {
                    kind.name == owner.kind && may_be(target) && !except.contains(&owner.name)
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hibernation::validate::validate;
    use serde_json::json;

    #[test]
    fn only_what_is_named_or_held_is_looked_at() {
        let spec = validate(
            &serde_json::from_value(json!({
                "state": "Hibernated",
                "workloads": [
                    {"kind": "Deployment", "all": true, "except": ["api"]},
                    {"kind": "StatefulSet", "selector": {"matchLabels": {"app": "db"}}},
                    {"kind": "CronJob", "name": "nightly"},
                ],
                "configMaps": [{"name": "env"}],
            }))
            .unwrap(),
        )
        .unwrap();
        let originals = [("ConfigMap/old/some-uid".to_owned(), String::new())].into();
        let filter = WatchFilter::of(&spec.hold, &originals);
        let concerns = |kind: &str, meta: serde_json::Value| {
            filter.concerns(Kind::any(kind).unwrap(), &serde_json::from_value(meta).unwrap(), &[])
        };
        assert!(concerns("Deployment", json!({"name": "worker"})));
        assert!(!concerns("Deployment", json!({"name": "api"})));
        assert!(concerns("Deployment", json!({"name": "api", "labels": {LABEL: "x"}})));
        assert!(concerns("StatefulSet", json!({"name": "db", "labels": {"app": "db"}})));
        assert!(!concerns("StatefulSet", json!({"name": "db"})));
        assert!(!concerns("CronJob", json!({"name": "worker"})));
        let of = |kind: &str, name: &str| {
            let owner = json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": "u"});
            let mut controller = owner.clone();
            controller["controller"] = json!(true);
            [owner, controller].map(|owner| json!({"name": "one", "ownerReferences": [owner]}))
        };
        let [by_hand, scheduled] = of("CronJob", "nightly");
        assert!(concerns("Job", scheduled), "a CronJob that is down has no Job");
        assert!(concerns("Job", by_hand), "many clients leave `controller` out");
        assert!(!concerns("Job", of("CronJob", "weekly")[1].clone()));
        assert!(concerns("ReplicaSet", of("Deployment", "worker")[1].clone()));
        assert!(!concerns("ReplicaSet", of("Deployment", "api")[1].clone()));
        assert!(concerns("ConfigMap", json!({"name": "env"})));
        assert!(concerns("ConfigMap", json!({"name": "old"})), "its marks were torn off");
        assert!(!concerns("ConfigMap", json!({"name": "leader"})));
        assert!(concerns("ConfigMap", json!({"name": "x", "annotations": {ANNOTATION: "{}"}})));
        let held = |name: &str| {
            let meta =
                json!({"name": name, "labels": {LABEL: "x"}, "annotations": {ANNOTATION: "{}"}});
            let holders = ["Hibernation/ns/other".parse().unwrap()];
            let meta = serde_json::from_value(meta).unwrap();
            filter.concerns(Kind::any("ConfigMap").unwrap(), &meta, &holders)
        };
        assert!(held("env") && held("old"));
        assert!(!held("x"), "it is the business of its holder");
    }
}
