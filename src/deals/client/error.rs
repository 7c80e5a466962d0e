//! Why a call has not brought what it should, each with the reason of a condition.

use std::time::Duration;

use crate::api::reason::Reason;
use crate::deals::problem::{Kind, Problem};

/// Why a call has not brought what it should. What was asked for by a change may still be done after
/// [`Error::Unreachable`], [`Error::Timeout`] and [`Error::Invalid`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Nobody has said which account the operator runs as.
    #[error(
        "the operator does not know its own service account, by which a server of the Deals API \
         knows it: start it with --service-account NAMESPACE/NAME"
    )]
    NoServiceAccount,
    /// There is no such Service.
    #[error("there is no Service {0}")]
    ServiceNotFound(String),
    /// It is no Service that can be dialled.
    #[error("the Service {service} {why}")]
    ServiceUnusable {
        /// Its name.
        service: String,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate authority cannot be had.
    #[error("the certificate authority of {place}: {why}")]
    AuthorityUnusable {
        /// ConfigMap and key.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The API server gives no token.
    #[error("no token for the account {account}: {why}")]
    TokenRefused {
        /// `NAMESPACE/NAME`.
        account: String,
        /// What the API server said.
        why: String,
    },
    /// The API server did not do what was asked.
    #[error("{what}: {why}")]
    Cluster {
        /// What was asked.
        what: &'static str,
        /// What became of it.
        why: String,
    },
    /// The server is not the one that the authority vouches for, or speaks no TLS.
    #[error("no TLS with the server: {0}")]
    Tls(String),
    /// No connection, or one that broke before it brought an answer.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("the server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The answer cannot be used.
    #[error("the server's answer cannot be used: {0}")]
    Invalid(String),
    /// The server has told what is wrong.
    #[error(transparent)]
    Problem(Problem),
    /// More was to be sent than a request may have. Nothing was.
    #[error("more than one request may have: {0}")]
    TooLarge(String),
}

impl Error {
    /// The reason of a condition; docs/conditions.md has what to do about each.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoServiceAccount => Reason::NoServiceAccount,
            Self::ServiceNotFound(_) => Reason::ServiceNotFound,
            Self::ServiceUnusable { .. } => Reason::ServiceUnusable,
            Self::AuthorityUnusable { .. } => Reason::AuthorityUnusable,
            Self::TokenRefused { .. } => Reason::TokenRefused,
            Self::Cluster { .. } => Reason::ReconcileFailed,
            Self::Tls(_) => Reason::TLSFailed,
            Self::Unreachable(_) => Reason::MarketUnreachable,
            Self::Timeout(_) => Reason::MarketTimeout,
            Self::Invalid(_) => Reason::MarketInvalid,
            Self::TooLarge(_) => Reason::RequestTooLarge,
            Self::Problem(problem) => match problem.kind {
                // What the client never gives cause for: the server is of another contract.
                Kind::InvalidRequest
                | Kind::NotFound
                | Kind::MethodNotAllowed
                | Kind::BodyTooLarge
                | Kind::UnsupportedMediaType
                | Kind::MarketInvalid => Reason::MarketInvalid,
                Kind::InvalidRestore => Reason::InvalidRestore,
                Kind::Unauthenticated => Reason::Unauthenticated,
                Kind::UnknownKey => Reason::UnknownKey,
                Kind::StaleEpoch => Reason::StaleEpoch,
                Kind::Misconfigured => Reason::BridgeMisconfigured,
                Kind::MarketRefused => Reason::MarketRefused,
                Kind::MarketUnreachable => Reason::MarketUnreachable,
                Kind::MarketTimeout => Reason::MarketTimeout,
            },
        }
    }

    /// Whether the server does not know the key that the cluster signs tokens with now.
    pub fn unknown_key(&self) -> bool {
        self.is(Kind::UnknownKey)
    }

    /// Whether a newer leader has been heard of.
    pub fn stale_epoch(&self) -> bool {
        self.is(Kind::StaleEpoch)
    }

    fn is(&self, kind: Kind) -> bool {
        matches!(self, Self::Problem(problem) if problem.kind == kind)
    }
}
