//! One object's failure is that object's.

use jiff::SignedDuration;
use serde_json::json;

use crate::api::hibernation::Phase;
use crate::api::schedule::DesiredState;
use crate::hibernation::test_world::World;
use crate::transition::plan::Action;
use crate::transition::test_world::{deployment, owned_by};

/// Returns a world of two stages, `gate` and `shop`, that is asleep.
fn two_stages() -> World {
    let spec = json!({"state": "Hibernated", "progressDeadline": "30s", "workloads": [
        {"kind": "Deployment", "name": "gate", "stage": 0},
        {"kind": "Deployment", "selector": {"matchLabels": {"tier": "app"}}, "stage": 1},
    ]});
    let mut shop = deployment("shop", 2);
    shop["metadata"]["labels"] = json!({"tier": "app"});
    let mut world = World::new(spec, [deployment("gate", 1), shop]);
    world.run();
    world.after(5);
    world.after(5);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    world
}

#[test]
fn a_write_that_fails_for_ever_keeps_no_other_stage_asleep() {
    let mut world = two_stages();
    world.reject("shop");
    world.ask(DesiredState::Awake);
    world.after(29);
    assert_eq!(world.replicas("gate"), 0, "shop may come back first, as the stages say");
    world.after(2);
    world.after(1);
    assert_eq!(world.replicas("gate"), 1);
    assert_eq!(world.stalled(), Some("NotReady"));
    let message = world.status.message.clone().unwrap();
    assert!(message.contains("no"), "the API server's words: {message}");
    world.memory.failures.clear();
    world.after(1);
    world.after(1);
    assert_eq!(world.replicas("shop"), 2);
    assert_eq!((world.status.phase, world.stalled()), (Some(Phase::Awake), None));
}

#[test]
fn conditions_stay_as_they_are_while_a_failed_write_is_sent_again() {
    let mut world = two_stages();
    world.object("shop")["spec"]["replicas"] = json!(1);
    world.reject("shop");
    world.after(1);
    assert_eq!(world.stalled(), Some("WriteRejected"));
    let conditions = world.status.conditions.clone();
    for failed in world.memory.failures.values_mut() {
        failed.retry_at = world.now;
    }
    world.now += SignedDuration::from_secs(1);
    let plan = world.iterate();
    assert!(plan.actions.iter().any(Action::holds), "it is sent again");
    assert_eq!(world.status.conditions, conditions);
}

#[test]
fn newcomers_are_held_whatever_an_earlier_step_waits_for() {
    let mut world = two_stages();
    // An operator takes the workload of the first stage over, and a deploy brings one of the second.
    let gate = world.object("gate");
    *gate = deployment("gate", 1);
    gate["metadata"]["uid"] = json!("another");
    gate["metadata"]["ownerReferences"] = owned_by("Gateway", "gate");
    let mut mailer = deployment("mailer", 3);
    mailer["metadata"]["labels"] = json!({"tier": "app"});
    world.objects.push(mailer);
    world.after(1);
    assert_eq!(world.stalled(), Some("ControlledBy"));
    assert_eq!((world.replicas("gate"), world.replicas("mailer")), (1, 0));
    world.ask(DesiredState::Awake);
    world.after(1);
    assert_eq!((world.replicas("shop"), world.replicas("mailer")), (2, 3));
}

#[test]
fn a_newcomer_of_a_stage_that_has_not_begun_waits_for_its_turn() {
    let mut world = two_stages();
    world.ask(DesiredState::Awake);
    world.after(1);
    world.after(1);
    world.ask(DesiredState::Hibernated);
    assert_eq!((world.replicas("gate"), world.replicas("shop")), (0, 2), "stage by stage");
    let mut mailer = deployment("mailer", 3);
    mailer["metadata"]["labels"] = json!({"tier": "app"});
    world.objects.push(mailer);
    world.after(1);
    assert_eq!(world.replicas("mailer"), 3, "its stage has not begun");
}
