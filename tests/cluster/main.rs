//! Tests on a real cluster, with real pods and rows. `make test` starts one and runs them; the
//! environment that they need is described at [`support::cluster`].
//!
//! They share the cluster and run in parallel, each in a namespace, with a database and an operator
//! of its own. Most of their time they wait: with `RUST_TEST_THREADS=8` they take a third of what they
//! take with a thread for each of two cores. `TORPOR_KEEP=1` keeps what a failed test has made.

// A test that cannot go on says why and ends: so may all that it calls.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod deals;
mod hibernation;
mod hold;
mod maintenance;
mod operator;
mod release;
mod support;
mod truncation;
