//! Fixtures. Each file has one subject.

pub(crate) mod api_server;
pub(crate) mod bridge;
pub(crate) mod contract;
pub(crate) mod kubernetes_cron;
pub(crate) mod market;
pub(crate) mod pausing_proxy;
pub(crate) mod postgres;
pub(crate) mod schedule;
pub(crate) mod stub;
pub(crate) mod token;
pub(crate) mod world;

#[path = "../../support/mod.rs"]
mod shared;

pub(crate) use shared::{folder, http, sonm_node, wait};
