//! Errors of the protocol and their HTTP statuses.

use std::fmt;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::Refused;

/// The code of a gRPC status, as far as the Node uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Code {
    Unknown,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
}

impl Code {
    /// The default.
    pub fn unknown() -> Self {
        Self::Unknown
    }

    /// The HTTP status that stands for it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An error of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    pub code: Code,
    pub message: String,
}

impl RpcError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A plain error, without a code of its own.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::new(Code::Unknown, message)
    }

    /// What the client is told.
    pub fn body(&self) -> Value {
        json!({"error": self.to_string()})
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rpc error: code = {:?} desc = {}", self.code, self.message)
    }
}

impl From<Refused> for RpcError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Missing(why) => Self::new(Code::NotFound, why),
            Refused::Conflict(why) => Self::plain(why),
        }
    }
}
