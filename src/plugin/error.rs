//! Why a command failed.

use crate::apiserver::client::ConnectError;
use crate::apiserver::request;

/// Why a command failed. Each message says what to write instead, where that helps.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Request(#[from] request::Error),
    /// The arguments or the object do not permit the request.
    #[error("{0}")]
    Refused(String),
    #[error("cannot read {file}: {source}")]
    File { file: String, source: std::io::Error },
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
    #[error("cannot print YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
    #[error("cannot print JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Returns the error of a request that is refused, with the reason and the remedy.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }
}
