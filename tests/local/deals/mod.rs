//! The operator's client of the Deals API: against servers that answer as no market should, against
//! `torpor bridge` as a process, and held in each request against `docs/deals-api.yaml`. The API server
//! is a stand-in here; `tests/cluster/deals/client.rs` has the real one.

mod answers;
mod bridge;
mod problems;
mod requests;
mod retries;
mod secrecy;
mod service;
mod slow;
mod tls;
mod tokens;
