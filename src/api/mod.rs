//! The custom resources: data, documentation and admission rules, nothing else.

pub mod database;
pub mod schedule;
