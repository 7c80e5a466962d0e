//! What scales a workload that is to be stopped: it is named beforehand, and keeps a truncation back.

use serde_json::{Value, json};

use super::kinds_tests::{goes_down, of_table, said, says, scaled_object, spec};
use crate::hibernation::test_world::{World, emptying};
use crate::transition::plan::Next;
use crate::transition::test_world::deployment;
use crate::transition::unavailable::Unavailable;

#[test]
fn nothing_is_truncated_while_what_may_scale_a_workload_cannot_be_listed() {
    for why in ["Failed", "Refused"] {
        let unavailable = match why {
            "Failed" => Unavailable::Failed("conversion webhook failed".to_owned()),
            _ => Unavailable::Refused("conversion webhook failed".to_owned()),
        };
        let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
        world.unavailable = [("ScaledObject", unavailable.clone())].into();
        world.run();
        world.after(6);
        world.after(6);
        assert_eq!(world.replicas("worker"), 0, "only the truncation waits");
        assert_eq!(world.stalled(), Some("KindUnavailable"), "{}", said(&world));
        let words = "nothing is truncated: ScaledObject cannot be listed, and one may scale a held workload up again";
        assert!(world.created.is_empty() && said(&world).contains(words), "{}", said(&world));
        assert!(said(&world).contains("conversion webhook failed"), "{}", said(&world));
        world.unavailable.clear();
        for _ in 0..3 {
            world.after(61);
        }
        assert_eq!(world.created.len(), 1, "{}", said(&world));

        // Without a truncation nobody waits for it.
        let entries = json!([{"kind": "Deployment", "name": "worker"}]);
        let mut world = World::new(spec(entries), [deployment("worker", 2)]);
        world.unavailable = [("ScaledObject", unavailable)].into();
        world.run();
        goes_down(&mut world);
        assert!(!said(&world).contains("cannot be listed"), "{}", said(&world));
    }
}

#[test]
fn a_workload_that_a_scaled_object_scales_is_said_beforehand() {
    let entries = json!([{"kind": "Deployment", "name": "worker"}]);
    let mut awake = spec(entries.clone());
    awake["state"] = json!("Awake");
    let mut world = World::new(awake, [deployment("worker", 2), scaled_object("scaler", "worker")]);
    world.run();
    assert_eq!(world.stalled(), Some("ScaledBy"), "{}", said(&world));
    let words = "name ScaledObject scaler in spec.workloads instead of Deployment worker";
    assert!(said(&world).contains(words), "{}", said(&world));

    // With a truncation it is a rival, who may start a writer.
    let mut world = World::new(
        emptying(json!({})),
        [deployment("worker", 2), scaled_object("scaler", "worker")],
    );
    world.run();
    world.after(6);
    world.after(6);
    assert_eq!(world.replicas("worker"), 0);
    assert!(world.created.is_empty() && said(&world).contains(words), "{}", said(&world));

    // One that is named too, or that is paused, is none.
    let both = json!([
        {"kind": "Deployment", "name": "worker"}, {"kind": "ScaledObject", "name": "scaler"},
    ]);
    let mut paused = scaled_object("scaler", "worker");
    says(&mut paused, "Paused", "True");
    for (entries, scaler) in [(both, scaled_object("scaler", "worker")), (entries, paused)] {
        let mut awake = spec(entries);
        awake["state"] = json!("Awake");
        let mut world = World::new(awake, [deployment("worker", 2), scaler]);
        world.run();
        assert_eq!(world.stalled(), None, "{}", said(&world));
    }
}

#[test]
fn what_scales_nothing_that_is_to_be_stopped_keeps_no_truncation_back() {
    let paused = |mut object: Value| {
        object["metadata"]["annotations"] = json!({"autoscaling.keda.sh/paused-replicas": "0"});
        object
    };
    let deleting = |mut object: Value| {
        object["metadata"]["deletionTimestamp"] = json!("2026-12-01T00:00:00Z");
        object
    };
    let mut unknown = scaled_object("scaler", "x");
    unknown["spec"]["scaleTargetRef"] =
        json!({"apiVersion": "example.com/v1", "kind": "App", "name": "x"});
    for scaler in [
        paused(scaled_object("scaler", "worker")),
        deleting(scaled_object("scaler", "worker")),
        scaled_object("scaler", "other"),
        unknown,
        of_table("ScaledObject", "keda.sh/v1alpha1", "scaler", json!({})),
    ] {
        let objects = [deployment("worker", 2), deployment("other", 1), scaler.clone()];
        let mut world = World::new(emptying(json!({})), objects);
        world.run();
        world.after(6);
        world.after(6);
        assert_eq!(world.created.len(), 1, "{scaler:#} {}", said(&world));
    }
}

#[test]
fn a_kind_that_is_not_served_scales_nothing() {
    let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
    world.unavailable = [("ScaledObject", Unavailable::NotServed)].into();
    world.run();
    world.after(6);
    world.after(6);
    assert_eq!(world.created.len(), 1, "{}", said(&world));
}

#[test]
fn a_kind_that_the_operator_may_not_list_is_listed_again_in_a_minute() {
    let minute = Next::Wait(jiff::SignedDuration::from_mins(1));
    let worker = json!({"kind": "Deployment", "name": "worker"});
    let mut awake = emptying(json!({}));
    awake["state"] = json!("Awake");
    for (spec, again) in [
        (spec(json!([worker, {"kind": "ScaledObject", "name": "scaler"}])), true),
        (awake, true),
        (spec(json!([worker])), false),
    ] {
        let mut world = World::new(spec, [deployment("worker", 2)]);
        world.unavailable = [("ScaledObject", Unavailable::Refused("no".to_owned()))].into();
        world.preflight_report = Some(json!({"outcome": "Planned"}));
        world.run();
        world.after(6);
        let next = world.after(6).next;
        assert_eq!(next == minute, again, "{next:?} {}", said(&world));
    }
}
