use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::*;
use crate::deals::hosted::source;

fn holder() -> Holder {
    "MaintenanceWindow/shop/worker".parse().unwrap()
}

fn account() -> Account {
    Account { namespace: "torpor-system".to_owned(), name: "torpor".to_owned() }
}

fn keys() -> Keys {
    let jwks = r#"{"keys":[{"kid":"$(A)"}]}"#.to_owned();
    Keys { jwks, issuer: "https://issuer".to_owned() }
}

fn sonm() -> Value {
    json!({"sonm": {
        "node": "http://sonm-node:15031",
        "worker": "0x8125721C2413d99a33E351e1F6Bb4e56b6b633FD@10.0.0.7:15010",
        "keySecretRef": {"name": "sonm-key", "key": "master.key"},
    }})
}

fn postgres() -> Value {
    json!({"postgres": {
        "secretRef": {"name": "db", "key": "URL"},
        "caSecretRef": {"name": "tls", "key": "root.pem"},
        "query": "SELECT $$it's$$",
        "announce": "UPDATE a SET b = $1",
        "drain": "UPDATE c SET d = $1",
        "resume": "UPDATE e SET f = $1",
    }})
}

fn read(source: Value) -> DealsSource {
    serde_json::from_value(source).unwrap()
}

fn manifest_of(source: Value) -> Value {
    let source = read(source);
    let market = Market::of(&source).unwrap();
    deployment(&holder(), market, &account(), "image", &keys())
}

fn pod_of(source: Value) -> PodSpec {
    let deployment: Deployment = serde_json::from_value(manifest_of(source)).unwrap();
    deployment.spec.unwrap().template.spec.unwrap()
}

fn variable<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    let variable = container.env.iter().flatten().find(|variable| variable.name == name)?;
    variable.value.as_deref()
}

#[test]
fn a_bridge_may_do_nothing_but_serve() {
    for source in [sonm(), postgres()] {
        let pod = pod_of(source);
        assert_eq!(pod.automount_service_account_token, Some(false));
        assert_eq!(pod.enable_service_links, Some(false));
        assert_eq!(pod.termination_grace_period_seconds, Some(30));
        let context = pod.security_context.unwrap();
        assert_eq!((context.run_as_non_root, context.run_as_user), (Some(true), Some(65532)));
        assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
        let [container] = pod.containers.try_into().unwrap();
        assert_eq!(container.image.as_deref(), Some("image"));
        let context = container.security_context.unwrap();
        assert_eq!(context.allow_privilege_escalation, Some(false));
        assert_eq!(context.read_only_root_filesystem, Some(true));
        assert_eq!(context.capabilities.unwrap().drop.unwrap(), ["ALL"]);
        assert!(container.resources.unwrap().limits.unwrap().contains_key("memory"));
        assert!(container.liveness_probe.is_some() && container.readiness_probe.is_some());
        assert!(container.volume_mounts.unwrap().iter().all(|mount| mount.read_only == Some(true)));
    }
}

#[test]
fn keys_come_by_reference_and_never_as_a_value() {
    let pod = pod_of(sonm());
    let secret = pod.volumes.unwrap().into_iter().find_map(|volume| volume.secret).unwrap();
    assert_eq!(secret.secret_name.as_deref(), Some("sonm-key"));
    let [item] = secret.items.unwrap().try_into().unwrap();
    assert_eq!((item.key.as_str(), item.mode), ("master.key", Some(0o400)));
    let container = &pod.containers[0];
    let mounted = container.volume_mounts.iter().flatten().find(|mount| mount.name == "secret");
    let file = format!("{}/{}", mounted.unwrap().mount_path, item.path);
    assert_eq!(variable(container, "TORPOR_BRIDGE_SONM_KEY_FILE"), Some(file.as_str()));

    let pod = pod_of(postgres());
    let container = &pod.containers[0];
    let url = container.env.iter().flatten().find(|variable| variable.name == URL_VARIABLE);
    let url = url.unwrap();
    assert!(url.value.is_none());
    let reference = url.value_from.as_ref().unwrap().secret_key_ref.as_ref().unwrap();
    assert_eq!((reference.name.as_str(), reference.key.as_str()), ("db", "URL"));
    let file = format!("{SECRETS_DIRECTORY}/tls/root.pem");
    assert_eq!(variable(container, CA_VARIABLE), Some(file.as_str()));

    // Without either there is nothing to mount.
    let insecure = json!({"sonm": {
        "node": "http://n", "worker": format!("0x{}", "1".repeat(40)), "insecureNode": true,
    }});
    let pod = pod_of(insecure);
    assert!(pod.volumes.unwrap().iter().all(|volume| volume.secret.is_none()));
    let container = &pod.containers[0];
    assert_eq!(variable(container, "TORPOR_BRIDGE_SONM_INSECURE_NODE"), Some("true"));
    assert_eq!(variable(container, "TORPOR_BRIDGE_SONM_KEY_FILE"), None);
}

