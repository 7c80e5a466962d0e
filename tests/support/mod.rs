//! Fixtures that several crates of tests share, a file for each subject.

pub(crate) mod folder;
pub(crate) mod http;
pub(crate) mod sonm_node;
#[path = "../sonm/binary.rs"]
pub(crate) mod stand_in;
pub(crate) mod wait;
