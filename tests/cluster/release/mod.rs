//! `torpor release` as a process, with a person's kubeconfig.

mod errors;
mod restore;
