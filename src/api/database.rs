//! The database part of a Hibernation: which tables are emptied, which are kept, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tables that `Runtime` empties where an object names none (the runbook's list).
pub const RUNTIME_TABLES: [&str; 13] = [
    "execution_orders",
    "executions",
    "simulator_trades",
    "simulator_runs",
    "agent_findings",
    "agent_runs",
    "opportunity_observations",
    "hourly_prices",
    "market_snapshots",
    "orderbook_snapshots",
    "requests",
    "arb_go_signals",
    "arb_observations",
];

/// Tables that `Opportunities` empties besides (the runbook's `--include-opportunities`).
pub const OPPORTUNITY_TABLES: [&str; 3] =
    ["opportunities", "arb_opportunity_instances", "arb_opportunity_legs"];

/// Tables that only `All` empties (the runbook's `--include-auth`).
pub const PRESERVED_TABLES: [&str; 7] = [
    "users",
    "user_profiles",
    "user_secrets",
    "global_markets",
    "markets",
    "market_links",
    "arb_monitor_profiles",
];

/// How much is emptied. Each scope contains the one before it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    JsonSchema,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
    clap::ValueEnum,
)]
#[value(rename_all = "PascalCase")]
pub enum Scope {
    /// The runtime tables.
    #[default]
    Runtime,
    /// The runtime tables and the catalog of opportunities.
    Opportunities,
    /// Every table named, the preserved ones (users, secrets, markets) included.
    All,
}
