//! The truncation's Job, and the Secrets that it reads.

mod job;
mod secrecy;
