//! Hibernations on a real API server, with real pods.

mod deals;
mod deletion;
mod dry_run;
mod faults;
mod kinds;
mod lifecycle;
mod limits;
mod pace;
mod quota;
mod renamed;
mod runbook;
