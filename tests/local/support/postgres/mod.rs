//! A PostgreSQL of the tests' own, which ends with them. Each test has a database to itself.

mod command;
mod database;
mod queries;
mod server;

pub(crate) use command::{Ended, command, ended_of, truncate_at};
pub(crate) use database::Database;
pub(crate) use queries::until;
pub(crate) use server::{Server, free_port, server, start};
