use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::api::reason::Reason;
use crate::hold::lever::{CONFIG_MAP, RESTART, key_wants, restart_wants};
use crate::hold::record::{ANNOTATION, LABEL};

fn holder(name: &str) -> Holder {
    format!("Hibernation/cornice/{name}").parse().unwrap()
}

/// A Deployment with 5 replicas that `kubectl apply` wrote.
fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "worker",
            "namespace": "cornice",
            "uid": "u1",
            "resourceVersion": "7",
            "generation": 1,
            "managedFields": [entry("kubectl-client-side-apply", "Update", "", &json!(
                {"f:replicas": {}, "f:template": {"f:spec": {}}}
            ))],
        },
        "spec": {"replicas": 5, "selector": {"matchLabels": {"app": "worker"}}, "template": {}},
    })
}

fn entry(manager: &str, operation: &str, subresource: &str, spec: &Value) -> Value {
    json!({
        "manager": manager,
        "operation": operation,
        "subresource": subresource,
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": spec},
    })
}

fn config_map() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "env", "namespace": "cornice", "uid": "u2", "resourceVersion": "3"},
        "data": {"HIBERNATE_MODE": "false", "OTHER": "1"},
    })
}

fn read(object: &Value) -> Subject {
    let kind = match object["kind"].as_str() {
        Some("ConfigMap") => &CONFIG_MAP,
        Some(name) => Kind::any(name).unwrap(),
        None => panic!("no kind"),
    };
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let keys: Vec<String> =
        ["HIBERNATE_MODE", "INGEST_ENABLED", "cert"].map(lever::key_pointer).into();
    let pointers = if kind.name == "ConfigMap" { keys } else { Vec::new() };
    let managed_fields = object.metadata.managed_fields.clone().unwrap_or_default();
    // As the writer reads it.
    Subject { managed_fields, ..Subject::read(kind, &object, &pointers).unwrap() }
}

