//! Requests to the Kubernetes API server.

pub mod client;
pub mod request;
