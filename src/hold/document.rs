//! Parses the documents of workloads and ConfigMaps: the parts that Torpor reads, and no more.

use kube::core::DynamicObject;

use super::lever::{CONFIG_MAP, Kind};
use super::record::Found;
use super::subject::Subject;
use crate::apiserver::wanted::Wanted;

/// The parts of every object.
const METADATA: [&str; 10] = [
    "/metadata/namespace",
    "/metadata/name",
    "/metadata/uid",
    "/metadata/resourceVersion",
    "/metadata/generation",
    "/metadata/creationTimestamp",
    "/metadata/deletionTimestamp",
    "/metadata/labels",
    "/metadata/ownerReferences",
    "/metadata/managedFields",
];
/// The annotations of every object: the record of a hold, and the manifest of `kubectl apply`.
const ANNOTATIONS: [&str; 2] = [
    "/metadata/annotations/torpor.dev~1hold",
    "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
];
/// The parts of workloads.
const WORKLOAD: [&str; 29] = [
    "/spec/replicas",
    "/spec/suspend",
    "/spec/paused",
    "/spec/selector",
    "/spec/schedule",
    "/spec/timeZone",
    "/spec/strategy",
    "/spec/updateStrategy",
    "/spec/persistentVolumeClaimRetentionPolicy",
    "/spec/template/metadata/annotations/torpor.dev~1configuration",
    "/spec/template/spec/nodeSelector",
    "/spec/template/spec/containers/envFrom/configMapRef/name",
    "/spec/template/spec/containers/env/valueFrom/configMapKeyRef/name",
    "/spec/template/spec/initContainers/envFrom/configMapRef/name",
    "/spec/template/spec/initContainers/env/valueFrom/configMapKeyRef/name",
    "/spec/template/spec/volumes/configMap/name",
    "/spec/template/spec/volumes/projected/sources/configMap/name",
    "/status/observedGeneration",
    "/status/replicas",
    "/status/updatedReplicas",
    "/status/availableReplicas",
    "/status/desiredNumberScheduled",
    "/status/currentNumberScheduled",
    "/status/updatedNumberScheduled",
    "/status/numberAvailable",
    "/status/lastScheduleTime",
    "/status/active",
    "/status/conditions/type",
    "/status/conditions/status",
];
/// The parts of ConfigMaps, besides the values of keys.
const CONFIG: [&str; 2] = ["/immutable", "/binaryData/*"];

/// Parses objects of one kind.
#[derive(Clone, Debug)]
pub struct Parser {
    kind: &'static Kind,
    /// The desired levers.
    pointers: Vec<String>,
    wanted: Wanted,
}

impl Parser {
    /// Returns a parser. `pointers` are the desired levers; those of the kind and of the record of an object are
    /// always parsed.
    pub fn new(kind: &'static Kind, pointers: Vec<String>) -> Self {
        let wanted = wanted(kind, pointers.iter().map(String::as_str));
        Self { kind, pointers, wanted }
    }

    /// Parses an object with its levers; none for an object without name or uid, which no API server sends.
    pub fn subject(&self, document: &[u8]) -> Result<Option<Subject>, serde_json::Error> {
        Ok(Subject::read(self.kind, &self.object(document)?, &self.pointers))
    }

    /// Parses the parts of an object that Torpor reads.
    pub fn object(&self, document: &[u8]) -> Result<DynamicObject, serde_json::Error> {
        let object: DynamicObject = serde_json::from_value(self.wanted.parse(document)?)?;
        // Another holder may have recorded other keys.
        let recorded = match Found::of(self.kind, &object.metadata) {
            Found::Record(record) if *self.kind == CONFIG_MAP => record.levers,
            _ => return Ok(object),
        };
        let mut pointers = self.pointers.iter().chain(recorded.keys()).map(String::as_str);
        if recorded.keys().all(|pointer| self.pointers.contains(pointer)) {
            return Ok(object);
        }
        serde_json::from_value(wanted(self.kind, &mut pointers).parse(document)?)
    }
}