/// What Kubernetes makes of a value (docs: "Define Dependent Environment Variables").
fn expanded(value: &str) -> String {
    assert!(!value.replace("$$", "").contains("$("), "it would name a variable: {value}");
    value.replace("$$", "$")
}

#[test]
fn sql_reaches_the_bridge_as_it_was_written() {
    let statements = ["SELECT $$it's$$", "SELECT '$(DATABASE_URL)'", "SELECT $1, '$$(A)'"];
    for sql in statements {
        let mut source = postgres();
        source["postgres"]["query"] = json!(sql);
        let pod = pod_of(source);
        let value = variable(&pod.containers[0], "TORPOR_BRIDGE_POSTGRES_QUERY").unwrap();
        assert_eq!(expanded(value), sql);
    }
}

#[test]
fn the_digest_changes_with_every_setting_and_with_nothing_else() {
    for before in [sonm(), postgres()] {
        let digest_of = |settings: &Value| source(&holder(), &read(settings.clone())).bridge;
        assert_eq!(digest_of(&before), digest_of(&before.clone()));
        let (market, settings) = before.as_object().unwrap().iter().next().unwrap();
        let mut seen = vec![digest_of(&before)];
        for (setting, value) in settings.as_object().unwrap() {
            for part in value.as_object().map_or(vec![""], |_| vec!["name", "key"]) {
                let mut after = before.clone();
                let changed = after.pointer_mut(&format!("/{market}/{setting}")).unwrap();
                let changed = if part.is_empty() { changed } else { &mut changed[part] };
                *changed = json!(format!("{}1", changed.as_str().unwrap()));
                let digest = digest_of(&after);
                assert!(!seen.contains(&digest), "{setting} {part}");
                seen.push(digest.clone());
                let template = manifest_of(after)["spec"]["template"].clone();
                let annotation = &template["metadata"]["annotations"][SETTINGS];
                assert_eq!(annotation.as_str(), digest.as_deref());
            }
        }
    }
}

