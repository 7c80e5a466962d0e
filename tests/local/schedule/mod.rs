//! Schedules: compared with a slow and obvious model that walks through time minute by minute, and
//! an example for each known way to miss a transition.

mod clock;
mod model;
mod properties;
mod rules;
