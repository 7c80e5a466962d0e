//! Deploys while asleep that the held value does not show.

use super::*;
use crate::hold::deploy::LAST_APPLIED;

/// A Deployment with 4 replicas that a server-side apply owns.
fn applied() -> Value {
    let mut object = deployment();
    object["spec"]["replicas"] = json!(4);
    let fields = json!({"f:replicas": {}, "f:template": {"f:spec": {}}});
    object["metadata"]["managedFields"] = json!([entry("flux", "Apply", "", &fields)]);
    object
}

/// Applies the manifest server-side, with these replicas or without: the entry is what the manifest contains.
fn apply_again(object: &Value, replicas: Option<i32>) -> Value {
    let mut object = object.clone();
    let mut fields = json!({"f:template": {"f:spec": {}}});
    if let Some(replicas) = replicas {
        fields["f:replicas"] = json!({});
        object["spec"]["replicas"] = json!(replicas);
    }
    let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
    entries.retain(|entry| entry["manager"] != "flux");
    entries.push(entry("flux", "Apply", "", &fields));
    object
}

/// Applies the manifest client-side: the annotation is the manifest.
fn client_side(object: &Value, replicas: Option<i32>) -> Value {
    let mut object = object.clone();
    let manifest = json!({"spec": {"replicas": replicas, "image": "b"}}).to_string();
    object["metadata"]["annotations"][LAST_APPLIED] = json!(manifest);
    object
}

fn told(object: &Value) -> Vec<String> {
    match ask(object, &holder("a"), &stop()) {
        Decision::Write(write) => write.foreign.iter().map(ToString::to_string).collect(),
        Decision::Unchanged => Vec::new(),
        Decision::Refuse(refusal) => panic!("{refusal}"),
    }
}

#[test]
fn an_apply_that_leaves_the_field_out_gets_the_default_and_does_not_own_it() {
    let asleep = held(&applied());
    assert_eq!(told(&asleep), Vec::<String>::new());
    let deployed = apply_again(&asleep, None);
    assert_eq!(told(&deployed), ["flux deployed a manifest without replicas. The wake restores 1"]);
    let asleep = converged(&deployed, &holder("a"), &stop()).0;
    assert_eq!(asleep["spec"]["replicas"], 0);
    assert_eq!(told(&asleep), Vec::<String>::new(), "it is told once");
    for object in [asleep, deployed] {
        let after = woken(&object);
        assert_eq!(after["spec"]["replicas"], 1);
        let view = &read(&after).levers["/spec/replicas"];
        assert!(view.owners.is_empty() && !view.ours, "{after:#}");
    }
}

#[test]
fn without_an_apply_since_the_field_goes_back_to_its_owner() {
    let asleep = held(&applied());
    let kubectl = patched(&asleep, &json!({"metadata": {"labels": {"a": "b"}}}), "kubectl-label");
    for object in [asleep, kubectl] {
        let after = woken(&object);
        assert_eq!(after["spec"]["replicas"], 4);
        assert_eq!(read(&after).levers["/spec/replicas"].owners[0].manager, "flux");
        assert!(read(&after).unapplied.is_empty(), "{after:#}");
    }
}

#[test]
fn an_apply_of_exactly_the_held_value_is_a_deploy_of_it() {
    let deployed = apply_again(&held(&applied()), Some(0));
    assert_eq!(told(&deployed), ["flux set replicas to 0 in a rollout. The wake restores 0"]);
    let asleep = converged(&deployed, &holder("a"), &stop()).0;
    for object in [&asleep, &deployed] {
        let after = woken(object);
        assert_eq!(after["spec"]["replicas"], 0);
        assert_eq!(read(&after).levers["/spec/replicas"].owners[0].manager, "flux");
    }
    // And then of none, and of another one.
    assert_eq!(woken(&apply_again(&asleep, None))["spec"]["replicas"], 1);
    assert_eq!(woken(&apply_again(&asleep, Some(7)))["spec"]["replicas"], 7);
}

