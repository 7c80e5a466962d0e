//! Holds: how objects are taken, kept against other writers, and handed back exactly as they were.

mod backup;
pub(crate) mod foreign;
mod hand_back;
mod helm;
pub(crate) mod levers;
pub(crate) mod owners;
pub(crate) mod record;
pub(crate) mod writes;
