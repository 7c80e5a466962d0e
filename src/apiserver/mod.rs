//! Requests to the Kubernetes API server.

pub(crate) mod access;
pub mod client;
pub(crate) mod definitions;
pub(crate) mod documents;
mod items;
pub(crate) mod pool;
pub mod request;
pub(crate) mod wanted;
