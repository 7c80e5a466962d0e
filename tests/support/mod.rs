//! Fixtures that several test crates share. Each file has one subject.

pub(crate) mod folder;
pub(crate) mod http;
pub(crate) mod sonm_node;
pub(crate) mod stand_in;
pub(crate) mod wait;
