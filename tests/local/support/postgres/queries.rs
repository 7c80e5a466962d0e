//! Queries of a test database, and control of its server.

use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Row as _};

use super::command::{Ended, truncate_at};
use super::database::Database;
use super::server::Server;
use crate::support::wait::TIMEOUT;

impl Server {
    /// Runs pg_ctl on the server.
    pub(crate) fn ctl(&self, arguments: &[&str]) {
        let status = Command::new(self.directory.join("ctl"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "pg_ctl {arguments:?}");
    }
}

impl Database {
    pub(crate) async fn text(&mut self, sql: &str) -> String {
        let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.admin).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error}")).try_get(0).unwrap()
    }

    pub(crate) async fn count(&mut self, table: &str) -> i64 {
        self.text(&format!("SELECT count(*)::text FROM {table}")).await.parse().unwrap()
    }

    /// Waits until this SQL condition is true.
    pub(crate) async fn until(&mut self, condition: &str) {
        let query = format!("SELECT ({condition})::text");
        until(condition, async || self.text(&query).await == "true").await;
    }

    /// Creates a role that may only log in, and returns the URL for it.
    pub(crate) async fn role(&mut self, role: &str) -> String {
        // A role belongs to the server: an earlier run may have left it.
        self.run(&format!(
            "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        ))
        .await;
        self.url.replacen("postgres@", &format!("{role}@"), 1)
    }

    /// Reconnects after a restart of the server.
    pub(crate) async fn again(self) -> Self {
        let admin = self.rival().await;
        Self { admin, ..self }
    }

    pub(crate) async fn truncate(&self, arguments: &[&str]) -> Ended {
        truncate_at(&self.url, arguments).await
    }
}

/// Waits until `holds` returns true.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let held = tokio::time::timeout(TIMEOUT, held).await;
    assert!(held.is_ok(), "it did not come to this: {what}");
}
