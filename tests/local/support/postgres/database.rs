//! A database for each test.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};

use super::server::{Server, server};

/// The database of one test.
pub(crate) struct Database {
    /// The database's URL for a superuser.
    pub(crate) url: String,
    /// A superuser's connection.
    pub(crate) admin: PgConnection,
}

impl Database {
    pub(crate) async fn new(name: &str) -> Self {
        Self::on(server(), name).await
    }

    pub(crate) async fn on(server: &Server, name: &str) -> Self {
        let name = format!("t_{name}");
        assert!(name.len() < 64, "{name} is too long for a database");
        let options: PgConnectOptions = server.url.parse().unwrap();
        let admin = options.connect().await;
        let log = server.directory.join("server.log");
        let mut admin = admin.unwrap_or_else(|error| panic!("{error}; see {}", log.display()));
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
        }
        let (start, _) = server.url.rsplit_once('/').unwrap();
        let url = format!("{start}/{name}");
        let admin = options.database(&name).connect().await.unwrap();
        Self { url, admin }
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut self.admin)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Opens another superuser's connection, for a rival.
    pub(crate) async fn rival(&self) -> PgConnection {
        self.url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }
}
