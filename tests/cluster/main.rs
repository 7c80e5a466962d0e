//! Tests on a real cluster, with real pods and rows. `make test` starts the cluster and runs them.
//! [`support::cluster`] describes the environment that they need.
//!
//! They share the cluster and run in parallel, each with its own namespace, database and operator.
//! They mostly wait: on two cores, `RUST_TEST_THREADS=8` takes a third of the time of two threads.
//! `TORPOR_KEEP=1` keeps the namespace of a failed test. Folders mirror `src/`; fixtures are in
//! `support/`.

// A test may panic.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod deals;
mod hibernation;
mod hold;
mod maintenance;
mod operator;
mod plugin;
mod release;
mod support;
mod truncation;
