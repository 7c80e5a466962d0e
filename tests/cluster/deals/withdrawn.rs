//! Withdrawn orders are stored beside their object until they are offered again.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use torpor::apiserver::request;
use torpor::deals::payloads::{Error, Kept, Payloads};
use torpor::deals::types::{Id, LONGEST_RESTORE, Order, Restore};

use crate::support::{hosting::Scene, workload};

const NAME: &str = "torpor-maintenancewindow-worker-withdrawn";

fn order(id: &str, restore: String) -> Order {
    let id = Id::try_from(id.to_owned()).expect("an id");
    Order { id, restore: Restore::try_from(restore).expect("a payload") }
}

#[tokio::test]
async fn withdrawn_orders_are_kept_until_they_are_forgotten_as_they_were_read() {
    let scene = Scene::create("withdrawn").await;
    let (payloads, holder) = (scene.payloads(), &scene.holder);
    assert_eq!(payloads.read(holder).await.expect("it is read"), Kept::default());
    let orders = [order("o-1", "{\"a\": 1}".to_owned()), order("o-2", "b".repeat(LONGEST_RESTORE))];
    let idle = Payloads { client: scene.idle.clone() };
    let error = idle.save(holder, &orders).await.expect_err("it does not lead");
    assert!(matches!(error, Error::Request(request::Error::NotPermitted(_))), "{error}");
    payloads.save(holder, &orders).await.expect("they are kept");
    let first = payloads.read(holder).await.expect("it is read");
    assert_eq!(first.orders, orders);
    // Without a change there is no write.
    payloads.save(holder, &orders).await.expect("they are kept");
    assert_eq!(payloads.read(holder).await.expect("it is read"), first);
    payloads.save(holder, &orders[1..]).await.expect("the rest is kept");
    let second = payloads.read(holder).await.expect("it is read");
    assert_eq!(second.orders, orders[1..]);

    let large: Vec<Order> =
        (0..15).map(|id| order(&format!("o-{id}"), "x".repeat(LONGEST_RESTORE))).collect();
    let error = payloads.save(holder, &large).await.expect_err("they are too many");
    assert_eq!(error.reason(), "PayloadsTooLarge");
    assert_eq!(payloads.read(holder).await.expect("it is read"), second);

    // A changed ConfigMap is not deleted, and no owner reference deletes it.
    let error = payloads.delete(holder, &first).await.expect_err("it has changed");
    assert!(matches!(error, Error::Changed(_)), "{error}");
    let config = scene.namespace.api::<ConfigMap>().get(NAME).await.expect("it is there");
    assert!(config.metadata.owner_references.is_none());
    payloads.delete(holder, &second).await.expect("it is forgotten");
    payloads.delete(holder, &second).await.expect("it is gone already");
    assert_eq!(payloads.read(holder).await.expect("it is read"), Kept::default());
}

#[tokio::test]
async fn withdrawn_orders_that_cannot_be_read_are_neither_none_nor_replaced() {
    let scene = Scene::create("withdrawn-odd").await;
    let (payloads, holder) = (scene.payloads(), &scene.holder);
    let odd = json!({"metadata": {"name": NAME}, "data": {"orders.json": "{\"orders\": [{}]}"}});
    let odd: ConfigMap = workload::create(&scene.namespace, &workload::object(odd)).await;
    let error = payloads.read(holder).await.expect_err("it cannot be read");
    assert_eq!(error.reason(), "PayloadsUnreadable");
    assert!(error.to_string().contains(NAME), "{error}");
    let orders = [order("o-1", String::new())];
    let error = payloads.save(holder, &orders).await.expect_err("it cannot be read");
    assert_eq!(error.reason(), "PayloadsUnreadable");
    let now = scene.namespace.api::<ConfigMap>().get(NAME).await.expect("it is there");
    assert_eq!(now.metadata.resource_version, odd.metadata.resource_version);
}
