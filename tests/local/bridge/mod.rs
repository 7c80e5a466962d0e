//! `torpor bridge` as a process, with the markets that it is for: the stand-in of a SONM Node, and a
//! PostgreSQL. Every answer is held against `docs/deals-api.yaml`.

mod agreement;
mod auth;
mod postgres;
mod server;
mod sonm;
