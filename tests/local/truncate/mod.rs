//! `torpor truncate` against a real PostgreSQL: what it empties, what it refuses, and what it says.
//!
//! Most of it are cases that docs/truncate-cases.md shows with the message that a person gets: tables
//! of them (`names`, `keys`, ...), run by [`case`], and those that need a rival or a fault (`rivals`,
//! `connections`, ...), each a test by itself. A message that differs from the page fails;
//! `make docs` writes the page anew.

#[macro_use]
mod page;
mod arguments;
mod case;
mod connect;
mod connections;
mod effects;
mod hand;
mod in_between;
mod inheritance;
mod keys;
mod kinds;
mod names;
mod partitions;
mod pooler;
mod privileges;
mod random;
mod rivals;
mod runbook;
mod sequences;
mod server;
mod time;
mod urls;
