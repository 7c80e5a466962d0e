//! The bridges that the operator runs, for `deals.source.sonm` and `deals.source.postgres`: a Deployment, a
//! Service, a NetworkPolicy and a ConfigMap beside the object.
//!
//! The objects have no ownerReferences: a deletion in the foreground would delete them before the orders are
//! offered again. The operator finds them by label. It never reads the Secrets that they name.

use std::fmt::Debug;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::keys::PublishedKeys;
use self::manifest::Market;
use super::Account;
use super::types::cleaned;
use crate::api::deals::{CaStatus, DealsSource, SourceStatus};
use crate::api::reason::Reason;
use crate::apiserver::request::{self, MANAGER, call};
use crate::hold::record::Holder;
use crate::lease::{self, Epoch, LeaseName};

mod keys;
pub mod manifest;
mod waits;

/// Attempts to write an object that others change at the same time.
const TRIES: usize = 5;

/// A bridge could not be created, updated or deleted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A newer leader has written its epoch, as the Lease confirms.
    #[error(
        "this operator is no longer the leader: Lease {lease} does not have its epoch {ours}, and ConfigMap {config} \
         has the newer epoch {newest}"
    )]
    StaleEpoch {
        /// Epoch of this operator.
        ours: i32,
        /// The newest epoch.
        newest: i32,
        /// The ConfigMap with the newest epoch.
        config: String,
        /// `NAMESPACE/NAME` of the Lease.
        lease: String,
    },
    /// An object of somebody else has a name that the bridge needs.
    #[error(
        "the bridge cannot be applied: {0} exists and is not Torpor's, as it lacks the label {label}. \
         Delete it, or rename it",
        label = manifest::BRIDGE_OF
    )]
    NameTaken(String),
    /// The API server publishes no usable keys.
    #[error(
        "the bridge cannot be applied without the keys that the cluster signs tokens with: {0}"
    )]
    Keys(String),
    /// Every attempt to write an object met a conflict.
    #[error(
        "others changed {0} at each of {TRIES} attempts to apply it; the next iteration tries again"
    )]
    Contended(String),
    /// A request to the API server failed.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// A manifest cannot be written as JSON: a defect of this program.
    #[error("a manifest of the bridge is not valid JSON, which is a defect of Torpor: {0}")]
    Manifest(#[from] serde_json::Error),
}

impl Error {
    /// Returns the reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::StaleEpoch { .. } => Reason::StaleEpoch,
            Self::NameTaken(_) => Reason::BridgeNameTaken,
            Self::Keys(_) => Reason::KeysUnavailable,
            error if error.is_rejection() => Reason::WriteRejected,
            _ => Reason::RequestFailed,
        }
    }

    /// Returns whether the API server rejected a request, and would reject it again.
    pub fn is_rejection(&self) -> bool {
        matches!(self, Self::Request(error) if error.is_rejection())
    }
}

/// Returns the server of an object's Deals API: the Service in the spec, or the Service of the bridge that
/// the operator runs.
pub fn source(holder: &Holder, source: &DealsSource) -> SourceStatus {
    match (&source.service, Market::of(source)) {
        (Some(service), _) => SourceStatus {
            service: service.name.clone(),
            port: service.port,
            ca_config_map_ref: service
                .ca_config_map_ref
                .as_ref()
                .map(|ca| CaStatus { name: ca.name.clone(), key: ca.key.clone() }),
            bridge: None,
        },
        (None, market) => SourceStatus {
            service: manifest::name(holder),
            port: manifest::PORT,
            ca_config_map_ref: None,
            bridge: market.map(Market::digest),
        },
    }
}

/// State of a bridge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hosted {
    /// Whether the bridge answers calls with the settings of the spec.
    pub ready: bool,
    /// The cause of the wait; empty for a ready bridge.
    pub message: String,
}

/// Applies and deletes bridges.
pub struct Hosting<'a> {
    /// The client.
    pub client: Client,
    /// Image of the bridges, which is the operator's own.
    pub image: &'a str,
    /// The only service account that the bridges answer.
    pub account: &'a Account,
    /// The epoch of this leader.
    pub epoch: Epoch,
    /// The Lease that the epoch comes from.
    pub lease: &'a LeaseName,
    /// The keys that the cluster signs tokens with.
    pub keys: &'a PublishedKeys,
}

