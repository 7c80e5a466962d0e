//! The operator's client of the Deals API: against servers that answer as no market should, against
//! `torpor bridge` as a process, and held in each request against `docs/deals-api.yaml`. The API server
//! is a stand-in here; `tests/cluster/market.rs` has the real one.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod answers;
mod api;
mod bridge;
#[allow(dead_code, reason = "the bridges' tests use all of it")]
#[path = "../bridge/contract.rs"]
mod contract;
#[path = "../bridge/folder.rs"]
mod folder;
#[allow(dead_code, reason = "the bridges' tests use all of it")]
#[path = "../bridge/http.rs"]
mod http;
#[allow(dead_code, reason = "the bridges' tests use all of it")]
#[path = "../bridge/node.rs"]
mod node;
mod problems;
#[allow(dead_code, reason = "the bridges' tests use all of it")]
#[path = "../bridge/process.rs"]
mod process;
mod requests;
mod retries;
mod secrecy;
mod service;
mod slow;
#[path = "../sonm/binary.rs"]
mod stand_in;
mod stub;
mod tls;
#[allow(dead_code, reason = "the bridges' tests use all of it")]
#[path = "../bridge/token.rs"]
mod token;
mod tokens;
mod world;
