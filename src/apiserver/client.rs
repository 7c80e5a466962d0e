//! Clients of the API server. What it is too busy for is tried again after the time that it names;
//! a write that has waited for that long goes out only if this replica still leads.

use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config, Error};
use tower::buffer::BufferLayer;
use tower::filter::FilterLayer;
use tower::retry::RetryLayer;

use super::request::{NotPermitted, Permit};

/// Requests that wait for their turn to be sent.
const WAITING: usize = 1024;

/// A client that tries nothing again: for the lease, whose writes are worth nothing later.
pub fn plain(mut config: Config) -> Result<Client, Error> {
    config.default_retry = false;
    Client::try_from(config)
}

/// A client whose writes are sent only while that is permitted, each time that they are tried.
pub fn permitted(mut config: Config, permit: Permit) -> Result<Client, Error> {
    // The client's own retries know nothing of the lease.
    config.default_retry = false;
    let allow = move |request: http::Request<Body>| {
        if request.method().is_safe() || permit() { Ok(request) } else { Err(NotPermitted) }
    };
    let client = ClientBuilder::try_from(config)?
        .with_layer(&BufferLayer::new(WAITING))
        .with_layer(&FilterLayer::new(allow))
        .with_layer(&RetryLayer::new(RetryPolicy::server_retry()))
        .build();
    Ok(client)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Api, DeleteParams, Patch};
    use serde_json::json;

    use super::super::request::{self, call, patch_params, post_params};
    use super::*;

    #[tokio::test]
    async fn a_replica_that_does_not_lead_reads_and_sends_no_write() {
        // Nobody listens there: a request that is sent fails otherwise than one that is refused.
        let config = Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = permitted(config, std::sync::Arc::new(|| false)).unwrap();
        let api: Api<ConfigMap> = Api::namespaced(client, "ns");
        let read = call("it", api.get("a")).await.unwrap_err();
        assert!(matches!(read, request::Error::Api { .. }), "{read}");
        let patch = Patch::Merge(json!({}));
        for written in [
            call("it", api.create(&post_params(), &ConfigMap::default())).await.map(drop),
            call("it", api.patch("a", &patch_params(), &patch)).await.map(drop),
            call("it", api.delete("a", &DeleteParams::default())).await.map(drop),
        ] {
            let refused = written.unwrap_err();
            assert!(matches!(refused, request::Error::NotPermitted(_)), "{refused}");
        }
    }
}
