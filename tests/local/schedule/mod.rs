//! Schedules against a slow and obvious model that walks through time minute by minute, and by example
//! for each way in which others miss a time.

mod clock;
mod model;
mod properties;
mod rules;
