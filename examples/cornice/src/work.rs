//! What the application does by itself: it writes rows.

use std::time::Duration;

use crate::{Failure, store::Store};

/// A task that goes on for as long as its process runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// The API's own background tasks.
    Background,
    /// The monitor.
    Monitor,
    /// An ingest worker.
    Ingest,
}

impl Task {
    /// How often it writes.
    fn interval(self) -> Duration {
        match self {
            Self::Background => Duration::from_millis(500),
            Self::Monitor => Duration::from_secs(1),
            Self::Ingest => Duration::from_millis(200),
        }
    }

    /// What it writes each time. `$1` is the pod's name.
    fn statement(self) -> &'static str {
        match self {
            Self::Background => {
                "WITH snapshot AS (
                     INSERT INTO market_snapshots (market_id, bid, ask, recorded_by)
                     SELECT id, 0.48, 0.52, $1 FROM markets ORDER BY random() LIMIT 3
                 ), execution AS (
                     INSERT INTO executions (user_id, recorded_by) VALUES (1, $1) RETURNING id
                 )
                 INSERT INTO execution_orders (execution_id, market_id, quantity, recorded_by)
                 SELECT id, 1, 10, $1 FROM execution"
            }
            Self::Monitor => {
                "WITH run AS (
                     INSERT INTO agent_runs (profile_id, recorded_by)
                     SELECT id, $1 FROM arb_monitor_profiles ORDER BY random() LIMIT 1 RETURNING id
                 ), finding AS (
                     INSERT INTO agent_findings (run_id, market_id, note, recorded_by)
                     SELECT id, 1, 'prices differ between venues', $1 FROM run
                 ), observation AS (
                     INSERT INTO arb_observations (spread, recorded_by) VALUES (0.02, $1) RETURNING id
                 )
                 INSERT INTO arb_go_signals (observation_id, stake, recorded_by)
                 SELECT id, 25, $1 FROM observation"
            }
            Self::Ingest => {
                "WITH price AS (
                     INSERT INTO hourly_prices (market_id, price, volume, recorded_by)
                     SELECT id, 0.5, 100, $1 FROM markets ORDER BY random() LIMIT 2
                 ), book AS (
                     INSERT INTO orderbook_snapshots (market_id, book, recorded_by)
                     SELECT id, '{\"bids\": [0.48], \"asks\": [0.52]}', $1
                     FROM markets ORDER BY random() LIMIT 1
                 )
                 INSERT INTO opportunity_observations (opportunity_id, edge, recorded_by)
                 SELECT id, 0.03, $1 FROM opportunities ORDER BY random() LIMIT 1"
            }
        }
    }
}

/// Writes at the task's interval, for ever. What fails is logged and tried again.
pub(crate) async fn forever(store: Store, task: Task) -> Result<(), Failure> {
    tracing::info!(?task, "started");
    let mut ticks = tokio::time::interval(task.interval());
    loop {
        ticks.tick().await;
        if let Err(error) = store.write(task.statement()).await {
            tracing::warn!(?task, %error, "not written");
        }
    }
}

/// The nightly job: simulated trades, one each quarter of a second, for so long.
pub(crate) async fn nightly(store: &Store, long: Duration) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    let end = tokio::time::Instant::now() + long;
    while tokio::time::Instant::now() < end {
        ticks.tick().await;
        store
            .write(
                "WITH run AS (
                     INSERT INTO simulator_runs (owner_id, strategy, recorded_by)
                     VALUES (1, 'mean-reversion', $1) RETURNING id
                 )
                 INSERT INTO simulator_trades (run_id, market_id, pnl, recorded_by)
                 SELECT id, 1, 5, $1 FROM run",
            )
            .await?;
    }
    Ok(())
}
