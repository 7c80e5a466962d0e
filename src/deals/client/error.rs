//! Errors of the client, each with the reason of a condition.

use std::time::Duration;

use crate::api::reason::Reason;
use crate::deals::problem::{Problem, ProblemType};

/// A call failed. After [`Error::Unreachable`], [`Error::Timeout`] and [`Error::Invalid`] the server may
/// have made the requested change all the same.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The operator was started without a service account.
    #[error(
        "the operator does not know its own service account, by which a server of the Deals API \
         knows it: start it with --service-account NAMESPACE/NAME"
    )]
    NoServiceAccount,
    /// There is no such Service.
    #[error("Service {0} does not exist: create it, or correct `spec.deals.source`")]
    ServiceNotFound(String),
    /// The Service cannot be dialled.
    #[error("Service {service} {why}")]
    ServiceUnusable {
        /// Name of the Service.
        service: String,
        /// Cause and remedy, after the Service's name.
        why: String,
    },
    /// The certificate authority cannot be read.
    #[error("the certificate authority in {place} cannot be used: {why}")]
    AuthorityUnusable {
        /// ConfigMap and key.
        place: String,
        /// The cause.
        why: String,
    },
    /// The API server issues no token.
    #[error("the API server issues no token for service account {account}: {why}")]
    TokenRefused {
        /// `NAMESPACE/NAME`.
        account: String,
        /// Message of the API server.
        why: String,
    },
    /// A request to the API server failed.
    #[error("{what} failed: {why}")]
    Cluster {
        /// The request.
        what: &'static str,
        /// The cause.
        why: String,
    },
    /// The server's certificate is not of the authority, or the server speaks no TLS.
    #[error("the TLS handshake with the server of the Deals API failed: {0}")]
    Tls(String),
    /// No connection, or one that broke before the answer.
    #[error("the server of the Deals API cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("the server of the Deals API did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The answer differs from the contract.
    #[error("the answer of the server of the Deals API does not follow the contract: {0}")]
    Invalid(String),
    /// The server has answered with a problem.
    #[error(transparent)]
    Problem(Problem),
    /// A request would be larger than the contract permits. Nothing was sent.
    #[error("the request is too large for the Deals API, and was not sent: {0}")]
    TooLarge(String),
}

impl Error {
    /// Returns the reason of the condition. docs/conditions.md has a remedy for each.
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
                // The client sends no such requests: the server implements another contract.
                ProblemType::InvalidRequest
                | ProblemType::NotFound
                | ProblemType::MethodNotAllowed
                | ProblemType::BodyTooLarge
                | ProblemType::UnsupportedMediaType
                | ProblemType::MarketInvalid => Reason::MarketInvalid,
                ProblemType::InvalidRestore => Reason::InvalidRestore,
                ProblemType::Unauthenticated => Reason::Unauthenticated,
                ProblemType::UnknownKey => Reason::UnknownKey,
                ProblemType::StaleEpoch => Reason::StaleEpoch,
                ProblemType::Misconfigured => Reason::BridgeMisconfigured,
                ProblemType::MarketRefused => Reason::MarketRefused,
                ProblemType::MarketUnreachable => Reason::MarketUnreachable,
                ProblemType::MarketTimeout => Reason::MarketTimeout,
            },
        }
    }

    /// Returns whether the server does not know the key by which the cluster signs tokens.
    pub fn unknown_key(&self) -> bool {
        self.is(ProblemType::UnknownKey)
    }

    /// Returns whether the server has seen the epoch of a newer leader.
    pub fn stale_epoch(&self) -> bool {
        self.is(ProblemType::StaleEpoch)
    }

    fn is(&self, kind: ProblemType) -> bool {
        matches!(self, Self::Problem(problem) if problem.kind == kind)
    }
}
