//! Holds: how objects are taken, kept against other writers, and handed back exactly as they were.

mod backup;
mod foreign;
mod hand_back;
mod helm;
mod levers;
mod owners;
mod record;
mod writes;
