//! `torpor bridge` as a process, with the stand-in of a SONM Node and with a PostgreSQL. Each
//! answer is checked against `docs/deals-api.yaml`.

mod agreement;
mod auth;
mod postgres;
mod server;
mod sonm;
