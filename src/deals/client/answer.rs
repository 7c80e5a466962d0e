//! Reads the server's answer. An answer that differs from the contract is an error.

use axum::http::StatusCode;

use super::exchange::{Answer, Call};
use super::{Error, Observation};
use crate::deals::problem::{self, ProblemBody, ProblemType};
use crate::deals::types::{self, cleaned, is_of_type};

/// Checks the answer to a change.
pub(super) fn changed(call: &Call, answer: &Answer) -> Result<(), Error> {
    succeeded(call, answer)?;
    if answer.body.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "its status {} forbids a body, and it has one",
        answer.status.as_u16()
    )))
}

/// Returns the observation in an answer to `GET /v1/commitments`.
pub(super) fn observation(call: &Call, answer: &Answer) -> Result<Observation, Error> {
    succeeded(call, answer)?;
    if !is_of_type(&answer.headers, types::MEDIA_TYPE) {
        return Err(Error::Invalid(format!("its Content-Type is not {}", types::MEDIA_TYPE)));
    }
    let commitments = serde_json::from_slice(&answer.body)
        .map_err(|error| Error::Invalid(cleaned(&error.to_string())))?;
    Ok(Observation { commitments, began: answer.began, complete: answer.complete })
}

fn succeeded(call: &Call, answer: &Answer) -> Result<(), Error> {
    let status = answer.status;
    if status == call.success {
        return Ok(());
    }
    if status.is_redirection() {
        let text =
            format!("it is a redirect ({}), and Torpor follows no redirect", status.as_u16());
        return Err(Error::Invalid(text));
    }
    if let Some(problem) = problem(answer) {
        return Err(problem);
    }
    let text = format!("{} without a problem of the Deals API", status.as_u16());
    Err(match status {
        // A proxy in between gives these answers without knowing the contract.
        StatusCode::SERVICE_UNAVAILABLE => Error::Unreachable(format!("the answer is {text}")),
        StatusCode::GATEWAY_TIMEOUT => Error::Problem(ProblemType::MarketTimeout.because(text)),
        StatusCode::UNAUTHORIZED => Error::Problem(ProblemType::Unauthenticated.because(text)),
        _ => Error::Invalid(text),
    })
}

/// Returns the problem in an answer, if each of its members follows the contract.
fn problem(answer: &Answer) -> Option<Error> {
    if !is_of_type(&answer.headers, problem::MEDIA_TYPE) {
        return None;
    }
    let body: ProblemBody = serde_json::from_slice(&answer.body).ok()?;
    let name = body.r#type.strip_prefix(problem::TYPES)?;
    let kind = ProblemType::ALL.into_iter().find(|kind| kind.name() == name)?;
    let agrees = kind.status() == answer.status && body.status == answer.status.as_u16();
    agrees.then(|| Error::Problem(kind.because(body.detail)))
}
