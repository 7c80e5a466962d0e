//! The bridges that the operator runs, for `deals.source.sonm` and `deals.source.postgres`: a Deployment, a
//! Service, a NetworkPolicy and a ConfigMap beside the object.
//!
//! They have no ownerReferences: a deletion in the foreground would take them before the orders are
//! offered again. They are found by label. The operator never reads the Secrets that they name.

use std::collections::BTreeMap;
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

use self::keys::Keys;
use self::manifest::Market;
use super::Account;
use super::types::cleaned;
use crate::api::deals::{CaStatus, DealsSource, SourceStatus};
use crate::api::reason::Reason;
use crate::apiserver::request::{self, MANAGER, call};
use crate::hold::record::Holder;
use crate::lease::Epoch;

mod keys;
pub mod manifest;
mod waits;

/// How often an object that others change meanwhile is read again before the next pass takes over.
const TRIES: usize = 5;
/// Where the API server publishes who issues its tokens (`OpenID` Connect Discovery 1.0).
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where it publishes the keys that they are signed with.
const KEYS: &str = "/openid/v1/jwks";

/// Why a bridge could not be made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A newer leader has been there.
    #[error("epoch {ours} is older than {newest}, which ConfigMap {config} says has begun")]
    StaleEpoch {
        /// Our own.
        ours: i32,
        /// The newest that is known.
        newest: i32,
        /// Where it is kept.
        config: String,
    },
    /// Somebody else's object has the name of one of the bridge's.
    #[error(
        "the bridge needs a {0} of this name, and there is one that is not Torpor's (it lacks the label \
         {label}): delete or rename it",
        label = manifest::BRIDGE_OF
    )]
    NameTaken(String),
    /// The keys that tokens are verified by can't be had.
    #[error("the cluster's keys: {0}")]
    Keys(String),
    /// Changed under our hands again and again.
    #[error("{0} was changed by others each time it was to be written")]
    Contended(String),
    /// A request.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// A manifest that is none: a defect of this program.
    #[error("building a bridge: {0}")]
    Manifest(#[from] serde_json::Error),
}

impl Error {
    /// The reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::StaleEpoch { .. } => Reason::StaleEpoch,
            Self::NameTaken(_) => Reason::BridgeNameTaken,
            Self::Keys(_) => Reason::KeysUnavailable,
            error if error.is_rejection() => Reason::WriteRejected,
            _ => Reason::RequestFailed,
        }
    }

    /// Whether the API server said no to a request as such: it would say so again.
    pub fn is_rejection(&self) -> bool {
        matches!(self, Self::Request(error) if error.is_rejection())
    }
}

/// Where the Deals API of an object is served: by the Service that the spec names, or by that of the
/// bridge that the operator runs.
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

/// How a bridge stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hosted {
    /// Whether it can be asked, with the present settings.
    pub ready: bool,
    /// What it waits for, for a person; empty when it is ready.
    pub message: String,
}

/// Makes bridges and takes them away.
pub struct Hosting<'a> {
    /// The client.
    pub client: Client,
    /// Image of the bridges: the operator's own.
    pub image: &'a str,
    /// Whom the bridges answer.
    pub account: &'a Account,
    /// The epoch of this leader.
    pub epoch: Epoch,
}

