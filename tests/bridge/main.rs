//! `torpor bridge` as a process, with the markets that it is for: the stand-in of a SONM Node, and a
//! PostgreSQL. Every answer is held against `docs/deals-api.yaml`.

#![allow(
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::items_after_statements,
    clippy::panic,
    clippy::similar_names,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod agreement;
mod auth;
mod contract;
#[path = "../postgres/mod.rs"]
mod database;
mod folder;
mod http;
mod node;
mod postgres;
mod process;
mod server;
mod sonm;
mod sonm_defects;
mod sonm_faults;
#[path = "../sonm/binary.rs"]
mod stand_in;
mod token;
