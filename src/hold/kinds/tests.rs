use serde_json::json;

use super::*;

#[test]
fn the_presets_are_valid() {
    let kinds = parse(PRESETS).unwrap();
    let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    let all = ["ScaledObject", "ScaledJob", "Rollout", "Kustomization", "HelmRelease", "Cluster"];
    assert_eq!(names, all);
}

#[test]
fn an_empty_table_has_no_kinds() {
    assert_eq!(parse("").unwrap(), []);
    assert_eq!(parse("[]").unwrap(), []);
}

/// Returns what is wrong with an entry that differs from a valid one by these fields.
fn wrong(changes: &Value) -> String {
    let mut entry = json!({
        "kind": "Widget", "group": "example.com", "version": "v1", "plural": "widgets",
        "lever": "/spec/suspend", "value": true,
    });
    for (field, value) in changes.as_object().unwrap() {
        entry[field] = value.clone();
    }
    parse(&json!([entry]).to_string()).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn each_bad_entry_says_what_to_write_instead() {
    assert_eq!(wrong(&json!({})), "");
    for (changes, words) in [
        (json!({"kind": "widget"}), "write it as in a manifest"),
        (json!({"kind": "Deployment"}), "kind Deployment is built in"),
        (json!({"kind": "ConfigMap"}), "kind ConfigMap is built in"),
        (json!({"kind": "Hibernation"}), "kind Hibernation is built in"),
        (json!({"group": ""}), "write the API group of another project"),
        (json!({"group": "torpor.dev"}), "write the API group of another project"),
        (json!({"version": "1"}), "write a version that the cluster serves"),
        (json!({"plural": "Widgets"}), "write it as `kubectl api-resources` does"),
        (json!({"lever": "spec.suspend"}), "write for example /spec/suspend"),
        (json!({"lever": "/status/phase"}), "Torpor writes fields of the spec and annotations"),
        (
            json!({"lever": "/metadata/labels/a"}),
            "Torpor writes fields of the spec and annotations",
        ),
        (json!({"lever": "/spec//suspend"}), "an empty name"),
        (json!({"lever": "/spec/a~2b"}), "a ~ that is neither ~0 nor ~1"),
        (json!({"lever": "/spec/jobs/0/suspend"}), "an element of a list"),
        (json!({"lever": "/metadata/annotations/a/b"}), "write a / in it as ~1"),
        (
            json!({"lever": "/metadata/annotations/torpor.dev~1hold", "value": "x"}),
            "belongs to Torpor",
        ),
        (json!({"lever": "/metadata/annotations/a~1b"}), "an annotation is a text"),
        (json!({"value": null}), "it is null"),
        (json!({"value": {"a": 1}}), "name a field in it"),
        (json!({"value": "x".repeat(300)}), "longer than 256 bytes"),
        (json!({"targetRef": "scaleTargetRef"}), "for example /spec/scaleTargetRef"),
        (json!({"down": [{}]}), "down[0]: a check has either `condition`"),
        (json!({"ready": [{"field": "/a", "value": 1, "equals": "/b"}]}), "ready[0]: a check has"),
        (json!({"ready": [{"condition": "A", "value": 1}]}), "ready[0]: a check has"),
        (
            json!({"ready": [{"field": "/a", "value": 1, "status": "True"}]}),
            "ready[0]: a check has",
        ),
        (json!({"ready": [{"field": "status", "value": 1}]}), "\"status\" is no JSON pointer"),
        (json!({"ready": [{"condition": "A", "unless": "b"}]}), "\"b\" is no JSON pointer"),
        (json!({"also": {"lever": "/status/x", "value": 1}}), "also.lever \"/status/x\""),
        (json!({"also": {"lever": "/spec/suspend", "value": 1}}), "is the lever itself"),
        (json!({"also": {"lever": "/spec/x", "value": null}}), "also.value: it is null"),
        (
            json!({"also": {"lever": "/spec/x", "value": 1, "where": {}}}),
            "also.where: it is an object",
        ),
        (json!({"levers": []}), "unknown field `levers`"),
    ] {
        let error = wrong(&changes);
        assert!(error.starts_with("entry 1 (") && error.contains(words), "{changes}: {error}");
    }
    let entry = |n: usize| {
        format!(
            "- {{kind: Widget{n}, group: example.com, version: v1, plural: widgets, lever: /spec/x, value: 0}}\n"
        )
    };
    let table = |entries: usize| (0..entries).map(entry).collect::<String>();
    assert_eq!(parse(&table(64)).unwrap().len(), 64);
    let many = parse(&table(65)).unwrap_err().to_string();
    assert!(many.contains("it has 65 entries: remove some, 64 are permitted"), "{many}");
    let missing = parse("[{kind: Widget, group: example.com}]").unwrap_err().to_string();
    assert!(missing.contains("entry 1 (Widget): missing field"), "{missing}");
    let text = parse("kind: Widget").unwrap_err().to_string();
    assert!(text.contains("not a YAML list"), "{text}");
}

#[test]
fn every_bad_entry_is_named_at_once() {
    let table = "\
- {kind: Deployment, group: apps, version: v1, plural: deployments, lever: /spec/replicas, value: 0}
- {kind: Widget, group: example.com, version: v1, plural: widgets, lever: /status/x, value: 0}
- {kind: Gadget, group: example.com, version: v1, plural: gadgets, lever: /spec/x, value: 0}
- {kind: Gadget, group: example.com, version: v1, plural: gadgets, lever: /spec/x, value: 0}
- 5";
    let Invalid(lines) = parse(table).unwrap_err();
    let begin = |line: &String| line.split(')').next().map(|begin| format!("{begin})"));
    let entries: Vec<_> = lines.iter().filter_map(begin).collect();
    assert_eq!(
        entries,
        [
            "entry 1 (Deployment)",
            "entry 1 (Deployment)",
            "entry 2 (Widget)",
            "entry 4 (Gadget)",
            "entry 5 (no kind)"
        ]
    );
}

#[test]
fn a_check_says_how_an_object_fails_it() {
    let unmet = |check: Value, object: Value| {
        let object = serde_json::from_value(object).unwrap();
        serde_json::from_value::<Check>(check).unwrap().unmet(&object)
    };
    let paused = |status: &str| json!({"status": {"conditions": [{"type": "Paused", "status": status, "message": "m"}]}});
    let condition = json!({"condition": "Paused"});
    assert_eq!(unmet(condition.clone(), paused("True")), None);
    assert_eq!(
        unmet(condition.clone(), paused("False")).unwrap(),
        "its condition Paused is not True (m)"
    );
    assert_eq!(unmet(condition, json!({})).unwrap(), "its condition Paused is not True");
    let off = json!({"condition": "Paused", "status": "False"});
    assert_eq!(unmet(off.clone(), paused("False")), None);
    assert_eq!(unmet(off, paused("True")).unwrap(), "its condition Paused is not False (m)");
    let not = json!({"condition": "Paused", "not": true});
    assert_eq!(unmet(not.clone(), paused("True")).unwrap(), "its condition Paused is True");
    assert_eq!(unmet(not, json!({})), None);
    let instances = json!({"field": "/status/ready", "equals": "/spec/instances"});
    let object = |ready: Value| json!({"spec": {"instances": 3}, "status": {"ready": ready}});
    assert_eq!(unmet(instances.clone(), object(json!(3))), None);
    assert_eq!(
        unmet(instances.clone(), object(json!(1))).unwrap(),
        "its status.ready is 1 where 3 is expected"
    );
    // Two absent fields are not equal.
    assert!(unmet(instances, json!({})).is_some());
    let unless = json!({"condition": "Paused", "not": true, "unless": "/metadata/annotations/example.com~1pause"});
    let mut object = paused("True");
    assert!(unmet(unless.clone(), object.clone()).is_some());
    object["metadata"] = json!({"annotations": {"example.com/pause": "2"}});
    assert_eq!(unmet(unless, object), None);
    let phase = json!({"field": "/status/phase", "value": "Failed", "not": true});
    assert_eq!(
        unmet(phase, json!({"status": {"phase": "Failed"}})).unwrap(),
        "its status.phase is \"Failed\""
    );
}
