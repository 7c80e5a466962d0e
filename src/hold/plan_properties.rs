//! Holds, releases and foreign writes in any order.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Hold(usize),
    Release(usize),
    Scale(i32),
    Deploy(i32),
    RemoveAnnotation,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0..3_usize).prop_map(Event::Hold),
        (0..3_usize).prop_map(Event::Release),
        (0..9).prop_map(Event::Scale),
        (1..9).prop_map(Event::Deploy),
        Just(Event::RemoveAnnotation),
    ];
    prop::collection::vec(event, 1..30)
}

/// Returns the object after a rollout of `replicas`, or after a scale that follows a rollout.
fn written_by(
    object: &Value,
    replicas: i32,
    (manager, operation): (&str, &str),
    scaled: bool,
) -> Value {
    let mut object = object.clone();
    object["spec"]["replicas"] = json!(replicas);
    let scale = entry("kubectl", "Update", "scale", &json!({"f:replicas": {}}));
    let entries = if scaled {
        // The entry of the deployer stays, without the field.
        let mut entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
        for entry in &mut entries {
            fields::remove(&mut entry["fieldsV1"], &fields::path("/spec/replicas"));
        }
        entries.retain(|entry| entry["fieldsV1"] != json!({}));
        entries.push(scale);
        entries
    } else {
        let fields = json!({"f:template": {"f:spec": {}}, "f:replicas": {}});
        vec![entry(manager, operation, "", &fields)]
    };
    object["metadata"]["managedFields"] = json!(entries);
    object
}

proptest! {
    /// The wake restores the value of the last rollout, never a held value and never the value of a scale while
    /// asleep, and Torpor does not own the field afterwards.
    #[test]
    fn the_wake_restores_the_last_rollout(events in events(), applied: bool) {
        let names = ["a", "b", "c"];
        let deployer = if applied {
            ("argocd", "Apply")
        } else {
            ("kubectl-client-side-apply", "Update")
        };
        let mut object = written_by(&deployment(), 5, deployer, false);
        let mut deployed = 5;
        let mut remembered: [Option<StatusRecord>; 3] = [None, None, None];
        let mut holding = [false; 3];
        // Each holder reconciles after every event, as with a watch.
        for event in events {
            match event {
                Event::Hold(index) => holding[index] = true,
                Event::Release(index) => holding[index] = false,
                Event::Scale(replicas) => {
                    if !holding.contains(&true) {
                        deployed = replicas;
                    }
                    if object["spec"]["replicas"] != replicas {
                        object = written_by(&object, replicas, deployer, true);
                    }
                }
                Event::Deploy(replicas) => {
                    deployed = replicas;
                    object = written_by(&object, replicas, deployer, false);
                }
                Event::RemoveAnnotation => {
                    object["metadata"].as_object_mut().unwrap().remove("annotations");
                }
            }
            for (index, name) in names.iter().enumerate() {
                let wants = if holding[index] { stop() } else { BTreeMap::new() };
                let holder = holder(name);
                for _ in 0..3 {
                    let known = remembered[index].as_ref();
                    let Decision::Write(write) = ask_with(&object, &holder, &wants, known) else {
                        break;
                    };
                    object = patched(&object, &write.patch, &write.manager);
                }
                remembered[index] = read(&object)
                    .found
                    .record()
                    .filter(|record| record.held_by(&holder))
                    .map(|record| StatusRecord::of(&read(&object), record, &holder));
            }
            let expected = if holding.contains(&true) { 0 } else { deployed };
            prop_assert_eq!(&object["spec"]["replicas"], &json!(expected));
            let read = read(&object);
            if !holding.contains(&true) {
                prop_assert_eq!(&read.found, &Found::Nothing);
                prop_assert!(!read.levers["/spec/replicas"].ours, "{:#}", object);
            }
        }
    }
}