#[test]
fn a_bridge_answers_the_operator_alone_and_only_for_its_object() {
    let pod = pod_of(sonm());
    let container = &pod.containers[0];
    for (name, value) in [
        ("TORPOR_BRIDGE_AUDIENCE", "deals.torpor.dev/shop/MaintenanceWindow/worker"),
        ("TORPOR_BRIDGE_ISSUER", "https://issuer"),
        ("TORPOR_BRIDGE_SUBJECT", "system:serviceaccount:torpor-system:torpor"),
    ] {
        assert_eq!(variable(container, name), Some(value));
    }
    let set = variable(container, "TORPOR_BRIDGE_JWKS").unwrap();
    assert_eq!(set, r#"{"keys":[{"kid":"$$(A)"}]}"#, "Kubernetes would expand $(A)");
    assert!(!container.args.iter().flatten().any(|argument| argument.contains("insecure")));
    // Whoever may patch ConfigMaps decides nothing of who is answered.
    let config = config(&holder(), Epoch(7));
    assert_eq!(config["data"], json!({"epoch": "7"}));
    let data = |epoch: &str| BTreeMap::from([("epoch".to_owned(), epoch.to_owned())]);
    assert_eq!((epoch(&data("7\n")), epoch(&data("many"))), (Some(Epoch(7)), None));

    let policy: NetworkPolicy =
        serde_json::from_value(network_policy(&holder(), &account())).unwrap();
    let spec = policy.spec.unwrap();
    let labels = spec.pod_selector.unwrap().match_labels.unwrap();
    let template = manifest_of(sonm())["spec"]["template"]["metadata"]["labels"].clone();
    assert!(labels.iter().all(|(key, value)| template[key] == json!(value)), "{labels:?}");
    let [rule] = spec.ingress.unwrap().try_into().unwrap();
    let [peer] = rule.from.unwrap().try_into().unwrap();
    let namespace = peer.namespace_selector.unwrap().match_labels.unwrap();
    assert_eq!(namespace["kubernetes.io/metadata.name"], "torpor-system");
    // As the chart labels the operator's pods.
    assert_eq!(peer.pod_selector.unwrap().match_labels.unwrap()[APP], "torpor");
    assert_eq!(rule.ports.unwrap().len(), 1);
    // Any pod may carry the labels: a rule for egress would be a way out for all of them.
    assert_eq!((spec.policy_types.unwrap(), spec.egress), (vec!["Ingress".to_owned()], None));
}

#[test]
fn names_and_labels_fit_for_the_longest_name() {
    let longest = "x".repeat(45);
    for (kind, prefix) in [("MaintenanceWindow", "torpor-mw-"), ("Hibernation", "torpor-hib-")] {
        let holder: Holder = format!("{kind}/shop/{longest}").parse().unwrap();
        let source = source(&holder, &read(sonm()));
        assert_eq!(source.service, format!("{prefix}{longest}"));
        assert_eq!(source.port, PORT);
        assert!(source.service.len() <= 63 && bridge_of(&holder).len() <= 63);
    }
}

#[test]
fn nothing_is_made_where_somebody_else_serves_the_api() {
    let given = json!({"service": {
        "name": "market", "port": 443, "caConfigMapRef": {"name": "ca", "key": "root.pem"},
    }});
    let given = read(given);
    assert!(Market::of(&given).is_none());
    let source = source(&holder(), &given);
    assert_eq!((source.service.as_str(), source.port, &source.bridge), ("market", 443, &None));
    assert_eq!(source.ca_config_map_ref.unwrap().key, "root.pem");
}

#[test]
fn what_is_there_is_compared_as_an_apply_would_leave_it() {
    let wanted = json!({"a": 1, "list": [{"b": 2}], "named": [{"name": "x", "c": 3}], "selector": {"d": "4"}});
    let mut there = wanted.clone();
    // Filled in, and added by others.
    there["status"] = json!({});
    there["list"][0]["default"] = json!(true);
    there["named"] = json!([{"name": "mesh"}, {"name": "x", "c": 3, "more": 1}]);
    assert!(is_so(&wanted, &there));
    for (pointer, value) in [
        ("/a", json!(2)),
        ("/list/0/b", json!("2")),
        ("/list", json!([{"b": 2}, {"b": 2}])),
        ("/list", json!([])),
        ("/named", json!([{"name": "mesh"}])),
        ("/named/1/c", json!(4)),
        ("/selector", json!({"d": "4", "e": "5"})),
    ] {
        let mut differs = there.clone();
        *differs.pointer_mut(pointer).unwrap() = value;
        assert!(!is_so(&wanted, &differs), "{pointer}");
    }
    // What was written once and is not wanted any more is seen by the manifest's digest.
    let made = |data: Value| object(&holder(), ("v1", "ConfigMap"), "n", json!({"data": data}));
    assert!(!is_so(&made(json!({"a": "1"})), &made(json!({"a": "1", "b": "2"}))));
}

/// A transition never holds an object with this label.
#[test]
fn a_bridge_and_its_config_map_are_labelled_as_torpors_own() {
    for object in [manifest_of(sonm()), config(&holder(), Epoch(1))] {
        assert_eq!(object["metadata"]["labels"][MANAGED_BY], TORPOR, "{object}");
    }
}
