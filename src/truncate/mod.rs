//! Empties tables.
pub mod report;