/// Applies a merge patch as the API server does: the field manager that changes a field becomes its only
/// owner, and a removed field has no owner.
fn patched(object: &Value, patch: &Value, manager: &str) -> Value {
    let mut result = object.clone();
    merge(&mut result, patch);
    // The API server drops empty maps.
    for map in ["annotations", "labels"] {
        if result["metadata"][map] == json!({}) {
            result["metadata"].as_object_mut().unwrap().remove(map);
        }
    }
    let mut entries: Vec<Value> =
        result["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mut leaves = Vec::new();
    pointers(patch, String::new(), &mut leaves);
    for pointer in leaves {
        if pointer.starts_with("/metadata/managedFields") || pointer.ends_with("resourceVersion") {
            continue;
        }
        let now = result.pointer(&pointer);
        if object.pointer(&pointer) == now {
            continue;
        }
        let field = fields::path(&pointer);
        for entry in &mut entries {
            fields::remove(&mut entry["fieldsV1"], &field);
        }
        if result.pointer(lever::owned_field(&pointer)).is_some() {
            let ours = |e: &&mut Value| e["manager"] == manager && e["operation"] == "Update";
            let mut mine = entries.iter_mut().filter(ours);
            if let Some(entry) = mine.find(|e| e["subresource"] == "") {
                fields::insert(&mut entry["fieldsV1"], &field);
            } else {
                let mut new = entry(manager, "Update", "", &json!({}));
                new["fieldsV1"] = json!({});
                fields::insert(&mut new["fieldsV1"], &field);
                entries.push(new);
            }
        }
    }
    entries.retain(|entry| entry["fieldsV1"] != json!({}));
    for entry in &mut entries {
        // The fixtures write an empty subresource.
        entry["subresource"] = json!(entry["subresource"].as_str().unwrap_or_default());
    }
    result["metadata"]["managedFields"] = json!(entries);
    if entries.is_empty() {
        result["metadata"].as_object_mut().unwrap().remove("managedFields");
    }
    result
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Collects the JSON pointers of the leaves of a document.
fn pointers(node: &Value, at: String, into: &mut Vec<String>) {
    match node {
        Value::Object(map) => {
            for (key, value) in map {
                pointers(
                    value,
                    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                    into,
                );
            }
        }
        _ => into.push(at),
    }
}

fn ask(object: &Value, holder: &Holder, wants: &BTreeMap<String, Value>) -> Decision {
    // As a holder whose status records its holds.
    let subject = read(object);
    let record = subject.found.record().filter(|_| wants.is_empty());
    let remembered = record.map(|record| StatusRecord::of(&subject, record, holder));
    ask_with(object, holder, wants, remembered.as_ref())
}

fn ask_with(
    object: &Value,
    holder: &Holder,
    wants: &BTreeMap<String, Value>,
    remembered: Option<&StatusRecord>,
) -> Decision {
    decide(&read(object), &Desired { holder, episode: "e1", wants, remembered })
}

fn written(object: &Value, decision: Decision) -> Value {
    match decision {
        Decision::Write(write) => patched(object, &write.patch, &write.manager),
        other => panic!("no write: {other:?}"),
    }
}

/// Applies all writes, as the writer sends them. Returns the object and the number of writes.
fn converged(object: &Value, holder: &Holder, wants: &BTreeMap<String, Value>) -> (Value, usize) {
    let mut object = object.clone();
    for writes in 0.. {
        match ask(&object, holder, wants) {
            Decision::Write(write) => object = patched(&object, &write.patch, &write.manager),
            Decision::Unchanged => return (object, writes),
            Decision::Refuse(refusal) => panic!("{refusal}"),
        }
    }
    unreachable!("it ends");
}

fn stop() -> BTreeMap<String, Value> {
    [("/spec/replicas".to_owned(), json!(0))].into()
}

fn held(object: &Value) -> Value {
    written(object, ask(object, &holder("a"), &stop()))
}

fn woken(object: &Value) -> Value {
    converged(object, &holder("a"), &BTreeMap::new()).0
}

/// Returns the object after a field manager has written `replicas`.
fn replicas_by(object: &Value, replicas: i32, manager: &str, operation: &str, sub: &str) -> Value {
    let mut object = object.clone();
    object["spec"]["replicas"] = json!(replicas);
    let template = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|e| e["manager"] == "kubectl-client-side-apply")
        .map(|_| entry("kubectl-client-side-apply", "Update", "", &json!({"f:template": {}})));
    let mut entries: Vec<Value> = template.into_iter().collect();
    entries.push(entry(manager, operation, sub, &json!({"f:replicas": {}})));
    object["metadata"]["managedFields"] = json!(entries);
    object
}

#[test]
fn held_value_and_original_travel_in_one_write_with_the_version_that_was_read() {
    let Decision::Write(write) = ask(&deployment(), &holder("a"), &stop()) else { panic!() };
    assert_eq!(write.patch["spec"]["replicas"], 0);
    assert_eq!(write.patch["metadata"]["resourceVersion"], "7");
    let annotation = write.patch["metadata"]["annotations"][ANNOTATION].as_str().unwrap();
    let label = write.patch["metadata"]["labels"][LABEL].as_str().unwrap();
    let Found::Record(record) = Found::read(Some(annotation), Some(label)) else { panic!() };
    assert_eq!(record.levers["/spec/replicas"].original, Some(json!(5)));
    assert_eq!(record.levers["/spec/replicas"].owners[0].manager, "kubectl-client-side-apply");
}

#[test]
fn what_is_held_as_wanted_is_not_written_again() {
    let object = held(&deployment());
    assert_eq!(ask(&object, &holder("a"), &stop()), Decision::Unchanged);
}

#[test]
fn a_wake_restores_the_object_as_it_was() {
    assert_eq!(woken(&held(&deployment())), deployment());
    let wants = key_wants(&crate::api::workload::hibernate_mode());
    let asleep = written(&config_map(), ask(&config_map(), &holder("a"), &wants));
    assert_eq!(
        asleep["data"],
        json!({
            "HIBERNATE_MODE": "true", "INGEST_ENABLED": "false", "OTHER": "1",
        })
    );
    assert_eq!(woken(&asleep), config_map(), "a key that was absent is removed again");
}

#[test]
fn what_was_at_zero_before_comes_back_as_such() {
    let mut object = deployment();
    object["spec"]["replicas"] = json!(0);
    assert_eq!(woken(&held(&object)), object);
}

#[test]
fn the_original_is_never_overwritten_by_a_held_value() {
    // A second episode, a second holder, a lost status: 0 is never taken for an original.
    let object = held(&deployment());
    let again = decide(
        &read(&object),
        &Desired { holder: &holder("a"), episode: "e2", wants: &stop(), remembered: None },
    );
    let object = written(&object, again);
    let object = written(&object, ask(&object, &holder("b"), &stop()));
    let record = read(&object).found.record().unwrap().clone();
    assert_eq!(record.levers["/spec/replicas"].original, Some(json!(5)));
    assert_eq!(record.levers["/spec/replicas"].holders.len(), 2);
}

#[test]
fn the_last_release_restores_the_original() {
    let object = held(&deployment());
    let object = written(&object, ask(&object, &holder("b"), &stop()));
    let object = woken(&object);
    assert_eq!(object["spec"]["replicas"], 0);
    let object = written(&object, ask(&object, &holder("b"), &BTreeMap::new()));
    assert_eq!(object, deployment());
}

#[test]
fn a_scale_while_asleep_does_not_change_the_value_to_restore() {
    let peeked = replicas_by(&held(&deployment()), 1, "kubectl", "Update", "scale");
    let Decision::Write(write) = ask(&peeked, &holder("a"), &stop()) else { panic!() };
    assert!(!write.foreign[0].rollout);
    assert_eq!(write.foreign[0].owner.as_ref().unwrap().manager, "kubectl");
    let object = patched(&peeked, &write.patch, &write.manager);
    assert_eq!(woken(&object)["spec"]["replicas"], 5);
    assert_eq!(woken(&peeked)["spec"]["replicas"], 5, "also where the wake observes the write");
}

#[test]
fn a_rollout_while_asleep_becomes_the_value_to_restore() {
    // By the field manager that owned the lever, or by one that owns the pod template.
    let former = replicas_by(&held(&deployment()), 8, "kubectl-client-side-apply", "Update", "");
    let object = written(&former, ask(&former, &holder("a"), &stop()));
    assert_eq!(object["spec"]["replicas"], 0);
    assert_eq!(woken(&object)["spec"]["replicas"], 8);
    assert_eq!(woken(&former)["spec"]["replicas"], 8);

    let mut helm = replicas_by(&held(&deployment()), 6, "helm", "Update", "");
    let fields = &mut helm["metadata"]["managedFields"][1]["fieldsV1"]["f:spec"];
    fields["f:template"] = json!({"f:spec": {}});
    assert_eq!(woken(&helm)["spec"]["replicas"], 6);
}

#[test]
fn a_stranger_that_owns_nothing_else_is_undone() {
    let object = replicas_by(&held(&deployment()), 3, "some-scaler", "Update", "");
    assert_eq!(woken(&object)["spec"]["replicas"], 5);
}

#[test]
fn a_stale_annotation_is_never_restored_from() {
    // `kubectl rollout undo` brings back the annotation of an old ReplicaSet, without the label.
    let mut object = deployment();
    object["metadata"]["annotations"] =
        json!({ANNOTATION: held(&deployment())["metadata"]["annotations"][ANNOTATION]});
    object["spec"]["replicas"] = json!(2);
    assert_eq!(ask(&object, &holder("a"), &BTreeMap::new()), Decision::Unchanged);
    assert_eq!(woken(&held(&object))["spec"]["replicas"], 2);
}

#[test]
fn the_status_record_replaces_a_removed_annotation() {
    let asleep = held(&deployment());
    let record = read(&asleep).found.record().unwrap().clone();
    let remembered = StatusRecord::of(&read(&asleep), &record, &holder("a"));
    let mut without_annotation = asleep.clone();
    without_annotation["metadata"].as_object_mut().unwrap().remove("annotations");
    let mut without_both = without_annotation.clone();
    without_both["metadata"].as_object_mut().unwrap().remove("labels");
    for damaged in [without_annotation, without_both] {
        let decision = ask_with(&damaged, &holder("a"), &BTreeMap::new(), Some(&remembered));
        assert_eq!(written(&damaged, decision)["spec"]["replicas"], 5);
        let decision = ask_with(&damaged, &holder("a"), &stop(), Some(&remembered));
        let healed = written(&damaged, decision);
        assert_eq!(woken(&healed)["spec"]["replicas"], 5);
    }
}

#[test]
fn each_holder_heals_what_it_holds() {
    let key = |key: &str| key_wants(&[(key.to_owned(), "true".to_owned())].into());
    let holders = [(holder("a"), key("HIBERNATE_MODE")), (holder("b"), key("INGEST_ENABLED"))];
    let mut object = config_map();
    for (holder, wants) in &holders {
        object = written(&object, ask(&object, holder, wants));
    }
    let record = read(&object).found.record().unwrap().clone();
    object["metadata"].as_object_mut().unwrap().remove("annotations");
    object["metadata"].as_object_mut().unwrap().remove("labels");
    for (holder, wants) in &holders {
        let remembered = StatusRecord::of(&read(&object), &record, holder);
        object = written(&object, ask_with(&object, holder, wants, Some(&remembered)));
    }
    assert_eq!(read(&object).found.record(), Some(&record));
}

#[test]
fn an_original_that_is_recorded_nowhere_is_refused() {
    let mut damaged = held(&deployment());
    damaged["metadata"].as_object_mut().unwrap().remove("annotations");
    let Decision::Refuse(refusal) = ask(&damaged, &holder("a"), &stop()) else { panic!() };
    assert_eq!(refusal.reason(), Reason::OriginalUnknown);
}

#[test]
fn removing_the_annotation_of_a_held_object_is_a_foreign_write() {
    let asleep = held(&deployment());
    let record = read(&asleep).found.record().unwrap().clone();
    let remembered = StatusRecord::of(&read(&asleep), &record, &holder("a"));
    let mut damaged = asleep.clone();
    damaged["metadata"].as_object_mut().unwrap().remove("annotations");
    let foreign = |object: &Value, wants: &BTreeMap<String, Value>| match ask_with(
        object,
        &holder("a"),
        wants,
        Some(&remembered),
    ) {
        Decision::Write(write) => write.foreign,
        Decision::Unchanged => Vec::new(),
        Decision::Refuse(refusal) => panic!("{refusal}"),
    };
    assert_eq!(foreign(&damaged, &stop()), [Foreign::of_the_record()]);
    assert_eq!(foreign(&damaged, &BTreeMap::new()), [], "a release heals nothing");
    assert_eq!(foreign(&asleep, &stop()), []);
    let peeked = replicas_by(&damaged, 1, "kubectl", "Update", "scale");
    let last = foreign(&peeked, &stop()).pop().unwrap();
    assert_eq!(last.manager(), "kubectl", "the writer of the lever is reported");
}

#[test]
fn a_held_value_without_a_record_is_never_taken_for_an_original() {
    let mut damaged = held(&deployment());
    damaged["metadata"].as_object_mut().unwrap().remove("annotations");
    damaged["metadata"].as_object_mut().unwrap().remove("labels");
    let Decision::Refuse(refusal) = ask(&damaged, &holder("a"), &stop()) else { panic!() };
    assert_eq!(refusal.reason(), Reason::OriginalUnknown);
    // A value that somebody has set since is theirs.
    let set = replicas_by(&damaged, 0, "kubectl", "Update", "");
    assert_eq!(woken(&held(&set))["spec"]["replicas"], 0);
    let set = replicas_by(&damaged, 3, "kubectl", "Update", "");
    assert_eq!(woken(&held(&set))["spec"]["replicas"], 3);
}

#[test]
fn what_is_held_as_wanted_is_not_refused() {
    let (a, b) = (holder("a"), holder("b"));
    let mut object = written(&deployment(), ask(&deployment(), &a, &restart_wants("d")));
    object["spec"]["paused"] = json!(true);
    assert_eq!(ask(&object, &a, &restart_wants("d")), Decision::Unchanged);
    let refused = |decision| matches!(decision, Decision::Refuse(Refusal::CannotRestart { .. }));
    assert!(refused(ask(&object, &a, &restart_wants("e"))), "it would have to roll");
    assert!(refused(ask(&object, &b, &restart_wants("d"))), "a new holder");
}

#[test]
fn more_holders_than_a_record_may_name_are_refused() {
    let mut object = held(&deployment());
    for number in 1..super::super::record::MAX_HOLDERS {
        object = written(&object, ask(&object, &holder(&format!("h{number}")), &stop()));
    }
    let Decision::Refuse(refusal) = ask(&object, &holder("more"), &stop()) else { panic!() };
    assert_eq!(refusal.reason(), Reason::HoldTooLarge);
    assert_eq!(ask(&object, &holder("a"), &stop()), Decision::Unchanged);
}

#[test]
fn another_value_for_a_key_that_is_held_is_a_conflict() {
    let wants = |value: &str| key_wants(&[("HIBERNATE_MODE".into(), value.into())].into());
    let object = written(&config_map(), ask(&config_map(), &holder("a"), &wants("true")));
    let Decision::Refuse(refusal) = ask(&object, &holder("b"), &wants("deep")) else { panic!() };
    assert_eq!(refusal.reason(), Reason::HoldConflict);
    assert!(refusal.to_string().contains("Hibernation/cornice/a"), "{refusal}");
}

#[test]
fn what_cannot_be_written_is_refused() {
    let wants = key_wants(&crate::api::workload::hibernate_mode());
    let reason =
        |object: &Value, wants: &BTreeMap<String, Value>| match ask(object, &holder("a"), wants) {
            Decision::Refuse(refusal) => refusal.reason(),
            other => panic!("{other:?}"),
        };
    let mut object = config_map();
    object["immutable"] = json!(true);
    assert_eq!(reason(&object, &wants), Reason::ConfigMapImmutable);
    let mut object = config_map();
    object["binaryData"] = json!({"cert": "AA=="});
    let cert = key_wants(&[("cert".into(), "x".into())].into());
    assert_eq!(reason(&object, &cert), Reason::ConfigMapKeyBinary);
    let mut object = deployment();
    object["spec"]["paused"] = json!(true);
    assert_eq!(reason(&object, &restart_wants("d")), Reason::CannotRestart);
    let mut object = deployment();
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "x/v1", "kind": "Rollout", "name": "r", "uid": "z", "controller": true}]);
    assert_eq!(reason(&object, &stop()), Reason::ControlledBy);
    let large = key_wants(&(0..20).map(|n| (format!("K{n}"), "x".repeat(4000))).collect());
    assert_eq!(reason(&config_map(), &large), Reason::HoldTooLarge);
}

