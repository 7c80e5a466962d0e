//! The operator as a process: requests, rights, lease, image and bad input. It converges after
//! every kill.

mod image;
mod input;
mod lease;
mod memory;
mod random;
mod requests;
mod rights;
mod sweep;
