//! Payloads from which withdrawn orders can be offered again, saved in a ConfigMap until the orders are
//! back on the market.
//!
//! The ConfigMap has no ownerReferences, so that no deletion of the object deletes it too.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::client;
use super::hosted::manifest::{BRIDGE_OF, bridge_of};
use super::market_state::MarketError;
use super::types::{List, Order, Resume};
use crate::api::labels::{APP, MANAGED_BY, TORPOR};
use crate::api::reason::Reason;
use crate::apiserver::request::{self, call, patch_params, post_params};
use crate::hold::record::Holder;

/// Key of the ConfigMap. The value is a body of `POST /v1/resume`, so that all of it fits into one request.
pub(super) const KEY: &str = "orders.json";
/// Most bytes of the value. A ConfigMap holds at most 1 MiB.
pub const LONGEST: usize = 900 * 1024;
/// Name of the ConfigMap in errors of requests.
const WHAT: &str = "the ConfigMap of withdrawn orders";

/// Payloads could not be read, saved or deleted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ConfigMap exists and cannot be read. It never counts as empty.
    #[error(
        "the withdrawn orders in ConfigMap {name} cannot be read: {problem}. Correct its key {KEY}; or \
         delete it, and offer the orders again by hand"
    )]
    Unreadable {
        /// Name of the ConfigMap.
        name: String,
        /// The cause.
        problem: String,
    },
    /// The payloads do not fit into the ConfigMap, so no order may be withdrawn.
    #[error(
        "the payloads of {orders} order{s} take {bytes} bytes, and a ConfigMap has room for {LONGEST}: \
         nothing is withdrawn. Reduce the number of open orders",
        s = if *orders == 1 { "" } else { "s" }
    )]
    TooLarge {
        /// Number of orders.
        orders: usize,
        /// Size of the value.
        bytes: usize,
    },
    /// The ConfigMap has changed since it was read.
    #[error("ConfigMap {0} has changed since it was read; the next iteration reads it again")]
    Changed(String),
    /// A request to the API server failed.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// The payloads cannot be written as JSON: a defect of this program.
    #[error("the withdrawn orders cannot be written as JSON, which is a defect of Torpor: {0}")]
    Manifest(#[from] serde_json::Error),
}

impl Error {
    /// Returns the reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { .. } => Reason::PayloadsUnreadable,
            Self::TooLarge { .. } => Reason::PayloadsTooLarge,
            Self::Request(error) if error.is_rejection() => Reason::WriteRejected,
            _ => Reason::RequestFailed,
        }
    }
}

/// The saved payloads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Orders to offer again.
    pub orders: Vec<Order>,
    /// Version of the ConfigMap that was read; `None` without a ConfigMap.
    pub version: Option<Version>,
}

/// One version of one ConfigMap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    /// The uid.
    pub uid: String,
    /// The resourceVersion.
    pub resource_version: String,
}

/// Reads, saves and deletes payloads.
pub struct Payloads {
    /// The client.
    pub client: Client,
}

/// Returns the name of an object's ConfigMap.
pub fn name(holder: &Holder) -> String {
    format!("torpor-{}-{}-withdrawn", holder.kind.to_lowercase(), holder.name)
}

/// Returns the error of a call that offers orders again. A refusal of their payloads names the ConfigMap.
pub fn refused(holder: &Holder, error: &client::Error) -> MarketError {
    let reason = error.reason();
    let message = match reason {
        Reason::InvalidRestore => {
            format!("{error}. ConfigMap {} has the payloads, in key {KEY}", name(holder))
        }
        _ => error.to_string(),
    };
    MarketError { reason, message }
}

impl Payloads {
    fn api(&self, holder: &Holder) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &holder.namespace)
    }

    /// Reads the payloads of an object. Returns none for a ConfigMap that does not exist.
    pub async fn read(&self, holder: &Holder) -> Result<Kept, Error> {
        match call(WHAT, self.api(holder).get_opt(&name(holder))).await? {
            None => Ok(Kept::default()),
            Some(config_map) => kept(&config_map),
        }
    }

    /// Saves the payloads of these orders, and of no others. An unreadable ConfigMap is not replaced, nor one that
    /// changes meanwhile.
    pub async fn save(&self, holder: &Holder, orders: &[Order]) -> Result<(), Error> {
        let name = name(holder);
        let document = document(orders)?;
        let before = self.read(holder).await?;
        if before.version.is_some() && before.orders == orders {
            return Ok(());
        }
        let labels =
            json!({MANAGED_BY: TORPOR, APP: "torpor-withdrawn", BRIDGE_OF: bridge_of(holder)});
        let mut object: Value = json!({
            "metadata": {"name": name, "labels": labels},
            "data": {KEY: document},
        });
        let api = self.api(holder);
        let written = match before.version {
            None => call(WHAT, api.create(&post_params(), &serde_json::from_value(object)?)).await,
            Some(Version { uid, resource_version }) => {
                object["metadata"]["uid"] = json!(uid);
                object["metadata"]["resourceVersion"] = json!(resource_version);
                call(WHAT, api.patch(&name, &patch_params(), &Patch::Merge(&object))).await
            }
        };
        changed(name, written.map(drop), &[404, 409])
    }

    /// Deletes the ConfigMap, if it has not changed since it was read.
    pub async fn delete(&self, holder: &Holder, kept: &Kept) -> Result<(), Error> {
        let Some(Version { uid, resource_version }) = kept.version.clone() else { return Ok(()) };
        let name = name(holder);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid),
                resource_version: Some(resource_version),
            }),
            ..DeleteParams::default()
        };
        match call(WHAT, self.api(holder).delete(&name, &params)).await {
            Err(error) if error.is_not_found() => Ok(()),
            answer => changed(name, answer.map(drop), &[409]),
        }
    }
}

