//! Schedules: compared with a slow and obvious model that walks through time minute by minute, and
//! an example for each known way to miss a transition. Cron expressions: compared with those of a CronJob.

mod clock;
mod kubernetes;
mod model;
mod properties;
mod rules;
