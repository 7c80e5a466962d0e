//! A `MaintenanceWindow` of a worker that sells; it ends by suspension or by deletion. The operator
//! is also killed at each change sent to the bridge.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use super::{Scenario, Way, sweep};
use crate::support::{
    bridge::Bridge,
    market::{NAME, SERVICE, SYNC_MS, Selling, bridge, selling, spec},
    namespace::Namespace,
    proxy::Proxy,
    wait,
    window::Window,
    workload,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_write_of_a_maintenance_it_converges() {
    sweep::<Sold<false>>("sweep-window", &[Way::Down, Way::Back]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_write_of_the_deletion_of_a_window_it_converges() {
    sweep::<Sold<true>>("sweep-mw-delete", &[Way::Back]).await;
}

struct Sold<const DELETED: bool> {
    selling: Selling,
    _bridge: Bridge,
    namespace: Namespace,
}

impl<const DELETED: bool> Sold<DELETED> {
    fn window(&self) -> Window {
        Window::existing(&self.namespace, NAME)
    }
}

impl<const DELETED: bool> Scenario for Sold<DELETED> {
    async fn set_up(namespace: Namespace, proxy: &mut Proxy) -> Self {
        let selling = Selling::start(&namespace, selling(), SYNC_MS).await;
        let object = ("MaintenanceWindow", NAME);
        let bridge = bridge(&namespace, proxy, &selling.node, object, SERVICE).await;
        Self { selling, _bridge: bridge, namespace }
    }

    async fn go_down(&self) {
        Window::create(&self.namespace, NAME, spec(json!({}), json!({}))).await;
    }

    async fn until_down(&self) {
        self.window().until_condition("InMaintenance", "True").await;
        let worker = self.namespace.api::<Deployment>().get(NAME).await.expect("it is there");
        assert_eq!(workload::replicas(&worker), 0);
    }

    async fn come_back(&self) {
        if DELETED {
            self.window().delete(&DeleteParams::default()).await;
        } else {
            self.window().change(json!({"suspend": true})).await;
        }
    }

    async fn until_back(&self) {
        let window = self.window();
        if DELETED {
            wait::until_gone(&window.api, NAME).await;
        } else {
            window.until_phase("Cancelled").await;
            wait::until(&window.api, NAME, "no finalizer is left", |object| {
                object.finalizers().is_empty()
            })
            .await;
        }
        self.selling.until_as_before(&self.namespace, &["1", "2"]).await;
    }

    fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}
