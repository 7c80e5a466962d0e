//! The Lease as the API server has it, for whoever needs more than the claim of this process.

use std::fmt;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;

use super::Epoch;
use crate::apiserver::request;

/// The Lease that elects the leader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseName {
    /// The namespace of the operator.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Returns the epoch of the current term, as the API server has it now. Returns `None` if nobody leads.
pub(crate) async fn epoch(
    client: &kube::Client,
    lease: &LeaseName,
) -> Result<Option<Epoch>, request::Error> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &lease.namespace);
    let there = request::call(format!("Lease {lease}"), api.get_opt(&lease.name)).await?;
    let spec = there
        .and_then(|lease| lease.spec)
        .filter(|spec| spec.holder_identity.as_ref().is_some_and(|holder| !holder.is_empty()));
    Ok(spec.and_then(|spec| spec.lease_transitions).map(Epoch))
}
