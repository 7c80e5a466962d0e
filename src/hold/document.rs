//! Parses the documents of workloads and ConfigMaps: the parts that Torpor reads, and no more.

use kube::core::DynamicObject;
use serde_json::Value;

use super::lever::{CONFIG_MAP, Kind};
use super::record::{ANNOTATION, Found};
use super::subject::{Annotations, Subject};
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
/// The annotations of every object: the record of a hold, the manifest of `kubectl apply`, and the room that the
/// others take.
const ANNOTATIONS: [&str; 3] = [
    "/metadata/annotations/torpor.dev~1hold",
    "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
    // Of all others, how much room they leave.
    "/metadata/annotations/#",
];
/// The parts of workloads.
const WORKLOAD: [&str; 30] = [
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
    "/status/conditions/message",
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
        let (object, annotations) = self.parts(document)?;
        let subject = Subject::read(self.kind, &object, &self.pointers);
        Ok(subject.map(|mut subject| {
            subject.facts.annotations = annotations;
            subject
        }))
    }

    /// Parses the parts of an object that Torpor reads.
    pub fn object(&self, document: &[u8]) -> Result<DynamicObject, serde_json::Error> {
        Ok(self.parts(document)?.0)
    }

    /// Parses the parts of an object, with the keys that another holder has recorded, and the room that its
    /// annotations take.
    fn parts(&self, document: &[u8]) -> Result<(DynamicObject, Annotations), serde_json::Error> {
        let parts = parse(&self.wanted, document)?;
        let recorded = match Found::of(self.kind, &parts.0.metadata) {
            Found::Record(record) if *self.kind == CONFIG_MAP => record.levers,
            _ => return Ok(parts),
        };
        if recorded.keys().all(|pointer| self.pointers.contains(pointer)) {
            return Ok(parts);
        }
        let pointers = self.pointers.iter().chain(recorded.keys()).map(String::as_str);
        parse(&wanted(self.kind, pointers), document)
    }
}

fn parse(
    wanted: &Wanted,
    document: &[u8],
) -> Result<(DynamicObject, Annotations), serde_json::Error> {
    let mut parts = wanted.parse(document)?;
    let annotations = Annotations::take(&mut parts);
    Ok((serde_json::from_value(parts)?, annotations))
}

impl Annotations {
    /// Takes the lengths of annotations out of the parts of a document, and returns their sum and the largest.
    fn take(parts: &mut Value) -> Self {
        let mut sizes = Self::default();
        let Some(all) = parts.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
        else {
            return sizes;
        };
        for (name, value) in &*all {
            let length = match value {
                Value::String(text) => text.len(),
                other => other.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default(),
            };
            // The record gives its room to the next one.
            if name != ANNOTATION {
                sizes.bytes += name.len() + length;
                if length > sizes.largest.1 {
                    sizes.largest = (name.clone(), length);
                }
            }
        }
        all.retain(|_, value| value.is_string());
        sizes
    }
}

fn wanted<'a>(kind: &'a Kind, pointers: impl Iterator<Item = &'a str>) -> Wanted {
    let more: &[&str] = if *kind == CONFIG_MAP { &CONFIG } else { &WORKLOAD };
    let of_kind = METADATA.into_iter().chain(ANNOTATIONS).chain(more.iter().copied());
    let of_table = kind.entry.iter().flat_map(|entry| kind.levers().chain(entry.pointers()));
    Wanted::of(of_kind.chain(of_table).chain(pointers))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hold::plan::{Decision, Desired, decide};

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
                "instances": 2, "scaleTargetRef": {"name": "x"},
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
                "readyInstances": 2,
            },
        })
    }

    #[test]
    fn nothing_that_is_read_of_an_object_is_skipped() {
        let pointers = vec!["/data/A".to_owned()];
        for kind in Kind::all() {
            let mut object = whole(kind);
            if *kind == CONFIG_MAP {
                object["spec"] = json!({});
                object["status"] = json!({});
            }
            let read =
                Subject::read(kind, &serde_json::from_value(object.clone()).unwrap(), &pointers);
            let parser = Parser::new(kind, pointers.clone());
            let mut parsed = parser.subject(object.to_string().as_bytes()).unwrap().unwrap();
            let taken = std::mem::take(&mut parsed.facts.annotations);
            let last_applied = "kubectl.kubernetes.io/last-applied-configuration".len() + 2;
            assert_eq!(taken.bytes, last_applied + "other".len() + 1);
            let parsed = Some(parsed);
            assert_eq!(format!("{parsed:?}"), format!("{read:?}"), "{}", kind.name);
        }
    }

    #[test]
    fn an_object_without_room_for_the_record_is_refused_by_its_largest_annotation() {
        let kind = Kind::any("Deployment").unwrap();
        let refusal = |name: &str, bytes: usize| {
            let mut object = whole(kind);
            object["metadata"]["ownerReferences"] = json!([]);
            object["metadata"]["annotations"] = json!({name: "x".repeat(bytes), "other": "y"});
            let parser = Parser::new(kind, Vec::new());
            let subject = parser.subject(object.to_string().as_bytes()).unwrap().unwrap();
            let holder = "Hibernation/ns/project".parse().unwrap();
            let wants = kind.stop_wants();
            let desired =
                Desired { holder: &holder, episode: "e", wants: &wants, remembered: None };
            match decide(&subject, &desired) {
                Decision::Refuse(refusal) => Some(refusal.to_string()),
                _ => None,
            }
        };
        assert_eq!(refusal("notes", 200 * 1024), None);
        let message = refusal("notes", 256 * 1024 - 40).unwrap();
        assert!(message.ends_with("Remove the largest, notes with 262104 bytes"), "{message}");
        let message =
            refusal("kubectl.kubernetes.io/last-applied-configuration", 256 * 1024 - 80).unwrap();
        assert!(message.contains("kubectl apply --server-side"), "{message}");
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
