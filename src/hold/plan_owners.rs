//! The ownership of fields after a wake, and after a crash between the two writes of a release.

use serde_json::json;

use super::*;

#[test]
fn ownership_is_handed_back_in_the_same_write_to_the_only_updater() {
    let (after, writes) = converged(&held(&deployment()), &holder("a"), &BTreeMap::new());
    assert_eq!((after, writes), (deployment(), 1), "managedFields included");
}

#[test]
fn ownership_is_handed_back_in_a_second_write_to_any_other_owner() {
    let owners = |entries: &[Value]| {
        let mut object = deployment();
        object["metadata"]["managedFields"] = json!(entries);
        object
    };
    let (replicas, other) = (json!({"f:replicas": {}}), json!({"f:paused": {}}));
    let both = json!({"f:paused": {}, "f:replicas": {}});
    let flux = entry("flux", "Apply", "", &replicas);
    for before in [
        owners(&[entry("argocd", "Apply", "", &replicas)]),
        owners(&[entry("argocd", "Apply", "", &both), entry("x", "Update", "", &other)]),
        owners(&[entry("argocd", "Apply", "", &both), flux.clone()]),
        owners(&[entry("helm", "Update", "", &both), flux]),
        owners(&[
            entry("helm", "Update", "", &other),
            entry("kubectl", "Update", "scale", &replicas),
        ]),
        // No owner: an apply left the field to its default.
        owners(&[entry("argocd", "Apply", "", &other)]),
    ] {
        let (after, writes) = converged(&held(&before), &holder("a"), &BTreeMap::new());
        assert_eq!(writes, 2, "{before:#}");
        assert_eq!(after, before);
    }
}

#[test]
fn between_the_two_writes_the_record_stays_and_any_holder_finishes_it() {
    let before = replicas_by(&deployment(), 5, "argocd", "Apply", "");
    let asleep = held(&before);
    let between = written(&asleep, ask(&asleep, &holder("a"), &BTreeMap::new()));
    assert_eq!(between["spec"]["replicas"], 5);
    assert!(read(&between).found.unfinished(), "{between:#}");
    assert_eq!(read(&between).found.record().unwrap().holders().count(), 0, "it is not held");
    assert_eq!(written(&between, hand_back_ownership(&read(&between))), before);
    assert_eq!(woken(&between), before);
    assert_eq!(converged(&between, &holder("b"), &BTreeMap::new()), (before.clone(), 1));
    assert_eq!(hand_back_ownership(&read(&before)), Decision::Unchanged);

    // A value that was changed since is left alone.
    let changed = patched(&between, &json!({"spec": {"replicas": 7}}), "kubectl-edit");
    let after = written(&changed, hand_back_ownership(&read(&changed)));
    assert_eq!(after["spec"]["replicas"], 7);

    // Held again between the two writes, the release restores the newest value.
    let again = converged(&between, &holder("b"), &stop()).0;
    assert_eq!(again["spec"]["replicas"], 0);
    assert_eq!(converged(&again, &holder("b"), &BTreeMap::new()).0, before);
    let again = converged(&changed, &holder("b"), &stop()).0;
    assert_eq!(converged(&again, &holder("b"), &BTreeMap::new()).0["spec"]["replicas"], 7);
}

#[test]
fn ownership_of_a_zero_that_was_scaled_is_handed_back_too() {
    let mut before = deployment();
    before["spec"]["replicas"] = json!(0);
    let peeked = replicas_by(&held(&before), 3, "kubectl", "Update", "scale");
    let undone = written(&peeked, ask(&peeked, &holder("a"), &stop()));
    assert!(read(&undone).levers["/spec/replicas"].ours);
    let after = woken(&undone);
    assert!(!read(&after).levers["/spec/replicas"].ours, "{after:#}");
    assert_eq!(after["spec"]["replicas"], 0);
}

#[test]
fn a_value_that_is_set_after_the_release_is_left_alone() {
    let asleep = held(&deployment());
    let remembered =
        StatusRecord::of(&read(&asleep), read(&asleep).found.record().unwrap(), &holder("a"));
    // The status still records the hold: the operator was killed, or has not reconciled since.
    for replicas in [0, 7] {
        let mut free = woken(&asleep);
        // The release changed the spec, and so did the client.
        free["metadata"]["generation"] = json!(3);
        free = patched(&free, &json!({"spec": {"replicas": replicas}}), "kubectl-edit");
        free["spec"]["replicas"] = json!(replicas);
        let decision = ask_with(&free, &holder("a"), &BTreeMap::new(), Some(&remembered));
        assert_eq!(decision, Decision::Unchanged, "{replicas}");
    }
}

