//! `torpor run`, the operator process: it watches, leads or waits for the lease, starts reconciles, and serves
//! health and metrics. No other module may use this one.
//!
//! `run` starts and stops everything. `control` runs a controller for each kind and scope, `triggers` watches
//! workloads and ConfigMaps, `holds` registers held objects and their holders, `sweep` releases the holds of
//! missing holders, `preconditions` names missing definitions and rights, and `admin` serves `/healthz`, `/readyz`
//! and `/metrics`.

mod admin;
mod control;
mod holds;
mod preconditions;
mod rights;
pub(crate) mod run;
mod sweep;
mod triggers;
