//! Torpor's own objects have no role.

use serde_json::{Value, json};

use crate::api::hold_state::{DatabaseState, HoldState};
use crate::hold::lever::Kind;
use crate::hold::subject::Subject;
use crate::transition::observe::Observed;
use crate::transition::plan::{Action, HoldInput, Place, PlanState};
use crate::transition::spec::{Fields, Spec};
use crate::transition::{Begin, down};

/// Returns the objects that a spec would hold.
fn held(workloads: Value, config_maps: Value, objects: &[Value]) -> Vec<String> {
    let mut observed = Observed::default();
    for object in objects {
        let kind = Kind::any(object["kind"].as_str().unwrap()).unwrap();
        let object = serde_json::from_value(object.clone()).unwrap();
        let pointers = ["/data/epoch".to_owned()];
        let subject = Subject::read(kind, &object, &pointers).unwrap();
        match kind.name {
            "ConfigMap" => observed.config_maps.push(subject.into()),
            _ => observed.workloads.push(subject.into()),
        }
    }
    let spec = Spec::validate(&Fields {
        workloads: &serde_json::from_value::<Vec<_>>(workloads).unwrap(),
        config_maps: &serde_json::from_value::<Vec<_>>(config_maps).unwrap(),
        database: None,
        deals: None,
        max_concurrent: None,
        progress_deadline: "10m",
    });
    let input = HoldInput {
        holder: &"Hibernation/shop/all".parse().unwrap(),
        deleting: false,
        overdue: false,
        finalizer: true,
        spec: &spec.unwrap(),
        state: &HoldState::default(),
        database: &DatabaseState::default(),
        place: Place::Up,
        due: None,
        observed: &observed,
        memory: &PlanState::default(),
        now: jiff::Timestamp::UNIX_EPOCH,
        fresh_id: "e",
    };
    let begin = Begin { cause: String::new(), truncates: false, by_person: true };
    let actions = down(input, &begin).actions.into_iter();
    actions
        .filter_map(|action| match action {
            Action::Hold { subject, .. } => Some(subject.display()),
            _ => None,
        })
        .collect()
}

fn object(api_version: &str, kind: &str, own: bool) -> Value {
    let mut labels = json!({"torpor.dev/bridge-of": "maintenancewindow.worker"});
    if own {
        labels["app.kubernetes.io/managed-by"] = json!("torpor");
    }
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": "bridge", "namespace": "shop", "uid": format!("uid-of-{kind}"),
            "resourceVersion": "1", "labels": labels,
        },
        "spec": {"replicas": 1},
        "data": {"epoch": "1"},
    })
}

#[test]
fn a_bridge_and_its_config_map_are_never_held() {
    let labels = json!({"matchLabels": {"torpor.dev/bridge-of": "maintenancewindow.worker"}});
    for (workloads, config_maps) in [
        (json!([{"kind": "Deployment", "all": true}]), json!([])),
        (json!([{"kind": "Deployment", "name": "bridge"}]), json!([])),
        (json!([]), json!([{"selector": labels, "set": {"epoch": "0"}}])),
        (json!([]), json!([{"name": "bridge", "set": {"epoch": "0"}}])),
    ] {
        let held = |own| {
            let objects = [object("apps/v1", "Deployment", own), object("v1", "ConfigMap", own)];
            held(workloads.clone(), config_maps.clone(), &objects)
        };
        assert_eq!(held(true), Vec::<String>::new());
        assert_eq!(held(false).len(), 1, "somebody else's is held: {workloads} {config_maps}");
    }
}