#[test]
fn a_node_selector_is_left_as_it_was() {
    let daemon = |selector: Option<Value>, manager: &str, operation: &str| {
        let mut template = json!({"f:containers": {}});
        let mut spec = json!({"containers": []});
        if let Some(selector) = selector {
            template["f:nodeSelector"] = json!({});
            spec["nodeSelector"] = selector;
        }
        json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {
                "name": "agent", "namespace": "cornice", "uid": "u3", "resourceVersion": "1",
                "managedFields": [
                    entry(manager, operation, "", &json!({"f:template": {"f:spec": template}})),
                ],
            },
            "spec": {"template": {"spec": spec}},
        })
    };
    let wants = Kind::workload("DaemonSet").unwrap().stop_wants();
    for before in [
        daemon(Some(json!({"disk": "ssd"})), "flux", "Apply"),
        daemon(Some(json!({"disk": "ssd"})), "helm", "Update"),
    ] {
        let asleep = converged(&before, &holder("a"), &wants).0;
        assert_eq!(asleep["spec"]["template"]["spec"]["nodeSelector"]["torpor.dev/held"], "true");
        let after = converged(&asleep, &holder("a"), &BTreeMap::new()).0;
        assert_eq!(after, before);
    }
}

#[test]
fn a_release_that_admission_undid_before_a_crash_is_made_again() {
    let asleep = held(&deployment());
    let subject = read(&asleep);
    let remembered = StatusRecord::of(&subject, subject.found.record().unwrap(), &holder("a"));
    // The former owner wrote 5, and admission stored 0: only the annotation has changed.
    let mut stored =
        patched(&asleep, &json!({"spec": {"replicas": 5}}), "kubectl-client-side-apply");
    stored["spec"]["replicas"] = json!(0);
    stored["metadata"]["generation"] = json!(2);
    for mark in ["annotations", "labels"] {
        stored["metadata"].as_object_mut().unwrap().remove(mark);
    }
    let decision = ask_with(&stored, &holder("a"), &BTreeMap::new(), Some(&remembered));
    assert_eq!(written(&stored, decision)["spec"]["replicas"], 5);
    // Two more generations: the release was stored, and somebody has written 0 since.
    stored["metadata"]["generation"] = json!(3);
    let decision = ask_with(&stored, &holder("a"), &BTreeMap::new(), Some(&remembered));
    assert_eq!(decision, Decision::Unchanged);
}

#[test]
fn the_record_leaves_with_the_value_only_where_a_status_keeps_it() {
    let asleep = held(&deployment());
    let unrecorded = ask_with(&asleep, &holder("a"), &BTreeMap::new(), None);
    let first = written(&asleep, unrecorded);
    assert_eq!(first["spec"]["replicas"], 5);
    assert!(read(&first).found.unfinished(), "{first:#}");
    assert_eq!(written(&first, hand_back_ownership(&read(&first))), deployment());
    // No value to restore, no write to confirm.
    let mut zero = deployment();
    zero["spec"]["replicas"] = json!(0);
    let asleep = held(&zero);
    let unrecorded = ask_with(&asleep, &holder("a"), &BTreeMap::new(), None);
    assert_eq!(written(&asleep, unrecorded), zero);
}

#[test]
fn a_release_is_finished_only_once_the_value_is_back() {
    let before = replicas_by(&deployment(), 5, "argocd", "Apply", "");
    let asleep = held(&before);
    let mut altered = written(&asleep, ask(&asleep, &holder("a"), &BTreeMap::new()));
    altered["spec"]["replicas"] = json!(0);
    assert_eq!(written(&altered, hand_back_ownership(&read(&altered)))["spec"]["replicas"], 5);
    // Held again, the value of admission is not taken for an original.
    let again = written(&altered, ask(&altered, &holder("b"), &stop()));
    assert_eq!(converged(&again, &holder("b"), &BTreeMap::new()).0, before);
}
