//! Clients of the API server. What it is too busy for is tried again after the time that it names;
//! a write that has waited for that long goes out only if this replica still leads.

use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config, Error};
use tower::buffer::BufferLayer;
use tower::filter::FilterLayer;
use tower::retry::RetryLayer;

use super::request::{self, Permit};

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
        if request.method().is_safe() || permit() {
            Ok(request)
        } else {
            Err(request::Error::NotPermitted)
        }
    };
    let client = ClientBuilder::try_from(config)?
        .with_layer(&BufferLayer::new(WAITING))
        .with_layer(&FilterLayer::new(allow))
        .with_layer(&RetryLayer::new(RetryPolicy::server_retry()))
        .build();
    Ok(client)
}
