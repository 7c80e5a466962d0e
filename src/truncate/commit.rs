//! The end of the transaction: Torpor finds out whether COMMIT was done, and never guesses.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use super::connect::connect;
use super::facts::Transaction;
use super::fault::Fault;
use super::outcome::Stop;
use super::run::{READ_TIMEOUT, Run, SAFE_NAMES};
use super::url::Target;

/// The longest COMMIT, which removes the old files.
const COMMIT_TIMEOUT: Duration = Duration::from_mins(10);

/// The longest inquiry about a COMMIT without an answer.
const INQUIRY_TIMEOUT: Duration = Duration::from_mins(1);

impl Run<'_> {
    /// Sends COMMIT with the fence in the same message. Asks the database where no answer comes.
    pub(super) async fn commit(
        &self,
        connection: &mut PgConnection,
        target: &Target,
        transaction: &Transaction,
    ) -> Result<(), Stop> {
        // COMMIT succeeds even after a failed or missing transaction; a savepoint fails there.
        let statement = format!("SAVEPOINT torpor; {} COMMIT", self.fence());
        self.committing.store(true, Ordering::SeqCst);
        let sent = timeout(COMMIT_TIMEOUT, self.simple(connection, statement)).await;
        let fault = match sent {
            Ok(Ok(())) => return Ok(()),
            // The statement before COMMIT failed.
            Ok(Err(fault @ Fault::NotAfterPassed)) => return Err(fault.into()),
            // Any other answer may be that of a pooler, which has not received the server's.
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

    /// Returns whether the transaction was committed after all; none where the database does not tell.
    async fn inquire(&self, target: &Target, transaction: &Transaction) -> Option<bool> {
        let until = Instant::now() + INQUIRY_TIMEOUT;
        while Instant::now() < until {
            // A new connection each time: a server that has just crashed may need a while, and
            // while it is not yet sure that the old one is gone the transaction is in progress.
            if let Ok(Ok(mut session)) = timeout(READ_TIMEOUT, connect(target, self.redactor)).await
            {
                let asked = self.is_done(&mut session.connection, transaction);
                let done = timeout(READ_TIMEOUT, asked).await.ok().flatten();
                session.give_up().await;
                if done.is_some() {
                    return done;
                }
            }
            sleep(Duration::from_millis(500)).await;
        }
        None
    }

    async fn is_done(
        &self,
        connection: &mut PgConnection,
        transaction: &Transaction,
    ) -> Option<bool> {
        // In a transaction, so that a pooler keeps to one server for both parts of the query.
        self.simple(connection, format!("BEGIN READ ONLY; {SAFE_NAMES}")).await.ok()?;
        let status: Result<Option<String>, sqlx::Error> =
            sqlx::query_scalar("SELECT pg_xact_status($1::text::xid8)")
                .persistent(false)
                .bind(&transaction.id)
                .fetch_one(&mut *connection)
                .await;
        match status {
            Ok(status) => match status.as_deref() {
                Some("aborted") => Some(false),
                // By this very transaction, and not by one that got its id after a crash.
                Some("committed") => {
                    let file: Option<i64> =
                        sqlx::query_scalar("SELECT pg_relation_filenode($1::bigint::oid)::bigint")
                            .persistent(false)
                            .bind(transaction.table)
                            .fetch_one(&mut *connection)
                            .await
                            .ok()?;
                    (file == transaction.file).then_some(true)
                }
                _ => None,
            },
            // "is in the future": the server has crashed and knows nothing of it any more.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("22023") => {
                Some(false)
            }
            Err(_) => None,
        }
    }
}
