//! The Deals API with a real API server: its client, and the bridges that the operator runs.

mod client;
mod hosted;
mod signed;
mod withdrawn;
