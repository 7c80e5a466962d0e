//! `torpor truncate` against a real PostgreSQL: what it empties, what it refuses, and what it says.
//!
//! Most of it are cases that docs/truncate-cases.md shows with the message that a person gets: tables
//! of them (`names`, `keys`, ...), run by [`case`], and those that need a rival or a fault (`rivals`,
//! `connections`, ...), each a test by itself. A message that differs from the page fails;
//! `make docs` writes the page anew.

#![allow(
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::items_after_statements,
    clippy::panic,
    clippy::similar_names,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "../postgres/mod.rs"]
mod postgres;

#[macro_use]
mod page;
mod arguments;
mod case;
mod connections;
mod effects;
mod gate;
mod hand;
mod in_between;
mod inheritance;
mod keys;
mod kinds;
mod names;
mod partitions;
mod pooler;
mod privileges;
mod rivals;
mod runbook;
mod sequences;
mod server;
mod time;
mod urls;