#[test]
fn a_client_side_apply_of_exactly_the_held_value_is_a_deploy_of_it() {
    let before = client_side(&deployment(), Some(5));
    let asleep = held(&before);
    assert_eq!(woken(&asleep), before);
    let deployed = client_side(&asleep, Some(0));
    assert_eq!(
        told(&deployed),
        ["kubectl-client-side-apply set replicas to 0 in a rollout. The wake restores 0"]
    );
    let again = converged(&deployed, &holder("a"), &stop()).0;
    assert_eq!(told(&again), Vec::<String>::new());
    assert_eq!(woken(&again)["spec"]["replicas"], 0);
    // The manifest of before the hold says 0 too, and somebody has scaled since.
    let scaled = held(&client_side(&deployment(), Some(0)));
    assert_eq!(woken(&scaled)["spec"]["replicas"], 5);
}

#[test]
fn an_apply_of_the_held_value_that_a_gitops_tool_ignores_is_no_deploy_of_it() {
    for manager in ["kustomize-controller", "argocd-controller"] {
        // Server-side.
        let entries = |object: &Value, from: &str, to: &str| {
            serde_json::from_str::<Value>(&object.to_string().replace(from, to)).unwrap()
        };
        let before = entries(&applied(), "\"flux\"", &format!("\"{manager}\""));
        let asleep = held(&before);
        let anonymous = entries(&asleep, &format!("\"{manager}\""), "\"flux\"");
        let deployed =
            entries(&apply_again(&anonymous, Some(0)), "\"flux\"", &format!("\"{manager}\""));
        assert_eq!(told(&deployed), Vec::<String>::new());
        let after = woken(&deployed);
        assert_eq!(after["spec"]["replicas"], 4);
        let view = &read(&after).levers["/spec/replicas"];
        assert_eq!((view.owners[0].manager.as_str(), view.ours), (manager, false));
        // A manifest without the field counts, and so does one with another value.
        let left_out =
            entries(&apply_again(&anonymous, None), "\"flux\"", &format!("\"{manager}\""));
        assert_eq!(woken(&left_out)["spec"]["replicas"], 1);

        // Client-side.
        let asleep = held(&client_side(&deployment(), Some(5)));
        let mut deployed = client_side(&asleep, Some(0));
        let mut author = entry(manager, "Update", "", &json!({}));
        author["fieldsV1"] =
            json!({"f:metadata": {"f:annotations": {format!("f:{LAST_APPLIED}"): {}}}});
        deployed["metadata"]["managedFields"].as_array_mut().unwrap().push(author);
        assert_eq!(told(&deployed), Vec::<String>::new());
        assert_eq!(woken(&deployed)["spec"]["replicas"], 5);
    }
}

#[test]
fn a_key_that_a_client_side_apply_removes_stays_removed() {
    let manifest = |data: Value| json!(json!({"data": data}).to_string());
    let mut before = config_map();
    before["metadata"]["annotations"] =
        json!({LAST_APPLIED: manifest(json!({"HIBERNATE_MODE": "false", "OTHER": "1"}))});
    let wants = key_wants(&[("HIBERNATE_MODE".into(), "true".into())].into());
    let mut asleep = written(&before, ask(&before, &holder("a"), &wants));
    asleep = patched(&asleep, &json!({"data": {"HIBERNATE_MODE": null}}), "kubectl");
    let removed = woken(&asleep);
    assert_eq!(removed["data"]["HIBERNATE_MODE"], "false", "somebody removed it");
    asleep["metadata"]["annotations"][LAST_APPLIED] = manifest(json!({"OTHER": "1"}));
    let reverted = converged(&asleep, &holder("a"), &wants).0;
    assert_eq!(reverted["data"]["HIBERNATE_MODE"], "true");
    for object in [asleep, reverted] {
        assert_eq!(woken(&object)["data"], json!({"OTHER": "1"}));
    }
}

#[test]
fn emptied_managed_fields_are_no_deploy() {
    let mut asleep = held(&applied());
    asleep["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(woken(&asleep)["spec"]["replicas"], 4);
}

#[test]
fn a_list_without_managed_fields_asks_for_the_object() {
    let subject = Subject { managed_fields: Vec::new(), ..read(&applied()) };
    let wants = stop();
    let desired = Desired { holder: &holder("a"), episode: "e", wants: &wants, remembered: None };
    let Decision::Write(write) = decide(&subject, &desired) else { panic!() };
    assert!(write.needs_read);
}
