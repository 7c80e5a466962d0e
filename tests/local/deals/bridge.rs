//! The client with a real `torpor bridge`. The test signs the tokens; the market is the stand-in of
//! a SONM Node.

use serde_json::json;
use torpor::lease::Epoch;

use crate::support::bridge::{Bridge, command};
use crate::support::folder::Folder;
use crate::support::sonm_node::{Market, Node, plan};
use crate::support::token::{AUDIENCE, ISSUER, Key, SUBJECT, claims, set, with};
use crate::support::wait::poll;
use crate::support::world::{World, failed, holder};

async fn guarded(node: &Node, folder: &Folder, keys: &[&Key]) -> (Bridge, World) {
    folder.write("jwks.json", &set(keys));
    let mut command = command(&node.bridge());
    command
        .args(["--listen", "127.0.0.1:0", "--audience", AUDIENCE, "--issuer", ISSUER])
        .args(["--subject", SUBJECT, "--config-dir"])
        .arg(folder.path());
    let bridge = Bridge::start(command, None).await;
    let world = World::at(bridge.address);
    (bridge, world)
}

#[tokio::test]
async fn what_was_withdrawn_is_offered_again() {
    let node = Node::start(&Market::of(vec![plan("a", 7), plan("b", 9)])).await;
    let folder = Folder::new("client");
    let key = Key::rsa();
    let (_bridge, world) = guarded(&node, &folder, &[key]).await;
    world.api.gives(|_, audience| Ok(key.sign(&key.header(), &with("aud", json!([audience])))));
    let server = world.server();
    node.sync().await;

    let before = world.observe().await.unwrap().commitments.orders.into_vec();
    assert_eq!(before.len(), 2);
    let at = "2030-12-01T02:00:00Z".parse().unwrap();
    world.client.announce(&server, Epoch(5), Some(at)).await.unwrap();
    assert_eq!(world.observe().await.unwrap().commitments.next_maintenance, Some(at));

    let ids: Vec<&str> = before.iter().map(|order| order.id.as_str()).collect();
    world.drain(&json!({"orders": ids, "deals": [], "tasks": []})).await.unwrap();
    poll("the orders are withdrawn", async || {
        let commitments = world.observe().await.unwrap().commitments;
        commitments.orders.as_slice().is_empty().then_some(())
    })
    .await;

    let stale = world.client.announce(&server, Epoch(6), None).await.unwrap_err();
    assert!(stale.stale_epoch(), "{stale}");
    world.client.resume(&server, Epoch(7), before.clone()).await.unwrap();
    world.client.announce(&server, Epoch(7), None).await.unwrap();
    node.sync().await;
    let after = world.observe().await.unwrap().commitments.orders;
    assert_eq!(after.as_slice().len(), 2);
    assert_eq!(world.api.audiences(), [AUDIENCE]);
    node.kept_its_promises().await;
}

#[tokio::test]
async fn a_bridge_that_does_not_let_the_client_in_is_understood() {
    let node = Node::start(&Market::default()).await;
    let folder = Folder::new("client-refused");
    let (key, other) = (Key::rsa(), Key::new_ec());
    let (bridge, mut world) = guarded(&node, &folder, &[key]).await;
    world.api.gives(move |number, _| {
        let past = claims()["iat"].as_i64().unwrap() - 60;
        let over = with("exp", json!(past));
        Ok(key.sign(&key.header(), &if number == 1 { over } else { claims() }))
    });
    let (reason, text) = failed(world.observe().await);
    assert_eq!(reason, "Unauthenticated", "{text}");
    assert!(text.contains("the token has expired"), "{text}");
    // The client kept the token. It is refused once more and replaced.
    world.observe().await.unwrap();
    assert_eq!(world.api.audiences().len(), 2);

    // This token is always for the bridge of the first object.
    let others = with("aud", json!(["deals.torpor.dev/shop/MaintenanceWindow/other"]));
    let others = key.sign(&key.header(), &others);
    world.api.gives(move |_, _| Ok(others.clone()));
    world.holder = holder("other");
    let (reason, text) = failed(world.observe().await);
    assert_eq!(reason, "Unauthenticated", "{text}");
    assert!(text.contains("another audience"), "{text}");

    // The cluster has rotated its key, which the bridge does not know yet.
    let rotated = World::at(bridge.address);
    let token = other.token();
    rotated.api.gives(move |_, _| Ok(token.clone()));
    let error = rotated.observe().await.unwrap_err();
    assert!(error.unknown_key(), "{error}");
    folder.write("jwks.json", &set(&[key, &other]));
    poll("the bridge reads the new key", async || rotated.observe().await.ok()).await;
    world.holder = holder("worker");
    world.observe().await.unwrap();
}
