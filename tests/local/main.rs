//! Tests that need no cluster. They start their own processes of `torpor`, a PostgreSQL and the
//! stand-in of a SONM Node. Folders mirror `src/`; fixtures are in `support/`.

#![allow(
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::items_after_statements,
    clippy::panic,
    clippy::similar_names,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod bridge;
mod crds;
mod deals;
mod documentation;
mod schedule;
mod support;
mod truncate;
