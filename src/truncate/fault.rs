//! The faults of a database, in words of our own: the server's may quote secrets.
//!
//! A driver's error may quote host, user or statement, so none is ever passed on as it is: its code
//! or kind picks a text from here. Only PostgreSQL's own message inside a transaction is quoted,
//! after user, hosts and password were taken out.

use std::io::ErrorKind;

use super::report::{RefusalReason, bounded};
use super::secret::Redactor;

/// Most bytes of a message that is quoted from the server.
const QUOTE_LIMIT: usize = 300;

/// A fault of the database or of the way to it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// No connection came about.
    #[error("the database cannot be reached: {0}")]
    Unreachable(&'static str),
    /// The server wants no TLS, or its certificate is not accepted.
    #[error("no TLS connection to the database: {0}")]
    Tls(&'static str),
    /// Only a new run reads the Secret again, and nobody but the database knows that it has
    /// changed: so another try is worth it.
    #[error("the database does not accept this role and password, or this origin (SQLSTATE {0})")]
    Authentication(String),
    /// Any other answer to a new connection. It may quote secrets, so that Torpor does not show it.
    #[error("the database does not accept the connection (SQLSTATE {0})")]
    Rejected(String),
    /// As for authentication: the name comes from the Secret too, and it may be about to be restored.
    #[error("the server has no database of the name in the URL")]
    NoDatabase,
    /// An established connection ended.
    #[error("the connection to the database was cut")]
    ConnectionLost,
    /// Shutdown, crash recovery, start.
    #[error("the database is starting, shutting down or recovering from a crash")]
    Shutdown,
    /// `pg_terminate_backend`, or a shutdown that came within a session: the code is the same.
    #[error("the database ended the session (an administrator, or a shutdown)")]
    SessionEnded,
    /// Connection slots are used up.
    #[error("the database has too many connections")]
    TooManyConnections,
    /// Disk, memory or another resource is used up.
    #[error("the database is out of disk, memory or another resource: {message} (SQLSTATE {code})")]
    Resources {
        /// The error's code.
        code: String,
        /// Its message without secrets.
        message: String,
    },
    /// A standby, or a primary that was made read only.
    #[error("the database is read only at the moment (a standby?)")]
    ReadOnly,
    /// Locks were not free in time.
    #[error("the tables were in use until the lock timeout had passed")]
    LockTimeout,
    /// The same, with the holders of the locks.
    #[error("the tables were in use until the lock timeout had passed: {0}")]
    LockedBy(String),
    /// Chosen as the victim of a deadlock, or it could not be serialized.
    #[error("the database resolved a deadlock or a conflict at the cost of this transaction")]
    Conflict,
    /// A statement ran too long, or an administrator cancelled it: the code is the same.
    #[error("the database ended a statement early: {0}")]
    Cancelled(String),
    /// Another run holds the advisory lock.
    #[error("another torpor truncate runs in this database")]
    Rival,
    /// The whole run took too long; nothing was committed.
    #[error("the truncation was not done in time, and gave up before COMMIT")]
    Deadline,
    /// SIGTERM or SIGINT before COMMIT.
    #[error("the truncation was told to stop, and gave up before COMMIT")]
    Interrupted,
    /// The tables changed between two looks, again and again.
    #[error(
        "the tables were changed (created, dropped, renamed, attached) while Torpor read their definitions"
    )]
    Moving,
    /// Whether COMMIT took place could not be found out.
    #[error(
        "the connection was cut during COMMIT, and whether the tables were emptied is not known: \
         the database did not say; another try does no harm"
    )]
    CommitUnknown,
    /// COMMIT failed for certain.
    #[error("COMMIT did not succeed, and the database says that nothing was changed: {0}")]
    CommitAborted(String),
    /// The role may not.
    #[error("the database refused: {0}")]
    Forbidden(String),
    /// PostgreSQL refused the statement.
    #[error("the database refused: {0}")]
    Refused(String),
    /// A pooler that cannot do transactions.
    #[error("the pooler is in statement mode and allows no transactions: use another of its ports")]
    StatementPooling,
    /// The fence in front of TRUNCATE or COMMIT.
    #[error("the time to be done by has passed by the database's clock")]
    NotAfterPassed,
    /// An answer that cannot be read.
    #[error("the answer of the database does not parse: {0}")]
    Answer(&'static str),
    /// Anything else.
    #[error("the database reported SQLSTATE {code}: {message}")]
    Other {
        /// The error's code.
        code: String,
        /// Its message without secrets.
        message: String,
    },
}

