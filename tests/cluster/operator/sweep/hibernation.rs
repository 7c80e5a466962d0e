//! A Hibernation that ends by a wake or by its deletion.

use kube::api::DeleteParams;

use super::{Scenario, Way, sweep};
use crate::support::{
    namespace::Namespace,
    project::{NAME, Project},
    proxy::Proxy,
    wait,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_write_of_a_hibernation_and_its_wake_it_converges() {
    sweep::<Slept<false>>("sweep-wake", &[Way::Down, Way::Back]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_write_of_the_wake_by_a_deletion_it_converges() {
    sweep::<Slept<true>>("sweep-delete", &[Way::Back]).await;
}

struct Slept<const DELETED: bool>(Project);

impl<const DELETED: bool> Scenario for Slept<DELETED> {
    async fn set_up(namespace: Namespace, _: &mut Proxy) -> Self {
        Self(Project::create(namespace).await)
    }

    async fn go_down(&self) {
        self.0.hibernate().await;
    }

    async fn until_down(&self) {
        self.0.until_down().await;
    }

    async fn come_back(&self) {
        let hibernation = self.0.hibernation();
        if DELETED {
            let deleted = hibernation.api.delete(NAME, &DeleteParams::default()).await;
            deleted.expect("it is deleted");
        } else {
            hibernation.set_state("Awake").await;
        }
    }

    async fn until_back(&self) {
        if DELETED {
            wait::until_gone(&self.0.hibernation().api, NAME).await;
        } else {
            self.0.until_awake().await;
        }
        self.0.assert_as_before().await;
    }

    fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }
}
