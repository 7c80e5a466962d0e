//! Holds: objects are held, kept against foreign writes, and restored exactly.

mod admission;
mod backup;
mod claims;
mod contest;
mod copies;
mod deploys;
mod foreign;
mod guard;
mod guard_kinds;
mod hand_back;
mod helm;
mod levers;
mod other_kinds;
mod owners;
mod record;
mod reduced;
mod refusals;
mod webhook;
mod writes;
