//! Maintenance windows on a real API server, with the stand-in of a SONM Node and its worker, and a bridge to
//! it. The worker's pods run on paper; the stand-in's worker stops the moment that its Deployment is
//! held, and starts when it is let go, so that the stand-in notes every promise which that breaks.

mod calling_off;
mod hosted;
mod overlap;
mod refusals;
mod run;
mod trouble;
