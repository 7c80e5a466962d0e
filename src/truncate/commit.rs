//! The end of the transaction: done or not is found out, never guessed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use super::connect::connect;
use super::fault::Fault;
use super::outcome::Stop;
use super::run::{READ_TIMEOUT, Run, SAFE_NAMES};
use super::url::Target;

/// Longest COMMIT, which removes the old files.
const COMMIT_TIMEOUT: Duration = Duration::from_mins(10);

/// How long a cut COMMIT is asked after.
const INQUIRY_TIMEOUT: Duration = Duration::from_mins(1);

impl Run<'_> {
    /// COMMIT, with the fence in the same message. If the answer doesn't come, the database is asked.
    pub(super) async fn commit(
        &self,
        connection: &mut PgConnection,
        target: &Target,
        transaction: &str,
    ) -> Result<(), Stop> {
        let statement = format!("{} COMMIT", self.fence());
        self.committing.store(true, Ordering::SeqCst);
        let sent = timeout(COMMIT_TIMEOUT, self.simple(connection, statement)).await;
        let fault = match sent {
            Ok(Ok(())) => return Ok(()),
            // That was said by the statement before COMMIT.
            Ok(Err(fault @ Fault::NotAfterPassed)) => return Err(fault.into()),
            // Whatever else was said, a pooler may have said it, who has not heard the answer either.
            Ok(Err(fault)) => fault,
            Err(_) => Fault::ConnectionLost,
        };
        self.tell(format_args!(
            "COMMIT was not answered; asking the database whether it was done ..."
        ));
        match self.inquire(target, transaction).await {
            Some(true) => Ok(()),
            Some(false) => Err(Fault::CommitAborted(fault.to_string()).into()),
            None => Err(Fault::CommitUnknown.into()),
        }
    }

    /// Whether the transaction was committed after all; `None` where that was not to be found out.
    async fn inquire(&self, target: &Target, transaction: &str) -> Option<bool> {
        let until = Instant::now() + INQUIRY_TIMEOUT;
        while Instant::now() < until {
            // A new connection each time: a server that has just crashed may need a while, and
            // while it is not yet sure that the old one is gone the transaction is in progress.
            if let Ok(Ok(mut session)) = timeout(READ_TIMEOUT, connect(target, self.redactor)).await
            {
                let status = self.status(&mut session.connection, transaction).await;
                session.close().await;
                match status.as_deref() {
                    Some("committed") => return Some(true),
                    Some("aborted") => return Some(false),
                    _ => {}
                }
            }
            sleep(Duration::from_millis(500)).await;
        }
        None
    }

    async fn status(&self, connection: &mut PgConnection, transaction: &str) -> Option<String> {
        // In a transaction, so that a pooler keeps to one server for both parts of the query.
        self.simple(connection, format!("BEGIN READ ONLY; {SAFE_NAMES}")).await.ok()?;
        let query = sqlx::query_scalar("SELECT pg_xact_status($1::text::xid8)");
        let status = query.persistent(false).bind(transaction).fetch_one(&mut *connection).await;
        self.simple(connection, "ROLLBACK").await.ok()?;
        status.ok()?
    }
}
