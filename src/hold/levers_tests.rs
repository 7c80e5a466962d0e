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
