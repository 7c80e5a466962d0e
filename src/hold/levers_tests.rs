//! Levers with rules of their own, and values that a status does not keep.

use super::*;

#[test]
fn several_restart_one_workload_and_each_leaves_its_own() {
    let (a, b) = (holder("a"), holder("b"));
    let value = |object: &Value| object.pointer(RESTART).cloned();
    let one = converged(&deployment(), &a, &restart_wants("d1")).0;
    assert_eq!(value(&one), Some(json!("d1")));
    let both = converged(&one, &b, &restart_wants("d2")).0;
    assert!(value(&both) != Some(json!("d1")) && value(&both) != Some(json!("d2")), "it rolls");
    // Each of them finds it as it wants it.
    assert_eq!(ask(&both, &a, &restart_wants("d1")), Decision::Unchanged);
    assert_eq!(ask(&both, &b, &restart_wants("d2")), Decision::Unchanged);
    let other = converged(&both, &a, &BTreeMap::new()).0;
    assert_eq!(value(&other), Some(json!("d2")), "without what the first one overrode");
    assert_eq!(value(&converged(&other, &b, &BTreeMap::new()).0), None);
}

#[test]
fn a_stateful_set_keeps_its_claims_while_it_is_held() {
    let set = |when_scaled: &str| {
        let mut object = deployment();
        object["kind"] = json!("StatefulSet");
        object["spec"]["persistentVolumeClaimRetentionPolicy"] =
            json!({"whenDeleted": "Retain", "whenScaled": when_scaled});
        let policy = json!({"f:whenDeleted": {}, "f:whenScaled": {}});
        object["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:persistentVolumeClaimRetentionPolicy"] =
            policy;
        object
    };
    let before = set("Delete");
    let wants = read(&before).stop_wants();
    let asleep = written(&before, ask(&before, &holder("a"), &wants));
    assert_eq!(asleep["spec"]["replicas"], 0, "in the same write");
    assert_eq!(asleep["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"], "Retain");
    assert_eq!(read(&asleep).stop_wants(), wants);
    assert_eq!(converged(&asleep, &holder("a"), &BTreeMap::new()), (before, 1));
    assert_eq!(read(&set("Retain")).stop_wants(), stop());
}

#[test]
fn a_long_original_is_kept_in_the_annotation_alone() {
    let mut before = config_map();
    before["data"]["HIBERNATE_MODE"] = json!("x".repeat(300));
    let wants = key_wants(&crate::api::workload::hibernate_mode());
    let asleep = written(&before, ask(&before, &holder("a"), &wants));
    assert_eq!(woken(&asleep), before);
    let subject = read(&asleep);
    let remembered = StatusRecord::of(&subject, subject.found.record().unwrap(), &holder("a"));
    assert_eq!(remembered.levers.keys().collect::<Vec<_>>(), ["/data/INGEST_ENABLED"]);
    let mut damaged = asleep;
    damaged["metadata"].as_object_mut().unwrap().remove("annotations");
    let decision = ask_with(&damaged, &holder("a"), &wants, Some(&remembered));
    let Decision::Refuse(refusal) = decision else { panic!() };
    assert_eq!(refusal.reason(), Reason::OriginalUnknown);
}

#[test]
fn what_was_released_and_set_since_is_not_healed_from_the_status() {
    // `torpor release` with the operator down, and then a scale: 8 is the value to restore.
    let asleep = held(&deployment());
    let subject = read(&asleep);
    let remembered = StatusRecord::of(&subject, subject.found.record().unwrap(), &holder("a"));
    let scaled = replicas_by(&woken(&asleep), 8, "kubectl", "Update", "scale");
    let again = written(&scaled, ask_with(&scaled, &holder("a"), &stop(), Some(&remembered)));
    assert_eq!(again["spec"]["replicas"], 0);
    assert_eq!(woken(&again)["spec"]["replicas"], 8);
}

fn scaled_object(annotations: Option<Value>, manager: &str, operation: &str) -> Value {
    let mut fields = json!({"f:spec": {"f:scaleTargetRef": {}}});
    for name in annotations.iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys) {
        fields["f:metadata"]["f:annotations"][format!("f:{name}")] = json!({});
    }
    let mut entry = entry(manager, operation, "", &json!({}));
    entry["fieldsV1"] = fields;
    let mut object = json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": "worker", "namespace": "cornice", "uid": "u4", "resourceVersion": "1",
            "generation": 1, "managedFields": [entry],
        },
        "spec": {"scaleTargetRef": {"name": "worker"}},
    });
    if let Some(annotations) = annotations {
        object["metadata"]["annotations"] = annotations;
    }
    object
}