impl Hosting<'_> {
    /// Applies the objects of the bridge that are missing or differ. The leader's epoch is written first. The
    /// cluster's keys are those of the last minutes, and with `refresh_keys` those of now, for a bridge that does not
    /// know the key of the operator's token. Other keys restart the bridge.
    ///
    /// Returns ready for an object with `spec.deals.source.service`, which needs no bridge.
    pub async fn ensure(
        &self,
        holder: &Holder,
        source: &DealsSource,
        refresh_keys: bool,
    ) -> Result<Hosted, Error> {
        let Some(market) = Market::of(source) else {
            return Ok(Hosted { ready: true, message: String::new() });
        };
        self.config(holder).await?;
        let keys = self.keys.get(&self.client, refresh_keys).await?;
        let policy = manifest::network_policy(holder, self.account);
        self.apply::<NetworkPolicy>("the bridge's NetworkPolicy", holder, policy).await?;
        let service = manifest::service(holder);
        self.apply::<Service>("the bridge's Service", holder, service).await?;
        let deployment = manifest::deployment(holder, market, self.account, self.image, &keys);
        let deployment =
            self.apply::<Deployment>("the bridge's Deployment", holder, deployment).await?;
        if waits::is_ready(&deployment) {
            return Ok(Hosted { ready: true, message: String::new() });
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &holder.namespace);
        let labels = ListParams::default().labels(&manifest::pod_selector(holder));
        let pods = call("the bridge's pods", pods.list(&labels)).await?.items;
        let message = waits::for_what(&deployment, &pods, &market.digest());
        Ok(Hosted { ready: false, message: cleaned(&message) })
    }

    /// Deletes the objects of the bridge: first Deployment and Service, then, in another call, the NetworkPolicy
    /// and the ConfigMap. Returns whether any object is left.
    pub async fn remove(&self, holder: &Holder) -> Result<bool, Error> {
        use PropagationPolicy::{Background, Foreground};
        // Deleted in the foreground, the Deployment outlives its pods.
        let runs = self.delete::<Deployment>("the bridge's Deployment", holder, Foreground).await?;
        let reached = self.delete::<Service>("the bridge's Service", holder, Background).await?;
        if runs || reached {
            return Ok(true);
        }
        let what = "the bridge's NetworkPolicy";
        let guarded = self.delete::<NetworkPolicy>(what, holder, Background).await?;
        let what = "the bridge's ConfigMap";
        Ok(self.delete::<ConfigMap>(what, holder, Background).await? || guarded)
    }

    /// Applies the ConfigMap with the epoch. An epoch in it is lowered only if the Lease, read later, still has the
    /// epoch of this leader: then nobody else can have written the higher one as a leader.
    async fn config(&self, holder: &Holder) -> Result<(), Error> {
        const WHAT: &str = "the bridge's ConfigMap";
        let name = manifest::config_name(holder);
        let manifest = manifest::config(holder, self.epoch);
        for _ in 0..TRIES {
            let there = self.get::<ConfigMap>(WHAT, holder, &name).await?;
            let data = there.as_ref().and_then(|there| there.data.clone()).unwrap_or_default();
            // An epoch that is no number is replaced, as the bridge would refuse it.
            if let Some(newest) = manifest::epoch(&data).filter(|newest| *newest > self.epoch)
                && lease::epoch(&self.client, self.lease).await? != Some(self.epoch)
            {
                let (ours, newest, lease) = (self.epoch.0, newest.0, self.lease.to_string());
                return Err(Error::StaleEpoch { ours, newest, config: name, lease });
            }
            if self.write(WHAT, holder, there, &manifest).await?.is_some() {
                return Ok(());
            }
        }
        Err(Error::Contended(format!("ConfigMap {name}")))
    }

    /// Applies a manifest, and tries again after a conflict.
    async fn apply<K: BridgeKind>(
        &self,
        what: &'static str,
        holder: &Holder,
        manifest: Value,
    ) -> Result<K, Error> {
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        for _ in 0..TRIES {
            let there = self.get::<K>(what, holder, name).await?;
            if let Some(applied) = self.write(what, holder, there, &manifest).await? {
                return Ok(applied);
            }
        }
        Err(Error::Contended(format!("{} {name}", K::kind(&()))))
    }

    async fn get<K: BridgeKind>(
        &self,
        what: &'static str,
        holder: &Holder,
        name: &str,
    ) -> Result<Option<K>, Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &holder.namespace);
        Ok(call(what, api.get_opt(name)).await?)
    }

    /// Applies a manifest if the object differs from it. Returns `None` for an object that has changed since it
    /// was read.
    async fn write<K: BridgeKind>(
        &self,
        what: &'static str,
        holder: &Holder,
        there: Option<K>,
        manifest: &Value,
    ) -> Result<Option<K>, Error> {
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        let mut apply = manifest.clone();
        if let Some(there) = there {
            if there.labels().get(manifest::BRIDGE_OF) != Some(&manifest::bridge_of(holder)) {
                return Err(Error::NameTaken(format!("{} {name}", K::kind(&()))));
            }
            // An object that is being deleted is created again once it is gone.
            let leaving = there.meta().deletion_timestamp.is_some();
            if leaving || manifest::is_so(manifest, &serde_json::to_value(&there)?) {
                return Ok(Some(there));
            }
            apply["metadata"]["resourceVersion"] = there.resource_version().into();
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &holder.namespace);
        let params = PatchParams::apply(MANAGER).force();
        match call(what, api.patch(name, &params, &Patch::Apply(&apply))).await {
            Err(error) if error.is_conflict() => Ok(None),
            answer => Ok(Some(answer?)),
        }
    }

    /// Deletes every object of a kind that belongs to the bridge. Returns whether any is left.
    async fn delete<K: BridgeKind>(
        &self,
        what: &'static str,
        holder: &Holder,
        propagation: PropagationPolicy,
    ) -> Result<bool, Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &holder.namespace);
        let labels = ListParams::default().labels(&manifest::selector(holder));
        let mut any = false;
        for object in call(what, api.list(&labels)).await? {
            if object.meta().deletion_timestamp.is_some() {
                any = true;
                continue;
            }
            let params = DeleteParams {
                propagation_policy: Some(propagation.clone()),
                preconditions: Some(Preconditions { uid: object.uid(), resource_version: None }),
                ..DeleteParams::default()
            };
            match call(what, api.delete(&object.name_any(), &params)).await {
                Err(error) if error.is_not_found() => {}
                // Another object has the name by now.
                Err(error) if error.is_conflict() => any = true,
                answer => any |= answer?.is_left(),
            }
        }
        Ok(any)
    }
}

/// A kind of object in a bridge.
trait BridgeKind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
{
}

impl<K> BridgeKind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
{
}
