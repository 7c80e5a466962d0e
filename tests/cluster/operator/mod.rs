//! The operator as a process: requests, rights, lease, hand-over, image and bad input. It converges after
//! every kill.

mod handover;
mod image;
mod input;
mod lease;
mod memory;
mod random;
mod requests;
mod rights;
mod sweep;
