//! The truncation's Job, and the Secrets that it reads.

mod called_off;
mod job;
mod login;
mod secrecy;
mod sessions;
mod sidecar;
mod writers;
