//! A namespace for each test.

use k8s_openapi::api::core::v1::{Namespace as Resource, ServiceAccount};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{afterwards::afterwards, cluster, object, wait};

/// A namespace. Dropping it deletes the namespace, except after a failure with `TORPOR_KEEP` set.
pub(crate) struct Namespace {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Namespace {
    /// Creates the namespace `t-TEST-RANDOM`, in which pods can start.
    pub(crate) async fn create(test: &str) -> Self {
        let client = cluster::client().await;
        let namespaces: Api<Resource> = Api::all(client.clone());
        let new = serde_json::from_value(json!({
            "metadata": {
                "generateName": format!("t-{test}-"),
                "labels": {"torpor.dev/test": test},
            },
        }))
        .expect("a namespace");
        let created =
            namespaces.create(&PostParams::default(), &new).await.expect("namespace is created");
        let namespace = Self { client, name: created.name_any() };
        let accounts: Api<ServiceAccount> = namespace.api();
        wait::until(&accounts, "default", "there is a service account", |_| true).await;
        namespace
    }

    /// Returns the API of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("TORPOR_KEEP").is_some() {
            eprintln!("kept namespace {}", self.name);
            return;
        }
        let name = self.name.clone();
        afterwards(&format!("namespace {name}"), async move { delete(&name).await });
    }
}

/// Deletes the namespace. Removes the finalizers too, as the operator may be gone.
async fn delete(name: &str) -> kube::Result<()> {
    let client = cluster::bare_client().await;
    Api::<Resource>::all(client.clone()).delete(name, &DeleteParams::default()).await?;
    for kind in object::KINDS {
        let objects = object::api_in(&client, name, kind);
        for object in objects.list(&ListParams::default()).await? {
            let without = json!({"metadata": {"finalizers": null}});
            objects
                .patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&without))
                .await?;
        }
    }
    Ok(())
}
