//! Errors as RFC 9457 problems, each with a type that `docs/deals-api.yaml` lists.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::types::cleaned;

/// Prefix of the problems' type URIs.
pub const TYPES: &str = "https://torpor.dev/problems/";

/// Media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Value of Retry-After, in seconds, for a market that cannot be reached.
const RETRY_AFTER: u32 = 5;

/// Type of a problem. [`ProblemType::title`] has the meaning of each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "each has its title below")]
pub enum ProblemType {
    InvalidRequest,
    InvalidRestore,
    Unauthenticated,
    UnknownKey,
    NotFound,
    MethodNotAllowed,
    StaleEpoch,
    BodyTooLarge,
    UnsupportedMediaType,
    Misconfigured,
    MarketInvalid,
    MarketRefused,
    MarketUnreachable,
    MarketTimeout,
}

impl ProblemType {
    /// Every type.
    pub const ALL: [Self; 14] = [
        Self::InvalidRequest,
        Self::InvalidRestore,
        Self::Unauthenticated,
        Self::UnknownKey,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::StaleEpoch,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::Misconfigured,
        Self::MarketInvalid,
        Self::MarketRefused,
        Self::MarketUnreachable,
        Self::MarketTimeout,
    ];

    /// Returns the last part of the type URI.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::InvalidRestore => "invalid-restore",
            Self::Unauthenticated => "unauthenticated",
            Self::UnknownKey => "unknown-key",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::StaleEpoch => "stale-epoch",
            Self::BodyTooLarge => "body-too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::Misconfigured => "misconfigured",
            Self::MarketInvalid => "market-invalid",
            Self::MarketRefused => "market-refused",
            Self::MarketUnreachable => "market-unreachable",
            Self::MarketTimeout => "market-timeout",
        }
    }

    /// Returns the title.
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request does not follow the Deals API",
            Self::InvalidRestore => "The bridge did not issue this restore payload",
            Self::Unauthenticated => "The token is missing, or the bridge does not accept it",
            Self::UnknownKey => "The bridge does not know the key that the token is signed with",
            Self::NotFound => "The path does not exist",
            Self::MethodNotAllowed => "The path does not support this method",
            Self::StaleEpoch => "A newer leader is in charge",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body must be application/json",
            Self::Misconfigured => "The bridge's own configuration cannot be used",
            Self::MarketInvalid => "The market's answer cannot be used",
            Self::MarketRefused => "The market refused the request",
            Self::MarketUnreachable => "The market cannot be reached",
            Self::MarketTimeout => "The market did not answer in time",
        }
    }

    /// Returns the HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::InvalidRestore => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthenticated | Self::UnknownKey => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::StaleEpoch => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
            Self::MarketInvalid | Self::MarketRefused => StatusCode::BAD_GATEWAY,
            Self::MarketUnreachable => StatusCode::SERVICE_UNAVAILABLE,
            Self::MarketTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Creates a problem of this type, with its detail cleaned and bounded.
    pub fn because(self, detail: impl AsRef<str>) -> Problem {
        Problem { kind: self, detail: cleaned(detail.as_ref()) }
    }
}

/// A problem, as the server answers it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}: {detail}", kind.title())]
pub struct Problem {
    /// The type.
    pub kind: ProblemType,
    /// Cause of this occurrence, for a person.
    pub detail: String,
}

/// The JSON of a problem.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemBody {
    /// URI of the type.
    pub r#type: String,
    /// Title of the type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Cause of this occurrence.
    pub detail: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let body = ProblemBody {
            r#type: format!("{TYPES}{}", self.kind.name()),
            title: self.kind.title().to_owned(),
            status: status.as_u16(),
            detail: self.detail,
        };
        // Strings and a number always serialise.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match self.kind {
            ProblemType::MarketUnreachable => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER.into());
            }
            ProblemType::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ProblemType::UnknownKey => {
                const CHALLENGE: &str = "Bearer error=\"invalid_token\"";
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            }
            _ => {}
        }
        response
    }
}
