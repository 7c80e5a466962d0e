//! What an answer means. Whatever is not exactly as the contract has it is an error.

use axum::http::StatusCode;

use super::exchange::{Answer, Call};
use super::{Error, Look};
use crate::deals::problem::{self, Kind, ProblemBody};
use crate::deals::types::{self, cleaned, is_of_type};

/// A change that was made.
pub(super) fn changed(call: &Call, answer: &Answer) -> Result<(), Error> {
    succeeded(call, answer)?;
    if answer.body.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid(format!("it has a body, which {} has not", answer.status.as_u16())))
}

/// All that binds.
pub(super) fn look(call: &Call, answer: &Answer) -> Result<Look, Error> {
    succeeded(call, answer)?;
    if !is_of_type(&answer.headers, types::MEDIA_TYPE) {
        return Err(Error::Invalid(format!("it is not {}", types::MEDIA_TYPE)));
    }
    let commitments = serde_json::from_slice(&answer.body)
        .map_err(|error| Error::Invalid(cleaned(&error.to_string())))?;
    Ok(Look { commitments, began: answer.began, complete: answer.complete })
}

fn succeeded(call: &Call, answer: &Answer) -> Result<(), Error> {
    let status = answer.status;
    if status == call.success {
        return Ok(());
    }
    if status.is_redirection() {
        let text = format!("it is a redirect ({}), and none is followed", status.as_u16());
        return Err(Error::Invalid(text));
    }
    if let Some(problem) = problem(answer) {
        return Err(problem);
    }
    let text = format!("{} without a problem of the Deals API", status.as_u16());
    Err(match status {
        // What stands between us and the server says these without knowing the contract.
        StatusCode::SERVICE_UNAVAILABLE => Error::Unreachable(format!("it is answered {text}")),
        StatusCode::GATEWAY_TIMEOUT => Error::Problem(Kind::MarketTimeout.because(text)),
        StatusCode::UNAUTHORIZED => Error::Problem(Kind::Unauthenticated.because(text)),
        _ => Error::Invalid(text),
    })
}

/// The problem that is told, if it is one of the contract, in all its parts.
fn problem(answer: &Answer) -> Option<Error> {
    if !is_of_type(&answer.headers, problem::MEDIA_TYPE) {
        return None;
    }
    let body: ProblemBody = serde_json::from_slice(&answer.body).ok()?;
    let name = body.r#type.strip_prefix(problem::TYPES)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
    let agrees = kind.status() == answer.status && body.status == answer.status.as_u16();
    agrees.then(|| Error::Problem(kind.because(body.detail)))
}
