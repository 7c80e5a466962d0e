//! `torpor truncate` against a real PostgreSQL: what it empties, what it refuses, and what it says.
//!
//! Most cases are on docs/truncate-cases.md with the command's output. [`case`] runs the tables of
//! cases (`names`, `keys`, ...). A case that needs a rival or a fault (`rivals`, `connections`,
//! ...) is a test of its own. A test fails if the output differs from the page; `make docs`
//! rewrites the page.

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
mod job;
mod keys;
mod kinds;
mod names;
mod partitions;
mod pooler;
mod privileges;
mod random;
mod rivals;
mod runbook;
mod schema;
mod sequences;
mod server;
mod sessions;
mod time;
mod urls;
