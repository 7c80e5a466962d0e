//! Workloads of a stage come up a few at a time.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::hibernation::Phase;
use crate::api::schedule::DesiredState;
use crate::hibernation::test_world::World;
use crate::schedule::Basis;
use crate::transition::test_world::{deployment, obeyed};

/// A world that wakes in which pods become ready only if a test says so.
struct Slow {
    world: World,
    ready: BTreeSet<String>,
}

impl Slow {
    /// Five workloads, of which two may come up at the same time.
    fn waking(more: &Value) -> Self {
        let mut spec = json!({
            "state": "Hibernated",
            "progressDeadline": "60s",
            "workloads": [{"kind": "Deployment", "all": true}],
            "wake": {"maxConcurrent": 2},
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let all = ["a", "b", "c", "d", "e"].map(|name| deployment(name, 1));
        let mut world = World::new(spec, all);
        world.run();
        // Each of two stages is confirmed.
        world.after(5);
        world.after(5);
        assert_eq!(world.status.phase, Some(Phase::Hibernated));
        world.spec.basis = Basis::State(DesiredState::Awake);
        Self { world, ready: BTreeSet::new() }
    }

    /// Lets time pass. Returns the workloads that are up.
    fn after(&mut self, seconds: i64) -> String {
        self.world.now += jiff::SignedDuration::from_secs(seconds);
        for _ in 0..10 {
            let plan = self.world.iterate();
            self.world.obey(&plan);
            for object in &mut self.world.objects {
                obeyed(object);
                let name = object["metadata"]["name"].as_str().unwrap();
                if object["spec"]["replicas"] == 1 && !self.ready.contains(name) {
                    object["status"]["availableReplicas"] = json!(0);
                }
            }
        }
        let up = self.world.objects.iter().filter(|object| object["spec"]["replicas"] == 1);
        up.filter_map(|object| object["metadata"]["name"].as_str()).collect()
    }

    fn becomes_ready(&mut self, names: &str) {
        self.ready.extend(names.chars().map(String::from));
    }
}

#[test]
fn the_next_workload_comes_up_when_one_is_ready() {
    let mut slow = Slow::waking(&json!({}));
    assert_eq!(slow.after(1), "ab");
    assert_eq!(slow.after(5), "ab");
    let message = slow.world.status.message.clone().unwrap();
    assert!(
        message.contains("3 workloads waiting for a turn (spec.wake.maxConcurrent)"),
        "{message}"
    );
    slow.becomes_ready("b");
    assert_eq!(slow.after(1), "abc");
    slow.becomes_ready("ac");
    assert_eq!(slow.after(1), "abcde");
    assert_ne!(slow.world.status.phase, Some(Phase::Awake));
    slow.becomes_ready("de");
    slow.after(1);
    assert_eq!(slow.world.status.phase, Some(Phase::Awake));
}

#[test]
fn what_does_not_get_ready_keeps_the_others_down_for_the_deadline_at_most() {
    let mut slow = Slow::waking(&json!({}));
    slow.after(1);
    assert_eq!(slow.after(60), "ab");
    assert_eq!(slow.after(2), "abcd");
    // The next batch has the time of a step again.
    assert_eq!(slow.after(50), "abcd");
    slow.becomes_ready("cd");
    assert_eq!(slow.after(5), "abcd", "the ill ones still count");
    assert_eq!(slow.after(10), "abcde");
    slow.becomes_ready("e");
    slow.after(1);
    assert_eq!(slow.world.stalled(), None, "the last batch has its time");
    slow.after(62);
    assert_eq!(slow.world.stalled(), Some("NotReady"));
}

#[test]
fn a_stage_that_comes_up_in_batches_keeps_the_next_stage_down() {
    let names = ["a", "b", "c"].map(|name| json!({"kind": "Deployment", "name": name, "stage": 1}));
    let last = ["d", "e"].map(|name| json!({"kind": "Deployment", "name": name}));
    let all = [&names[..], &last[..]].concat();
    let mut slow = Slow::waking(&json!({"workloads": all}));
    assert_eq!(slow.after(1), "ab");
    slow.becomes_ready("ab");
    assert_eq!(slow.after(1), "abc");
    slow.becomes_ready("c");
    assert_eq!(slow.after(1), "abcde");
}

#[test]
fn a_deletion_waits_for_no_batch() {
    let mut slow = Slow::waking(&json!({}));
    slow.world.deleting_since = Some(slow.world.now);
    assert_eq!(slow.after(1), "abcde");
}
