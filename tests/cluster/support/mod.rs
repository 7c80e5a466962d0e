//! Fixtures of the cluster tests. Each file has one subject.

pub(crate) mod admission;
pub(crate) mod afterwards;
pub(crate) mod audit;
pub(crate) mod bridge;
pub(crate) mod chart;
pub(crate) mod cluster;
pub(crate) mod config_map;
pub(crate) mod cornice;
pub(crate) mod database;
pub(crate) mod database_scene;
pub(crate) mod guard;
pub(crate) mod hibernation;
pub(crate) mod hold;
pub(crate) mod hosted_market;
pub(crate) mod hosting;
pub(crate) mod kubectl;
pub(crate) mod market;
pub(crate) mod moments;
pub(crate) mod namespace;
pub(crate) mod object;
pub(crate) mod operator;
pub(crate) mod other_controllers;
pub(crate) mod other_kinds;
pub(crate) mod paper_node;
pub(crate) mod plugin;
pub(crate) mod project;
pub(crate) mod proxy;
pub(crate) mod release;
pub(crate) mod rights;
pub(crate) mod scene;
pub(crate) mod time;
pub(crate) mod truncation;
pub(crate) mod wait;
pub(crate) mod window;
pub(crate) mod workload;

#[path = "../../support/mod.rs"]
mod shared;

pub(crate) use shared::{sonm_node, stand_in};
