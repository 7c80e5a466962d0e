//! `torpor bridge sonm` against the stand-in of a SONM Node.

mod calls;
mod defects;
mod faults;
