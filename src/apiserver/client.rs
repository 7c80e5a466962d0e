//! Clients of the API server. A [`permitted`] client retries a request after the `Retry-After` of a busy
//! API server, and sends each try of a write only while this replica holds the lease.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config, Error};
use tower::buffer::BufferLayer;
use tower::filter::FilterLayer;
use tower::retry::RetryLayer;

use super::request::{NotPermitted, Permit};
use crate::version;

/// The timeout of a connection to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns a configuration with the timeout of connections, and with the name and version of this program for the audit
/// log of the API server.
pub(crate) fn named(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let agent = format!("torpor/{}", version::full());
    config.headers.extend(HeaderValue::try_from(agent).ok().map(|agent| (USER_AGENT, agent)));
    config
}

/// Why a command has no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no cluster: {0}. Set KUBECONFIG, --kubeconfig or --context")]
    Kubeconfig(#[from] KubeconfigError),
    #[error("no cluster: {0}. Set KUBECONFIG or --kubeconfig")]
    Config(#[from] InferConfigError),
    #[error("cannot create a client: {0}")]
    Client(#[from] Error),
}

/// The options of kubectl that name a cluster and a namespace.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ClusterArgs {
    /// Namespace of the objects. Default: the namespace of the context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// Context of the kubeconfig. Default: the current context
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// Kubeconfig file. Default: the files in KUBECONFIG, or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl ClusterArgs {
    /// Returns a client, and the namespace that the command means: `--namespace`, or that of the context.
    pub(crate) async fn connect(self) -> Result<(Client, String), ConnectError> {
        let Self { namespace, context, kubeconfig } = self;
        let (client, default_namespace) = connect_to(context, kubeconfig).await?;
        Ok((client, namespace.unwrap_or(default_namespace)))
    }
}

/// Returns a client for a command, and the namespace that a command means by default: those of the current context,
/// or of the pod.
pub(crate) async fn connect() -> Result<(Client, String), ConnectError> {
    connect_to(None, None).await
}

async fn connect_to(
    context: Option<String>,
    kubeconfig: Option<PathBuf>,
) -> Result<(Client, String), ConnectError> {
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = match kubeconfig {
        Some(file) => {
            Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await?
        }
        None if options.context.is_some() => Config::from_kubeconfig(&options).await?,
        None => Config::infer().await?,
    };
    let config = named(config);
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config)?, namespace))
}

/// The size of the queue of requests.
const QUEUE: usize = 1024;

/// Returns a client without retries, for the lease: a late renewal is worthless.
pub(crate) fn plain(mut config: Config) -> Result<Client, Error> {
    config.default_retry = false;
    Client::try_from(config)
}

/// Returns a client that asks for the permit before each try of a write. A write without the permit fails with
/// [`request::Error::NotPermitted`](super::request::Error::NotPermitted).
pub fn permitted(mut config: Config, permit: Permit) -> Result<Client, Error> {
    // The built-in retries would not ask for the permit again.
    config.default_retry = false;
    let allow = move |request: http::Request<Body>| {
        if request.method().is_safe() || permit() { Ok(request) } else { Err(NotPermitted) }
    };
    let client = ClientBuilder::try_from(config)?
        .with_layer(&BufferLayer::new(QUEUE))
        .with_layer(&FilterLayer::new(allow))
        .with_layer(&RetryLayer::new(retries()))
        .build();
    Ok(client)
}

/// Returns how often a request is sent again that the API server is too busy for: a few times, so that its answer
/// comes before the timeout of the request.
fn retries() -> RetryPolicy {
    let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
    RetryPolicy::new(first, longest, 3, true).unwrap_or_default()
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
        // No server listens there, so a request that is sent fails with another error.
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
