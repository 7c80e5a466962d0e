//! The client connects to the Service in the object's namespace only.

use serde_json::json;

use crate::support::stub::Reply;
use crate::support::world::{SERVICE, World, bare, commitments, failed, service, tells};

#[tokio::test]
async fn the_server_is_spoken_to_by_the_services_name() {
    let (world, stub) = World::answered(&[Reply::Say(tells(&commitments()))]).await;
    world.observe().await.unwrap();
    let request = &stub.requests()[0];
    let host = format!("market.shop.svc:{}", stub.address.port());
    assert_eq!(request.header("host"), [host.as_str()]);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1/commitments"));
    assert_eq!(world.api.asked()[0], format!("GET {SERVICE}"));
}

#[tokio::test]
async fn a_service_that_moves_is_found_where_it_is() {
    let (world, _first) = World::answered(&[Reply::Say(bare(204))]).await;
    let (_, second) = World::answered(&[Reply::Say(bare(204))]).await;
    world.change().await.unwrap();
    let mut moved = service(second.address);
    moved["spec"]["ports"][0]["port"] = json!(world.source.port);
    moved["spec"]["clusterIP"] = json!("127.0.0.2");
    let listener = std::net::TcpListener::bind(("127.0.0.2", 0)).unwrap();
    drop(listener);
    world.api.put(SERVICE, moved);
    assert_eq!(failed(world.change().await).0, "MarketUnreachable");
    world.api.put(SERVICE, service(second.address));
    let mut there = world;
    there.source.port = second.address.port().into();
    there.change().await.unwrap();
    assert_eq!(second.requests().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_dialled_is_said_and_nobody_is() {
    let (mut world, stub) = World::answered(&[Reply::Say(bare(204))]).await;
    let good = service(stub.address);
    let with = |key: &str, value| {
        let mut changed = good.clone();
        changed["spec"][key] = value;
        changed
    };
    for (changed, says) in [
        (with("type", json!("ExternalName")), "ExternalName"),
        (with("clusterIP", json!("None")), "headless"),
        (with("clusterIP", json!("")), "no ClusterIP yet"),
        (with("ports", json!([{"port": 1}])), "its TCP ports are: 1"),
        (json!({"metadata": {"name": "market"}}), "no ClusterIP yet"),
    ] {
        world.api.put(SERVICE, changed);
        let (reason, text) = failed(world.change().await);
        assert_eq!(reason, "ServiceUnusable", "{text}");
        assert!(text.contains("market") && text.contains(says), "{text}");
    }
    world.api.remove(SERVICE);
    let (reason, text) = failed(world.change().await);
    assert_eq!(
        (reason.as_str(), text.as_str()),
        (
            "ServiceNotFound",
            "Service market does not exist: create it, or correct `spec.deals.source`"
        )
    );

    // A name that leads out of the namespace is invalid.
    let other = "/api/v1/namespaces/shop/services/../../other/services/market";
    world.api.put(other, good.clone());
    world.api.put("/api/v1/namespaces/shop/services", good);
    let before = world.api.asked().len();
    for name in ["../../other/services/market", "", "market?", "Market", "market.other", "7"] {
        world.source.service = name.to_owned();
        assert_eq!(failed(world.observe().await).0, "ServiceNotFound", "{name}");
    }
    assert_eq!(world.api.asked().len(), before);
    assert!(stub.requests().is_empty() && world.api.audiences().is_empty());
}