/// Turns these status codes into [`Error::Changed`].
fn changed(name: String, answer: Result<(), request::Error>, codes: &[u16]) -> Result<(), Error> {
    match answer {
        Err(error) if error.code().is_some_and(|code| codes.contains(&code)) => {
            Err(Error::Changed(name))
        }
        answer => Ok(answer?),
    }
}

/// Returns the value of the ConfigMap.
fn document(orders: &[Order]) -> Result<String, Error> {
    let resume = List::try_from(orders.to_vec()).map(|orders| Resume { orders });
    let document = match &resume {
        Ok(resume) => serde_json::to_string(resume)?,
        Err(_) => serde_json::to_string(orders)?,
    };
    if resume.is_err() || document.len() > LONGEST {
        return Err(Error::TooLarge { orders: orders.len(), bytes: document.len() });
    }
    Ok(document)
}

fn kept(config_map: &ConfigMap) -> Result<Kept, Error> {
    let unreadable = |problem: &str| Error::Unreadable {
        name: config_map.name_any(),
        problem: super::types::cleaned(problem),
    };
    let data = config_map.data.as_ref().and_then(|data| data.get(KEY));
    let document = data.ok_or_else(|| unreadable("the key is missing"))?;
    let Resume { orders } =
        serde_json::from_str(document).map_err(|error| unreadable(&error.to_string()))?;
    let version = config_map.uid().zip(config_map.resource_version());
    Ok(Kept {
        orders: orders.into_vec(),
        version: version.map(|(uid, resource_version)| Version { uid, resource_version }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deals::types::{Id, LONGEST_LIST, LONGEST_RESTORE, Restore};

    fn order(id: usize, length: usize) -> Order {
        let id = Id::try_from(format!("o-{id}")).unwrap();
        Order { id, restore: Restore::try_from("x".repeat(length)).unwrap() }
    }

    fn config_map(data: Value) -> ConfigMap {
        let mut object = json!({"metadata": {"name": "w", "uid": "u", "resourceVersion": "7"}});
        object["data"] = data;
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_is_kept_is_read_as_it_was() {
        for orders in [vec![], vec![order(1, 0), order(2, LONGEST_RESTORE)]] {
            let document = document(&orders).unwrap();
            let Kept { orders: read, version } = kept(&config_map(json!({KEY: document}))).unwrap();
            assert_eq!(read, orders);
            let version = version.unwrap();
            assert_eq!((version.uid.as_str(), version.resource_version.as_str()), ("u", "7"));
        }
    }

    #[test]
    fn what_cannot_be_read_is_never_taken_for_nothing() {
        for data in [
            json!(null),
            json!({}),
            json!({"other": "{\"orders\": []}"}),
            json!({KEY: ""}),
            json!({KEY: "{}"}),
            json!({KEY: "[]"}),
            json!({KEY: "{\"orders\": [{\"id\": \"a\"}]}"}),
            json!({KEY: "{\"orders\": [], \"more\": []}"}),
            json!({KEY: "{\"orders\": []"}),
        ] {
            let error = kept(&config_map(data.clone())).unwrap_err();
            assert_eq!(error.reason(), "PayloadsUnreadable", "{data}");
            assert!(error.to_string().contains("ConfigMap w "), "{error}");
        }
    }

    #[test]
    fn more_than_a_config_map_or_one_request_takes_is_refused() {
        let fits: Vec<Order> = (0..14).map(|id| order(id, LONGEST_RESTORE)).collect();
        assert!(document(&fits).unwrap().len() <= LONGEST);
        let large: Vec<Order> = (0..15).map(|id| order(id, LONGEST_RESTORE)).collect();
        let many: Vec<Order> = (0..=LONGEST_LIST).map(|id| order(id, 0)).collect();
        for orders in [large, many] {
            let error = document(&orders).unwrap_err();
            assert_eq!(error.reason(), "PayloadsTooLarge");
            assert!(error.to_string().contains(&orders.len().to_string()), "{error}");
        }
    }
}
