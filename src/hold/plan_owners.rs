//! Whose a field is after a wake, and what was let go of before a crash.

use serde_json::json;

use super::*;

#[test]
fn ownership_goes_back_in_the_same_write_where_one_update_had_it() {
    let (after, writes) = settled(&held(&deployment()), &holder("a"), &BTreeMap::new());
    assert_eq!((after, writes), (deployment(), 1), "managedFields included");
}

#[test]
fn ownership_goes_back_in_a_second_write_to_whoever_else_had_it() {
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
        // Nobody: an apply that left it to the default.
        owners(&[entry("argocd", "Apply", "", &other)]),
    ] {
        let (after, writes) = settled(&held(&before), &holder("a"), &BTreeMap::new());
        assert_eq!(writes, 2, "{before:#}");
        assert_eq!(after, before);
    }
}

#[test]
fn between_the_two_writes_the_record_stays_and_whoever_comes_finishes_it() {
    let before = replicas_by(&deployment(), 5, "argocd", "Apply", "");
    let asleep = held(&before);
    let between = written(&asleep, ask(&asleep, &holder("a"), &BTreeMap::new()));
    assert_eq!(between["spec"]["replicas"], 5);
    assert!(read(&between).found.unfinished(), "{between:#}");
    assert_eq!(read(&between).found.record().unwrap().holders().count(), 0, "it is not held");
    assert_eq!(written(&between, hand_back_ownership(&read(&between))), before);
    assert_eq!(woken(&between), before);
    assert_eq!(settled(&between, &holder("b"), &BTreeMap::new()), (before.clone(), 1));
    assert_eq!(hand_back_ownership(&read(&before)), Decision::Unchanged);

    // What was changed since is left alone.
    let changed = patched(&between, &json!({"spec": {"replicas": 7}}), "kubectl-edit");
    let after = written(&changed, hand_back_ownership(&read(&changed)));
    assert_eq!(after["spec"]["replicas"], 7);

    // Held again in between, it comes back all the same: to the newest value.
    let again = settled(&between, &holder("b"), &stop()).0;
    assert_eq!(again["spec"]["replicas"], 0);
    assert_eq!(settled(&again, &holder("b"), &BTreeMap::new()).0, before);
    let again = settled(&changed, &holder("b"), &stop()).0;
    assert_eq!(settled(&again, &holder("b"), &BTreeMap::new()).0["spec"]["replicas"], 7);
}

#[test]
fn what_was_zero_and_was_scaled_meanwhile_is_its_owners_again_too() {
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
fn what_somebody_sets_after_it_was_let_go_is_left_alone() {
    let asleep = held(&deployment());
    let remembered = StatusRecord::of(read(&asleep).found.record().unwrap(), &holder("a"));
    // The status still knows of the hold: the operator was killed, or has not looked since.
    for replicas in [0, 7] {
        let mut free = woken(&asleep);
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
        let asleep = settled(&before, &holder("a"), &wants).0;
        assert_eq!(asleep["spec"]["template"]["spec"]["nodeSelector"]["torpor.dev/held"], "true");
        let after = settled(&asleep, &holder("a"), &BTreeMap::new()).0;
        assert_eq!(after, before);
    }
}
