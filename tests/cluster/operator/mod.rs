//! The operator as a process: its requests, rights, lease and image, bad input, and how it converges
//! however it is killed.

mod image;
mod input;
mod lease;
mod random;
mod requests;
mod rights;
mod sweep;
