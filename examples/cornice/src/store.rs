//! The database of the application.

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::Failure;

const SCHEMA: &str = include_str!("../schema.sql");
const SEED: &str = include_str!("../seed.sql");

/// Serialises migrations that start at once. Any number that nobody else takes.
const MIGRATION_LOCK: i64 = 0x00c0_121c_e000;

/// A pool of connections, and the name that its rows are recorded under.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) pool: PgPool,
    pub(crate) recorded_by: String,
}

impl Store {
    /// Connects when it is first used, so that an API can start before its database.
    pub(crate) fn connect(url: &str, recorded_by: String) -> Result<Self, Failure> {
        if url.is_empty() {
            return Err("DATABASE_URL is not set".into());
        }
        let options = PgConnectOptions::from_str(&without_driver(url))
            .map_err(|_| "DATABASE_URL is not a PostgreSQL URL")?
            .application_name(&recorded_by)
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy_with(options);
        Ok(Self { pool, recorded_by })
    }

    /// Creates what is missing of the schema.
    pub(crate) async fn migrate(&self) -> Result<(), Failure> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await?;
        sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Fills the tables with sample data, unless there are users already.
    pub(crate) async fn seed(&self, scale: u32) -> Result<(), Failure> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1), set_config('cornice.scale', $2, true)")
            .bind(MIGRATION_LOCK)
            .bind(scale.to_string())
            .execute(&mut *transaction)
            .await?;
        sqlx::raw_sql(SEED).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The names of the application's tables, quoted where SQL wants it.
    pub(crate) async fn tables(&self) -> Result<Vec<String>, Failure> {
        Ok(sqlx::query_scalar(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// The count of a table's rows, and a digest that is the same for the same rows.
    pub(crate) async fn fingerprint(&self, table: &str) -> Result<(i64, String), Failure> {
        Ok(sqlx::query_as(AssertSqlSafe(format!(
            "SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY t::text)), '-') FROM {table} t"
        )))
        .fetch_one(&self.pool)
        .await?)
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &str) -> Result<i64, Failure> {
        Ok(sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(&self.pool)
            .await?)
    }

    /// Runs a statement whose only parameter is the writer's name.
    pub(crate) async fn write(&self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(statement).bind(&self.recorded_by).execute(&self.pool).await?;
        Ok(())
    }
}

/// `SQLAlchemy` names its driver in the scheme; the database doesn't know it.
fn without_driver(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let scheme = scheme.split_once('+').map_or(scheme, |(scheme, _driver)| scheme);
            format!("{scheme}://{rest}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_driver_in_a_url_is_left_out() {
        let url = super::without_driver("postgresql+asyncpg://u:p+q@db/c");
        assert_eq!(url, "postgresql://u:p+q@db/c");
    }
}