#[test]
fn an_annotation_is_a_lever_beside_the_record() {
    const PAUSED: &str = "autoscaling.keda.sh/paused-replicas";
    for (manager, operation) in [("helm", "Update"), ("flux", "Apply")] {
        for annotations in [
            None,
            Some(json!({"team": "a"})),
            Some(json!({PAUSED: "3"})),
            Some(json!({PAUSED: "0"})),
        ] {
            let before = scaled_object(annotations, manager, operation);
            let wants = read(&before).stop_wants();
            let asleep = written(&before, ask(&before, &holder("a"), &wants));
            assert_eq!(
                asleep["metadata"]["annotations"][PAUSED], "0",
                "in the write of the record"
            );
            assert!(asleep["metadata"]["annotations"]["torpor.dev/hold"].is_string());
            assert_eq!(converged(&asleep, &holder("a"), &BTreeMap::new()).0, before, "{manager}");
        }
    }
}

#[test]
fn an_annotation_is_back_before_its_record_goes() {
    // Its change is no new generation, which would tell after a crash whether it is back.
    let before =
        scaled_object(Some(json!({"autoscaling.keda.sh/paused-replicas": "3"})), "helm", "Update");
    let wants = read(&before).stop_wants();
    let asleep = written(&before, ask(&before, &holder("a"), &wants));
    let subject = read(&asleep);
    let remembered = StatusRecord::of(&subject, subject.found.record().unwrap(), &holder("a"));
    let decision = ask_with(&asleep, &holder("a"), &BTreeMap::new(), Some(&remembered));
    let first = written(&asleep, decision);
    assert_eq!(first["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"], "3");
    assert!(read(&first).found.unfinished(), "{first:#}");
    // Whoever else writes the held value after the release keeps it.
    let mut theirs = scaled_object(
        Some(json!({"autoscaling.keda.sh/paused-replicas": "0"})),
        "person",
        "Update",
    );
    theirs["metadata"]["uid"] = json!("u4");
    let decision = ask_with(&theirs, &holder("a"), &BTreeMap::new(), Some(&remembered));
    assert_eq!(decision, Decision::Unchanged);
}

#[test]
fn a_second_lever_is_held_where_it_has_the_value_that_needs_it() {
    let table = "[{kind: Widget, group: example.com, version: v1, plural: widgets, lever: /spec/suspend, value: true, \
        also: {lever: /spec/retention, value: Retain, where: Delete}}]";
    let kind: &'static Kind =
        Box::leak(Box::new(crate::hold::kinds::parse(table).unwrap().remove(0)));
    let wants = |retention: Value| {
        let object = json!({
            "metadata": {"name": "w", "namespace": "n", "uid": "u", "resourceVersion": "1"},
            "spec": {"retention": retention},
        });
        Subject::read(kind, &serde_json::from_value(object).unwrap(), []).unwrap().stop_wants()
    };
    let both = [
        ("/spec/retention".to_owned(), json!("Retain")),
        ("/spec/suspend".to_owned(), json!(true)),
    ];
    assert_eq!(wants(json!("Delete")), both.clone().into());
    assert_eq!(wants(json!("Retain")), both[1..].iter().cloned().collect());
    assert!(kind.has_lever("/spec/retention") && !kind.has_lever("/spec/other"));
}

#[test]
fn only_built_in_workloads_are_restarted() {
    for kind in Kind::workloads() {
        assert_eq!(kind.has_lever(RESTART), kind.entry.is_none(), "{}", kind.name);
    }
}

#[test]
fn a_scaled_object_that_another_annotation_pauses_is_refused() {
    let mut object =
        scaled_object(Some(json!({"autoscaling.keda.sh/paused": "true"})), "helm", "Update");
    object["status"] = json!({"conditions": [{"type": "Paused", "status": "True"}]});
    let wants = read(&object).stop_wants();
    let Decision::Refuse(refusal) = ask(&object, &holder("a"), &wants) else {
        panic!("it is held")
    };
    let message = refusal.to_string();
    assert!(message.ends_with("Name Deployment worker in its place"), "{message}");
    object["status"]["conditions"][0]["status"] = json!("False");
    assert!(matches!(ask(&object, &holder("a"), &wants), Decision::Write(_)));
    // One that its author has paused by the lever itself comes back as it was.
    let replicas = json!({"autoscaling.keda.sh/paused-replicas": "3"});
    let mut object = scaled_object(Some(replicas), "helm", "Update");
    object["status"] = json!({"conditions": [{"type": "Paused", "status": "True"}]});
    assert!(matches!(ask(&object, &holder("a"), &wants), Decision::Write(_)));
}
