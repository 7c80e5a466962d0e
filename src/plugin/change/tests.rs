use serde_json::{Value, json};

use super::*;

/// It is Monday, 12:00 in Kyiv.
const NOW: &str = "2026-11-30T10:00:00Z";

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn hibernation(spec: Value) -> Hibernation {
    let object = json!({
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "Hibernation",
        "metadata": {"name": "cornice", "namespace": "shop"},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

fn nights() -> Value {
    json!({"timeZone": "Europe/Kyiv", "rules": [{"hibernate": "0 20 * * 1-5", "wake": "0 7 * * 1-5"}]})
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn decided(spec: Value, state: DesiredState, until: Option<&str>) -> Result<Decision, String> {
    let zone = crate::schedule::time_zone("Europe/Kyiv").unwrap();
    decide(&hibernation(spec), &Desired { state, until: until.map(at) }, at(NOW), &zone)
}

fn patch(spec: Value, state: DesiredState, until: Option<&str>) -> Value {
    match decided(spec, state, until).unwrap() {
        Decision::Patch(patch) => patch["spec"].clone(),
        Decision::Nothing(why) => Value::from(why),
    }
}

use DesiredState::{Awake, Hibernated};

#[test]
fn without_a_schedule_the_state_changes() {
    let awake = json!({"state": "Awake"});
    assert_eq!(patch(awake.clone(), Hibernated, None), json!({"state": "Hibernated"}));
    assert_eq!(patch(awake, Awake, None), json!("spec.state is Awake already"));
    // An override that asks for the other state would win.
    let until = |state: &str, until: &str| json!({"state": state, "until": until});
    let overridden =
        json!({"state": "Awake", "override": until("Hibernated", "2026-11-30T12:00:00Z")});
    assert_eq!(patch(overridden.clone(), Awake, None), json!({"override": null}));
    assert_eq!(patch(overridden, Hibernated, None), json!({"state": "Hibernated"}));
    let both =
        json!({"state": "Hibernated", "override": until("Hibernated", "2026-11-30T12:00:00Z")});
    assert_eq!(patch(both, Awake, None), json!({"state": "Awake", "override": null}));
    // An expired one stays.
    let expired = json!({"state": "Awake", "override": until("Awake", "2026-11-30T10:00:00Z")});
    assert_eq!(patch(expired, Hibernated, None), json!({"state": "Hibernated"}));
}

#[test]
fn for_a_while_an_override_is_set() {
    let end = "2026-11-30T12:00:00Z";
    let awake = json!({"state": "Awake"});
    let override_ = json!({"override": {"state": "Hibernated", "until": end}});
    assert_eq!(patch(awake, Hibernated, Some(end)), override_);
    assert_eq!(patch(json!({"schedule": nights()}), Hibernated, Some(end)), override_);
}

#[test]
fn an_override_that_would_change_nothing_is_refused_with_what_to_write() {
    let asleep = json!({"state": "Hibernated"});
    let error = decided(asleep, Hibernated, Some("2026-11-30T12:00:00Z")).unwrap_err();
    assert!(error.contains("so that it is Hibernated after that time too"), "{error}");
    assert!(error.contains("torpor wake cornice --for DURATION"), "{error}");
    assert!(!error.contains("end its override"), "{error}");
    let overridden = json!({"state": "Hibernated",
        "override": {"state": "Awake", "until": "2026-11-30T20:00:00Z"}});
    let error = decided(overridden, Hibernated, Some("2026-11-30T12:00:00Z")).unwrap_err();
    assert!(error.contains("to end its override now: torpor hibernate cornice;"), "{error}");
}

#[test]
fn with_a_schedule_the_override_ends_when_the_schedule_asks_for_the_same() {
    let scheduled = json!({"schedule": nights()});
    assert_eq!(
        patch(scheduled.clone(), Hibernated, None),
        json!({"override": {"state": "Hibernated", "until": "2026-11-30T18:00:00Z"}})
    );
    assert_eq!(
        patch(scheduled.clone(), Awake, None),
        json!(
            "spec.schedule asks for Awake until Mon 2026-11-30 20:00 EET (in 8 h). To keep that state longer, \
               write --for or --until"
        )
    );
    let mut overridden = scheduled.clone();
    overridden["override"] = json!({"state": "Hibernated", "until": "2026-11-30T12:00:00Z"});
    assert_eq!(patch(overridden.clone(), Awake, None), json!({"override": null}));
    assert_eq!(
        patch(overridden, Hibernated, None),
        json!("spec.override is Hibernated until Mon 2026-11-30 14:00 EET (in 2 h) already")
    );
    let never = json!({"schedule": {"rules": [{"hibernate": "0 8 * * *"}]}});
    let error = decided(never, Awake, None).unwrap_err();
    assert!(error.contains("never changes to Awake by itself: write --for or --until"), "{error}");
}

#[test]
fn an_object_that_cannot_be_changed_is_refused() {
    let mut deleted = hibernation(json!({"state": "Awake"}));
    deleted.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(NOW)));
    let desired = Desired { state: Hibernated, until: None };
    let error = decide(&deleted, &desired, at(NOW), &TimeZone::UTC).unwrap_err();
    assert!(error.contains("is being deleted"), "{error}");
    let error = decided(json!({}), Hibernated, None).unwrap_err();
    assert!(error.contains("the spec of Hibernation cornice is not valid"), "{error}");
}

#[test]
fn a_patched_spec_has_the_change_and_keeps_the_rest() {
    let before =
        hibernation(json!({"state": "Awake", "workloads": [{"kind": "Deployment", "name": "web"}],
        "override": {"state": "Awake", "until": NOW}}));
    let patch = json!({"spec": {"state": "Hibernated", "override": null}});
    let after = patched(&before.spec, &patch).unwrap();
    assert_eq!(after.state, Some(Hibernated));
    assert_eq!(after.override_, None);
    assert_eq!(after.workloads, before.spec.workloads);
}

#[test]
fn those_who_would_undo_the_change_are_named() {
    let mut object = hibernation(json!({"state": "Awake"}));
    let entry = |manager: &str, operation: &str| {
        json!({"manager": manager, "operation": operation, "apiVersion": "torpor.dev/v1alpha1",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:state": {}}}})
    };
    let entries = json!([
        entry("kustomize-controller", "Apply"),
        entry("kubectl", "Apply"),
        entry("kubectl-client-side-apply", "Update"),
        entry("torpor-cli", "Update")
    ]);
    object.metadata.managed_fields = serde_json::from_value(entries).unwrap();
    let desired = Desired { state: Hibernated, until: None };
    let of = |patch: Value| remarks(&object, &json!({"spec": patch}), &desired);
    let said = of(json!({"state": "Hibernated"}));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("kustomize-controller manages spec.state too"), "{said:?}");
    assert!(said[0].contains("--for"), "{said:?}");
    // The override is in nobody's source.
    assert!(of(json!({"override": {}})).is_empty());
}

#[test]
fn a_person_is_told_before_tables_are_emptied() {
    let database = |automatic: bool| {
        hibernation(json!({"state": "Awake", "database": {
            "secretRef": {"name": "db", "key": "URL"},
            "truncate": {"scope": "Runtime", "automatic": automatic},
        }}))
    };
    let says = |automatic, patch: Value, state| {
        remarks(&database(automatic), &json!({"spec": patch}), &Desired { state, until: None })
    };
    let said = says(false, json!({"state": "Hibernated"}), Hibernated);
    assert!(said[0].contains("the Runtime tables of spec.database are emptied"), "{said:?}");
    let said = says(false, json!({"override": {}}), Hibernated);
    assert!(said[0].contains("an override empties no tables"), "{said:?}");
    let said = says(true, json!({"override": {}}), Hibernated);
    assert!(said[0].contains("automatic is true"), "{said:?}");
    assert!(says(true, json!({"state": "Awake"}), Awake).is_empty());
}
