//! What the market has to be offered again, kept beside the object until it is back: without it a
//! withdrawn order would be known nowhere.
//!
//! The ConfigMap has no ownerReferences, so that no deletion takes it along.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::hosted::manifest::{BRIDGE_OF, bridge_of};
use super::types::{List, Order, Resume};
use crate::api::labels::{APP, MANAGED_BY, TORPOR};
use crate::api::reason::Reason;
use crate::apiserver::request::{self, call, patch_params, post_params};
use crate::hold::record::Holder;

/// The key of the ConfigMap: the body of a `POST /v1/resume`, so that what is kept fits into one.
pub(super) const KEY: &str = "orders.json";
/// Most bytes of it: a ConfigMap has room for 1 MiB in all.
pub const LONGEST: usize = 900 * 1024;
/// What the requests are about.
const WHAT: &str = "the ConfigMap of withdrawn orders";

/// Why payloads could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They are there, and cannot be read. They are never taken for none.
    #[error(
        "ConfigMap {name} keeps the withdrawn orders and cannot be read ({problem}): mend its key {KEY}; or delete it, \
         and offer by hand what was withdrawn"
    )]
    Unreadable {
        /// The ConfigMap.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// More than can be kept, so nothing of it may be withdrawn.
    #[error(
        "{orders} orders and what offers them again take {bytes} bytes, and {LONGEST} can be kept"
    )]
    TooLarge {
        /// How many.
        orders: usize,
        /// Their size as it would be kept.
        bytes: usize,
    },
    /// Somebody else has changed them since they were read.
    #[error("ConfigMap {0} has changed since it was read")]
    Changed(String),
    /// A request.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// What is no JSON: a defect of this program.
    #[error("writing withdrawn orders: {0}")]
    Manifest(#[from] serde_json::Error),
}

impl Error {
    /// The reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { .. } => Reason::PayloadsUnreadable,
            Self::TooLarge { .. } => Reason::PayloadsTooLarge,
            Self::Request(error) if error.is_rejection() => Reason::WriteRejected,
            _ => Reason::RequestFailed,
        }
    }
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Orders to offer again.
    pub orders: Vec<Order>,
    /// Where they were read; none where nothing is kept.
    pub version: Option<Version>,
}

/// Exactly one state of one ConfigMap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
}

/// Keeps payloads.
pub struct Payloads {
    /// The client.
    pub client: Client,
}

/// The name of an object's ConfigMap.
pub fn name(holder: &Holder) -> String {
    format!("torpor-{}-{}-withdrawn", holder.kind.to_lowercase(), holder.name)
}

impl Payloads {
    fn api(&self, holder: &Holder) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &holder.namespace)
    }

    /// What is kept of an object. Nothing, where there is no such ConfigMap.
    pub async fn read(&self, holder: &Holder) -> Result<Kept, Error> {
        match call(WHAT, self.api(holder).get_opt(&name(holder))).await? {
            None => Ok(Kept::default()),
            Some(config_map) => kept(&config_map),
        }
    }

    /// Keeps these orders, and no others. What is there and cannot be read is not replaced, and what
    /// has changed meanwhile is not either.
    pub async fn keep(&self, holder: &Holder, orders: &[Order]) -> Result<(), Error> {
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

    /// Deletes what is kept, if it is still what was read.
    pub async fn forget(&self, holder: &Holder, kept: &Kept) -> Result<(), Error> {
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

/// An answer that means that it is not what was read any more has its own error.
fn changed(name: String, answer: Result<(), request::Error>, codes: &[u16]) -> Result<(), Error> {
    match answer {
        Err(error) if error.code().is_some_and(|code| codes.contains(&code)) => {
            Err(Error::Changed(name))
        }
        answer => Ok(answer?),
    }
}

/// The orders as they are kept.
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
