//! `MaintenanceWindow`s on a real API server, with a bridge to the stand-in of a SONM Node and its
//! worker. The worker's pods run on a paper node. The stand-in's worker stops as soon as its
//! Deployment is held and starts when the Deployment is released, so the stand-in records every
//! promise that a window breaks.

mod calling_off;
mod dead;
mod hosted;
mod overlap;
mod refusals;
mod run;
mod trouble;
