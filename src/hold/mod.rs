//! The hold: stops and restores workloads and ConfigMaps. No other code writes to them.
//!
//! One write takes a hold: it sets the held value, an annotation that records the original value, and a
//! label that is the digest of the annotation. The original value is therefore recorded at every moment.

pub(crate) mod answer;
mod deploy;
pub(crate) mod describe;
pub(crate) mod document;
pub(crate) mod fields;
pub(crate) mod foreign;
pub mod kinds;
pub mod lever;
pub(crate) mod patch;
pub(crate) mod plan;
pub mod record;
pub(crate) mod refusal;
pub(crate) mod status_record;
pub(crate) mod subject;
pub(crate) mod table_facts;
mod writable;
pub(crate) mod writer;
