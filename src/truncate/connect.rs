//! A connection to the first of the URL's hosts that can do the work.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::time::timeout;

use super::fault::Fault;
use super::report::{Refusal, RefusalReason};
use super::secret::Redactor;
use super::url::Target;

/// The oldest supported server, as `server_version_num`: it can tell the status of an earlier transaction
/// (`pg_xact_status` with `xid8`).
const OLDEST: i32 = 130_000;

/// The longest orderly end of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The reasons for which a connection fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// Another try may work.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Another try ends the same.
    #[error("the server is not supported")]
    Refused(Refusal),
}

/// A connection, and the version of its server.
#[derive(Debug)]
pub(super) struct Connected {
    /// The connection, outside a transaction.
    pub(super) connection: PgConnection,
    /// `server_version_num`.
    pub(super) version: i32,
}

impl Connected {
    /// Ends the transaction and the connection. A pooler drops its own connection to the server where a transaction
    /// is left open.
    pub(super) async fn give_up(mut self) {
        let rollback = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection);
        if matches!(timeout(CLOSE_TIMEOUT, rollback).await, Ok(Ok(_))) {
            self.close().await;
        }
    }

    /// Ends the connection in an orderly way.
    pub(super) async fn close(self) {
        // If it doesn't go politely, the socket is closed all the same.
        let _ = timeout(CLOSE_TIMEOUT, self.connection.close()).await;
    }
}

/// Tries each host in turn, as libpq does: the next one if a host does not answer or is a standby.
pub(super) async fn connect(
    target: &Target,
    redactor: &Redactor,
) -> Result<Connected, ConnectError> {
    let mut last = ConnectError::Fault(Fault::Unreachable("the URL names no host"));
    for host in &target.hosts {
        let options = target.options(host).disable_statement_logging();
        let attempt = async {
            let mut connection = options.connect().await?;
            let version = read_server(&mut connection).await?;
            Ok((connection, version))
        };
        last = match timeout(target.connect_timeout, attempt).await {
            Err(_) => Fault::Unreachable("it did not answer in time").into(),
            Ok(Err(error)) => match Fault::of_connecting(&error, redactor) {
                // As libpq: a server that answers and refuses is the right one.
                fault @ (Fault::Authentication(_) | Fault::NoDatabase) => return Err(fault.into()),
                fault => fault.into(),
            },
            Ok(Ok((connection, server))) => {
                if let Some(refusal) = server.unsupported() {
                    return Err(ConnectError::Refused(refusal));
                }
                if !server.standby {
                    return Ok(Connected { connection, version: server.version });
                }
                Fault::ReadOnly.into()
            }
        };
    }
    Err(last)
}

struct Server {
    version: i32,
    standby: bool,
    banner: String,
}

impl Server {
    fn unsupported(&self) -> Option<Refusal> {
        let what = if !self.banner.starts_with("PostgreSQL ") {
            "the server only speaks PostgreSQL's protocol; its TRUNCATE may be another".to_owned()
        } else if self.version < OLDEST {
            format!("the server is older than PostgreSQL {}", OLDEST / 10_000)
        } else {
            return None;
        };
        Some(RefusalReason::UnsupportedServer.refuse("", what))
    }
}

/// Reads what kind of server this is. The query is one message in the simple protocol, which every pooler carries.
async fn read_server(connection: &mut PgConnection) -> Result<Server, sqlx::Error> {
    let row = sqlx::raw_sql(
        "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4, pg_catalog.pg_is_in_recovery(), \
         pg_catalog.version()",
    )
    .fetch_one(connection)
    .await?;
    Ok(Server { version: row.try_get(0)?, standby: row.try_get(1)?, banner: row.try_get(2)? })
}