impl Hosting<'_> {
    /// Creates what is missing and mends what differs; writes nothing where all is as it should be. The
    /// leader's epoch is written before anything else, and never lowered. The cluster's keys are read where
    /// there are none yet, or where `refresh_keys` says that the bridge does not know the one it was shown.
    ///
    /// An object whose API somebody else serves needs none of it, and is ready.
    pub async fn ensure(
        &self,
        holder: &Holder,
        source: &DealsSource,
        refresh_keys: bool,
    ) -> Result<Hosted, Error> {
        let Some(market) = Market::of(source) else {
            return Ok(Hosted { ready: true, message: String::new() });
        };
        let keys = self.config(holder, refresh_keys).await?;
        let policy = manifest::network_policy(holder, self.account);
        self.settle::<NetworkPolicy>("the bridge's NetworkPolicy", holder, policy).await?;
        let service = manifest::service(holder);
        self.settle::<Service>("the bridge's Service", holder, service).await?;
        let deployment =
            manifest::deployment(holder, market, self.account, self.image, &keys.issuer);
        let deployment =
            self.settle::<Deployment>("the bridge's Deployment", holder, deployment).await?;
        if waits::is_ready(&deployment) {
            return Ok(Hosted { ready: true, message: String::new() });
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &holder.namespace);
        let labels = ListParams::default().labels(&manifest::pod_selector(holder));
        let pods = call("the bridge's pods", pods.list(&labels)).await?.items;
        let message = waits::for_what(&deployment, &pods, &market.digest());
        Ok(Hosted { ready: false, message: cleaned(&message) })
    }

    /// Deletes all of it, found by label: first what runs, then, in another call, what it was guarded by.
    /// Returns whether anything is still there.
    pub async fn remove(&self, holder: &Holder) -> Result<bool, Error> {
        use PropagationPolicy::{Background, Foreground};
        // In the foreground it is gone when its pods are.
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

    /// The ConfigMap with keys, issuer and epoch.
    async fn config(&self, holder: &Holder, refresh: bool) -> Result<Keys, Error> {
        const WHAT: &str = "the bridge's ConfigMap";
        let name = manifest::config_name(holder);
        let mut read = None;
        for _ in 0..TRIES {
            let there = self.get::<ConfigMap>(WHAT, holder, &name).await?;
            let data: BTreeMap<String, String> =
                there.as_ref().and_then(|there| there.data.clone()).unwrap_or_default();
            // What is no number would be refused by the bridge: it is replaced.
            if let Some(newest) = keys::epoch(&data).filter(|newest| *newest > self.epoch.0) {
                return Err(Error::StaleEpoch { ours: self.epoch.0, newest, config: name });
            }
            let keys = match (Keys::kept(&data).filter(|_| !refresh), read.take()) {
                (_, Some(keys)) | (Some(keys), None) => keys,
                (None, None) => self.published().await?,
            };
            let manifest = manifest::config(holder, &keys, self.epoch);
            if self.write(WHAT, holder, there, &manifest).await?.is_some() {
                return Ok(keys);
            }
            read = Some(keys);
        }
        Err(Error::Contended(format!("ConfigMap {name}")))
    }

    /// What the API server publishes of its tokens.
    async fn published(&self) -> Result<Keys, Error> {
        let get = async |path: &str| {
            let request = http::Request::get(path).body(Vec::new());
            let request = request.map_err(|error| Error::Keys(error.to_string()))?;
            Ok::<_, Error>(call("the cluster's keys", self.client.request_text(request)).await?)
        };
        let (discovery, jwks) = futures::try_join!(get(DISCOVERY), get(KEYS))?;
        Keys::published(&discovery, jwks).map_err(|text| Error::Keys(text.to_owned()))
    }

    /// Reads, and writes if something differs.
    async fn settle<K: Kind>(
        &self,
        what: &'static str,
        holder: &Holder,
        manifest: Value,
    ) -> Result<K, Error> {
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        for _ in 0..TRIES {
            let there = self.get::<K>(what, holder, name).await?;
            if let Some(settled) = self.write(what, holder, there, &manifest).await? {
                return Ok(settled);
            }
        }
        Err(Error::Contended(format!("{} {name}", K::kind(&()))))
    }

    async fn get<K: Kind>(
        &self,
        what: &'static str,
        holder: &Holder,
        name: &str,
    ) -> Result<Option<K>, Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &holder.namespace);
        Ok(call(what, api.get_opt(name)).await?)
    }

    /// Makes an object what its manifest says, if it isn't. None where it has changed since it was read.
    async fn write<K: Kind>(
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
            // One that is on its way out is made again once it has gone.
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

    /// Deletes every object of a kind that belongs to the bridge. Returns whether one is still there.
    async fn delete<K: Kind>(
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
                // Another one has its name by now.
                Err(error) if error.is_conflict() => any = true,
                answer => any |= answer?.is_left(),
            }
        }
        Ok(any)
    }
}

/// A kind of which a bridge has an object.
trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
{
}