fn wanted<'a>(kind: &Kind, pointers: impl Iterator<Item = &'a str>) -> Wanted {
    let more: &[&str] = if *kind == CONFIG_MAP { &CONFIG } else { &WORKLOAD };
    Wanted::of(METADATA.into_iter().chain(ANNOTATIONS).chain(more.iter().copied()).chain(pointers))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::hold::record::ANNOTATION;

    fn metadata() -> Value {
        json!({
            "namespace": "ns", "name": "x", "uid": "u", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-12-01T00:00:00Z", "deletionTimestamp": "2026-12-02T00:00:00Z",
            "labels": {"app": "x"},
            "annotations": {"other": "y", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "K", "name": "o", "uid": "ou", "controller": true},
            ],
            "managedFields": [{
                "manager": "helm", "operation": "Update", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:replicas": {}, "f:suspend": {}, "f:template": {"f:spec": {}}}},
            }],
        })
    }

    /// Returns an object in which every part that is read of its kind is set.
    fn whole(kind: &Kind) -> Value {
        let template = json!({
            "metadata": {"annotations": {"torpor.dev/configuration": "digest", "b": "c"}},
            "spec": {
                "nodeSelector": {"disk": "ssd", "torpor.dev/held": "true"},
                "containers": [{
                    "name": "main", "image": "i", "envFrom": [{"configMapRef": {"name": "a"}}],
                    "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "b", "key": "k"}}}],
                }],
                "initContainers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}],
                "volumes": [
                    {"configMap": {"name": "d"}},
                    {"projected": {"sources": [{"configMap": {"name": "e"}}, {"secret": {}}]}},
                ],
            },
        });
        let conditions = json!([
            {"type": "Complete", "status": "True", "message": "m"},
            {"type": "Suspended", "status": "True"},
        ]);
        json!({
            "apiVersion": "v1", "kind": kind.name, "metadata": metadata(),
            "immutable": true, "data": {"A": "1", "B": "2"}, "binaryData": {"C": "AA=="},
            "spec": {
                "replicas": 2, "suspend": true, "paused": true, "schedule": "0 1 * * *",
                "timeZone": "Europe/Kyiv", "selector": {"matchLabels": {"app": "x"}},
                "strategy": {"type": "Recreate"},
                "updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}},
                "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"},
                "template": template,
            },
            "status": {
                "observedGeneration": 3, "replicas": 4, "updatedReplicas": 5, "availableReplicas": 6,
                "desiredNumberScheduled": 7, "currentNumberScheduled": 8,
                "updatedNumberScheduled": 9, "numberAvailable": 10, "active": 11,
                "lastScheduleTime": "2026-12-01T01:00:00Z", "conditions": conditions,
            },
        })
    }

    #[test]
    fn nothing_that_is_read_of_an_object_is_skipped() {
        let pointers = vec!["/data/A".to_owned()];
        for kind in Kind::all() {
            let object = whole(kind);
            let read =
                Subject::read(kind, &serde_json::from_value(object.clone()).unwrap(), &pointers);
            let parser = Parser::new(kind, pointers.clone());
            let parsed = parser.subject(object.to_string().as_bytes()).unwrap();
            assert_eq!(format!("{parsed:?}"), format!("{read:?}"), "{}", kind.name);
        }
    }

    #[test]
    fn the_keys_that_another_holder_has_recorded_are_parsed_too() {
        let mut object = whole(&CONFIG_MAP);
        let record = json!({"/data/B": {"original": "b", "holders": [
            {"by": "Hibernation/ns/other", "value": "2", "episode": "e"},
        ]}});
        let record = record.to_string();
        object["metadata"]["labels"]["torpor.dev/held"] =
            json!(super::super::lever::digest(&record));
        object["metadata"]["annotations"][ANNOTATION] = json!(record);
        let parser = Parser::new(&CONFIG_MAP, vec!["/data/A".to_owned()]);
        let subject = parser.subject(object.to_string().as_bytes()).unwrap().unwrap();
        let values = ["/data/A", "/data/B"].map(|pointer| subject.levers[pointer].value.clone());
        assert_eq!(values, [Some(json!("1")), Some(json!("2"))]);
    }
}