#[test]
fn stop_in_place_of_restart_is_one_write() {
    let restarted = written(&deployment(), ask(&deployment(), &holder("a"), &restart_wants("d1")));
    assert!(restarted.pointer(RESTART).is_some());
    let stopped = written(&restarted, ask(&restarted, &holder("a"), &stop()));
    assert_eq!(stopped.pointer(RESTART), None);
    assert_eq!(stopped["spec"]["replicas"], 0);
    assert_eq!(woken(&stopped)["spec"]["replicas"], 5);
}

#[test]
fn a_kept_hold_stays_and_is_taken_over_by_the_next_object_of_the_name() {
    let asleep = held(&deployment());
    let kept = written(&asleep, mark_kept(&read(&asleep), &holder("a")));
    assert_eq!(mark_kept(&read(&kept), &holder("a")), Decision::Unchanged);
    let adopted = written(&kept, ask(&kept, &holder("a"), &stop()));
    assert!(read(&adopted).found.record().unwrap().holders().all(|holding| !holding.kept));
    assert_eq!(woken(&kept)["spec"]["replicas"], 5);
}

#[path = "plan_properties.rs"]
mod properties;

#[path = "plan_owners.rs"]
mod owners;

#[path = "answer_tests.rs"]
mod answers;

#[path = "deploy_tests.rs"]
mod deploys;

#[path = "levers_tests.rs"]
mod levers;

#[path = "immutable_tests.rs"]
mod immutable;
