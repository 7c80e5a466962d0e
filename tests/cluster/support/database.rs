//! A database for each test, in the cluster's `PostgreSQL`, with the tables of Cornice.

use std::{collections::BTreeMap, str::FromStr};

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use torpor::api::database::{OPPORTUNITY_TABLES, PRESERVED_TABLES, RUNTIME_TABLES};

use super::{afterwards::afterwards, cluster, namespace::Namespace, wait, workload};

const SCHEMA: &str = include_str!("../../../examples/cornice/schema.sql");
const SEED: &str = include_str!("../../../examples/cornice/seed.sql");

/// A password that must be percent-encoded in a URL.
const PASSWORD: &str = "p@ss/word";
const PASSWORD_IN_URL: &str = "p%40ss%2Fword";

/// The row count of a table and a digest of its rows.
pub(crate) type Fingerprint = (i64, String);

/// A database, a role of the same name that owns it, and a superuser's connections. Dropping this
/// drops both. The Secret `cornice-db` of the namespace has the URL in its key `DATABASE_URL`.
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) pool: PgPool,
}

impl Database {
    /// Creates an empty database.
    pub(crate) async fn create(namespace: &Namespace) -> Self {
        let name = namespace.name.replace('-', "_");
        let superuser = pool(None).await;
        for statement in [
            format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"),
            format!("CREATE DATABASE {name} OWNER {name}"),
        ] {
            sqlx::query(AssertSqlSafe(statement))
                .execute(&superuser)
                .await
                .expect("the database is created");
        }
        superuser.close().await;
        let database = Self { pool: pool(Some(&name)).await, name };
        let secret: Secret = workload::object(json!({
            "metadata": {"name": "cornice-db"},
            "stringData": {
                "DATABASE_URL": database.url(""), "username": database.name, "password": PASSWORD,
            },
        }));
        workload::create(namespace, &secret).await;
        database
    }

    /// Creates a database with the tables and sample rows of Cornice.
    pub(crate) async fn seeded(namespace: &Namespace) -> Self {
        let database = Self::create(namespace).await;
        let mut transaction = database.pool.begin().await.expect("a transaction begins");
        sqlx::query(AssertSqlSafe(format!("SET LOCAL ROLE {}", database.name)))
            .execute(&mut *transaction)
            .await
            .expect("the role is taken");
        for script in [SCHEMA, SEED] {
            sqlx::raw_sql(script).execute(&mut *transaction).await.expect("the tables are made");
        }
        transaction.commit().await.expect("the tables are there");
        database
    }

    /// Returns the URL for pods, with parameters such as `?sslmode=verify-full`.
    pub(crate) fn url(&self, parameters: &str) -> String {
        let (name, host) = (&self.name, cluster::variable("TORPOR_POSTGRES_SERVICE"));
        let port = superuser_options().get_port();
        format!("postgresql+asyncpg://{name}:{PASSWORD_IN_URL}@{host}:{port}/{name}{parameters}")
    }

    /// Returns `spec.database.connection` for pods.
    pub(crate) fn connection(&self) -> Value {
        json!({
            "host": cluster::variable("TORPOR_POSTGRES_SERVICE"),
            "port": superuser_options().get_port(),
            "name": self.name,
            "secretName": "cornice-db",
        })
    }

    /// Returns the fingerprints of these tables. Tables with equal fingerprints have the same rows.
    pub(crate) async fn fingerprints(&self, tables: &[&str]) -> BTreeMap<String, Fingerprint> {
        let mut fingerprints = BTreeMap::new();
        for table in tables {
            let fingerprint = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT count(*), md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) \
                 FROM {table} t"
            )))
            .fetch_one(&self.pool)
            .await
            .expect("the table is read");
            fingerprints.insert((*table).to_owned(), fingerprint);
        }
        fingerprints
    }

    /// Returns the number of rows in these tables.
    pub(crate) async fn counts(&self, tables: &[&str]) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for table in tables {
            let count = self.number(&format!("SELECT count(*) FROM {table}")).await;
            counts.insert((*table).to_owned(), count);
        }
        counts
    }

    /// Returns the empty ones of these tables.
    pub(crate) async fn empty_of(&self, tables: &[&str]) -> Vec<String> {
        self.counts(tables)
            .await
            .into_iter()
            .filter(|(_, rows)| *rows == 0)
            .map(|(t, _)| t)
            .collect()
    }

    /// Returns columns, constraints and indexes of all tables, a line each.
    pub(crate) async fn schema(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT format('%s.%s %s %s', table_name, column_name, data_type, column_default)
             FROM information_schema.columns WHERE table_schema = 'public'
             UNION ALL
             SELECT format('%s: %s', conrelid::regclass, pg_get_constraintdef(oid))
             FROM pg_constraint WHERE connamespace = 'public'::regnamespace
             UNION ALL
             SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
             ORDER BY 1",
        )
        .fetch_all(&self.pool)
        .await
        .expect("the catalog is read")
    }

    /// Returns the result of a query for one number.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
            .fetch_one(&self.pool)
            .await
            .expect("the query is answered")
    }

    /// Executes a statement.
    pub(crate) async fn execute(&self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&self.pool)
            .await
            .expect("the statement is executed");
    }

    /// Waits until a query for one boolean returns true. Rows have no watch.
    pub(crate) async fn until(&self, what: &str, query: &str) {
        wait::poll(&format!("{what}: {query}"), async || {
            let holds: Result<bool, _> =
                sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.pool).await;
            holds.ok().filter(|holds| *holds)
        })
        .await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("TORPOR_KEEP").is_some() {
            eprintln!("kept database {}", self.name);
            return;
        }
        let name = self.name.clone();
        afterwards(&format!("database {name}"), async move {
            let superuser = pool(None).await;
            for statement in
                [format!("DROP DATABASE {name} WITH (FORCE)"), format!("DROP ROLE {name}")]
            {
                sqlx::query(AssertSqlSafe(statement)).execute(&superuser).await?;
            }
            Ok::<_, sqlx::Error>(())
        });
    }
}

/// Returns the tables that scope `Runtime` preserves.
pub(crate) fn kept_by_runtime() -> Vec<&'static str> {
    OPPORTUNITY_TABLES.into_iter().chain(PRESERVED_TABLES).collect()
}

/// Returns all tables of Cornice.
pub(crate) fn all_tables() -> Vec<&'static str> {
    RUNTIME_TABLES.into_iter().chain(kept_by_runtime()).collect()
}

fn superuser_options() -> PgConnectOptions {
    PgConnectOptions::from_str(&cluster::variable("TORPOR_POSTGRES_URL"))
        .expect("TORPOR_POSTGRES_URL is a URL")
}

async fn pool(database: Option<&str>) -> PgPool {
    let options = superuser_options();
    let options = match database {
        Some(name) => options.database(name),
        None => options,
    };
    PgPoolOptions::new()
        .max_connections(2)
        .connect_with(options)
        .await
        .expect("the cluster's PostgreSQL can be reached")
}
