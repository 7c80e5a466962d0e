//! A PostgreSQL for the tests, which ends with their process. Each test has its own database.

mod command;
mod database;
mod queries;
mod server;

pub(crate) use command::{Ended, command, ended_of, truncate_at};
pub(crate) use database::Database;
pub(crate) use queries::until;
pub(crate) use server::{Server, free_port, server, start};
