//! The hold: how anything goes down and comes back, and the only code that changes a workload or a
//! ConfigMap.
//!
//! Taking a hold is one write: the held value, together with an annotation that keeps the original
//! and a label that is the annotation's digest. There is no moment in which the original is known
//! nowhere.

pub mod fields;
pub mod foreign;
pub mod lever;
pub mod plan;
pub mod record;
pub mod refusal;
pub mod status_record;
pub mod subject;
pub mod writer;