impl Fault {
    /// Returns the reason, if another try would end the same.
    pub(super) fn is_final(&self) -> Option<RefusalReason> {
        match self {
            Self::Forbidden(_) => Some(RefusalReason::MissingPrivilege),
            Self::Refused(_) => Some(RefusalReason::RefusedByDatabase),
            Self::StatementPooling => Some(RefusalReason::UnsupportedServer),
            Self::NotAfterPassed => Some(RefusalReason::NotAfterPassed),
            _ => None,
        }
    }

    /// Returns a message that names the fault and says whether the run changed anything.
    pub(super) fn tell(&self) -> String {
        match self {
            Self::CommitUnknown | Self::CommitAborted(_) => self.to_string(),
            fault => format!("{fault}; nothing was changed"),
        }
    }

    /// Returns the fault that a driver's error means while a connection is established.
    pub(super) fn of_connecting(error: &sqlx::Error, redactor: &Redactor) -> Self {
        match Self::of(error, redactor) {
            Self::Forbidden(_) => Self::Rejected("42501".to_owned()),
            Self::Refused(_) => Self::Rejected("0A000".to_owned()),
            Self::Other { code, .. } | Self::Resources { code, .. } => Self::Rejected(code),
            Self::ConnectionLost => {
                Self::Unreachable("the connection broke before it was established")
            }
            other => other,
        }
    }

    /// Returns the fault that a driver's error means within a session.
    pub(super) fn of(error: &sqlx::Error, redactor: &Redactor) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                Self::of_code(&code, error.message(), redactor)
            }
            // The resolver's errors have no kind of their own.
            sqlx::Error::Io(error) if error.to_string().contains("lookup address") => {
                Self::Unreachable("its name could not be resolved")
            }
            // That is how the driver passes on what rustls says.
            sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
                Self::of_tls(&error.to_string())
            }
            sqlx::Error::Io(error) => Self::of_io(error.kind()),
            sqlx::Error::Tls(error) => Self::of_tls(&error.to_string()),
            sqlx::Error::Protocol(_) => Self::Answer("it breaks the protocol"),
            sqlx::Error::Configuration(_) => Self::Unreachable("the driver cannot use the URL"),
            _ => Self::Answer("it has another form than expected"),
        }
    }

    fn of_io(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ConnectionRefused => Self::Unreachable("the connection was refused"),
            ErrorKind::TimedOut => Self::Unreachable("it did not answer in time"),
            ErrorKind::NotFound => Self::Unreachable("there is no such socket"),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Self::Unreachable("there is no route to it")
            }
            ErrorKind::PermissionDenied => Self::Unreachable("the socket may not be opened"),
            _ => Self::ConnectionLost,
        }
    }

    /// Returns the kind of an error of rustls, which names hosts in its texts.
    fn of_tls(text: &str) -> Self {
        Self::Tls(if text.contains("does not support TLS") {
            "the server does not offer it"
        } else if text.contains("UnknownIssuer") || text.contains("unknown issuer") {
            "its certificate is from an authority that is not trusted: give it with --ca-file \
             (`caSecretRef` of a Hibernation)"
        } else if text.contains("not valid for name") || text.contains("NotValidForName") {
            "its certificate is for another host than the URL names"
        } else if text.contains("xpired") {
            "its certificate has expired"
        } else if text.contains("CaUsedAsEndEntity") {
            "its certificate is an authority's, not a server's"
        } else {
            "the handshake failed"
        })
    }

    fn of_code(code: &str, message: &str, redactor: &Redactor) -> Self {
        let quoted = || bounded(&redactor.clean_foreign(message), QUOTE_LIMIT);
        match code {
            // A pooler's own errors have one code for everything.
            "08P01" if message.contains("statement pooling") => Self::StatementPooling,
            "55P03" => Self::LockTimeout,
            "40001" | "40P01" => Self::Conflict,
            "57014" => Self::Cancelled(quoted()),
            "57P01" | "57P04" | "57P05" => Self::SessionEnded,
            "57P02" | "57P03" => Self::Shutdown,
            "53300" => Self::TooManyConnections,
            "25006" => Self::ReadOnly,
            "28000" | "28P01" => Self::Authentication(code.to_owned()),
            "3D000" => Self::NoDatabase,
            "42501" => Self::Forbidden(quoted()),
            // "cannot truncate a table referenced in a foreign key constraint" and its like; a name
            // with characters that the database's encoding does not have.
            "0A000" | "22P05" => Self::Refused(quoted()),
            // The tables are not what the catalogs said a moment ago.
            "42P01" | "3F000" | "42809" => Self::Moving,
            // Only the fence casts a text to a number.
            "22P02" if message.contains("torpor:") => Self::NotAfterPassed,
            _ if code.starts_with("53") || code.starts_with("58") || code.starts_with("54") => {
                Self::Resources { code: code.to_owned(), message: quoted() }
            }
            _ => Self::Other { code: bounded(code, 16), message: quoted() },
        }
    }
}
