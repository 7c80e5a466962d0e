//! Whatever happens, in whatever order: nothing stops while something binds, and in the end all is
//! as it was.

use proptest::prelude::*;

use super::*;
use crate::transition::test_world::obeyed;

#[derive(Clone, Debug)]
enum Event {
    /// Time passes, and the operator wakes at each of so many seconds.
    Wake(i64),
    /// Time passes, and no operator is there.
    Sleep(i64),
    Offer,
    StrikeForward(i64),
    StrikeSpot,
    Task,
    MarketDown,
    MarketUp,
    /// The operator dies after so many actions of a plan.
    CrashAfter(usize),
    Suspend(bool),
    Start(i64),
    Scale,
    Delete,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (1..40_i64).prop_map(Event::Wake),
        1 => (1..200_i64).prop_map(Event::Sleep),
        2 => Just(Event::Offer),
        2 => (1..120_i64).prop_map(Event::StrikeForward),
        1 => Just(Event::StrikeSpot),
        1 => Just(Event::Task),
        1 => Just(Event::MarketDown),
        1 => Just(Event::MarketUp),
        3 => (0..4_usize).prop_map(Event::CrashAfter),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => (0..300_i64).prop_map(Event::Start),
        1 => Just(Event::Scale),
        1 => Just(Event::Delete),
    ];
    prop::collection::vec(event, 1..25)
}

fn windows() -> impl Strategy<Value = (serde_json::Value, serde_json::Value)> {
    let time = prop_oneof![
        (0..100_i64).prop_map(|start| once(start, "90s")),
        Just(json!({"after": "20s"})),
        Just(json!({"schedule": {"cron": "* * * * *"}, "duration": "40s"})),
    ];
    let deals = (
        prop::sample::select(vec!["Wait", "Postpone", "Refuse"]),
        prop::sample::select(vec!["Close", "Refuse"]),
        prop::sample::select(vec!["Withdraw", "Refuse"]),
    );
    (time, deals).prop_map(|(time, (forward, spot, orders))| {
        (time, json!({"forward": forward, "spot": spot, "orders": orders}))
    })
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Wake(seconds) => {
            for _ in 0..*seconds {
                world.after(1);
            }
        }
        Event::Sleep(seconds) => world.now += SignedDuration::from_secs(*seconds),
        // A worker that is down sells nothing.
        Event::Offer if world.up("worker") => {
            let name = format!("plan-{}", world.market.orders.len() + 10);
            if world.market.live(&name) == 0 {
                world.market.offer(&name);
            }
        }
        Event::StrikeForward(seconds) if world.up("worker") => {
            world.market.strike(Some(world.now + SignedDuration::from_secs(*seconds)));
        }
        Event::StrikeSpot if world.up("worker") => {
            world.market.strike(None);
        }
        Event::Task if world.up("worker") => world.market.tasks.push("task".to_owned()),
        Event::Offer | Event::StrikeForward(_) | Event::StrikeSpot | Event::Task => {}
        Event::MarketDown => world.market.down = true,
        Event::MarketUp => world.market.down = false,
        Event::CrashAfter(actions) => {
            if !world.gone && (world.finalizer || world.deleting_since.is_none()) {
                let plan = world.iterate();
                world.obey(&plan, *actions);
                world.crash();
            }
        }
        Event::Suspend(suspend) => world.change("suspend", json!(suspend)),
        Event::Start(seconds) => {
            if world.json.get("start").is_some() {
                world.change("start", json!(at(*seconds).to_string()));
            }
        }
        Event::Scale => {
            for object in &mut world.objects {
                object["spec"]["replicas"] = json!(3);
                obeyed(object);
            }
        }
        Event::Delete => world.deleting_since = world.deleting_since.or(Some(world.now)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_stops_while_something_binds_and_all_comes_back_once(
        (time, deals) in windows(),
        sold in any::<bool>(),
        events in events(),
    ) {
        let mut world = World::selling(time, deals);
        if sold {
            world.market.strike(None);
        }
        world.run();
        for event in &events {
            happen(&mut world, event);
        }
        // In the end everybody is well, and it is called off.
        world.market.down = false;
        if !world.gone {
            world.change("suspend", json!(true));
            for _ in 0..120 {
                world.after(1);
            }
            prop_assert!(world.gone || world.phase() == Some(Cancelled), "{:?}", world.phase());
        }
        prop_assert!(world.up("worker") && world.up("agent"));
        // A deletion that had its time leaves behind what it takes to bring it back.
        let left = world.condition(STALLED) == Some(("True", "LeftBehind"));
        if !left {
            prop_assert!(world.market.kept.is_empty());
            prop_assert_eq!(&world.market.withdrawn, &Vec::<String>::new());
            for plan in world.market.orders.values() {
                prop_assert_eq!(world.market.live(plan), 1, "{}", plan);
            }
        }
    }
}
