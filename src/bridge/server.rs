//! The Deals API over HTTP: routes, request bodies, start and shutdown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use clap::Args;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::auth::{Expected, KeySource, Verifier};
use super::changes::Changes;
use super::epoch::Epochs;
use super::signature::Signer;
use super::{Error, Market};
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{
    Announcement, Drain, EPOCH_HEADER, LONGEST_BODY, MEDIA_TYPE, Resume, is_of_type,
};
use crate::logging::{self, Format};
use crate::signals;

/// Timeout for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// At shutdown, the timeout for open requests and then for the current step of a drain.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The flags that every bridge has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// Address at which the API is served. Port 0 picks a free port, which the bridge logs
    #[arg(
        long,
        env = "TORPOR_BRIDGE_LISTEN",
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,

    /// Folder with `jwks.json`, the cluster's public keys, and optionally `epoch`, the oldest epoch to
    /// accept. The bridge notices when they change
    #[arg(
        long,
        env = "TORPOR_BRIDGE_CONFIG_DIR",
        value_name = "FOLDER",
        required_unless_present_any = ["insecure_no_authentication", "jwks"]
    )]
    config_dir: Option<PathBuf>,

    /// The cluster's public keys, as /openid/v1/jwks answers them. The bridge then does not read `jwks.json`
    #[arg(long, env = "TORPOR_BRIDGE_JWKS", value_name = "JSON", hide_env_values = true)]
    jwks: Option<String>,

    /// The only audience that a token may have: `deals.torpor.dev/NAMESPACE/KIND/NAME`
    #[arg(
        long,
        env = "TORPOR_BRIDGE_AUDIENCE",
        value_name = "AUDIENCE",
        required_unless_present = "insecure_no_authentication"
    )]
    audience: Option<String>,

    /// Issuer that a token must have: the issuer of the cluster's service account tokens
    #[arg(
        long,
        env = "TORPOR_BRIDGE_ISSUER",
        value_name = "URL",
        required_unless_present = "insecure_no_authentication"
    )]
    issuer: Option<String>,

    /// Subject that a token must have: `system:serviceaccount:NAMESPACE:NAME`, the operator's account
    #[arg(
        long,
        env = "TORPOR_BRIDGE_SUBJECT",
        value_name = "SUBJECT",
        required_unless_present = "insecure_no_authentication"
    )]
    subject: Option<String>,

    /// Answer every request without a token, for a try by hand. --listen must be a loopback address
    #[arg(long, conflicts_with_all = ["audience", "issuer", "subject"])]
    insecure_no_authentication: bool,

    /// Format of the log lines
    #[arg(long, env = "TORPOR_LOG_FORMAT", value_enum, default_value_t = Format::Json)]
    log_format: Format,

    /// Log level, or a filter such as info,torpor=debug. `RUST_LOG` overrides this flag
    #[arg(long, env = "TORPOR_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    log_level: String,
}

impl ServerArgs {
    pub(super) fn start_logging(&self) -> Result<(), Error> {
        let rust_log = std::env::var("RUST_LOG").ok();
        Ok(logging::init(self.log_format, &self.log_level, rust_log.as_deref())?)
    }

    /// Returns the verifier of tokens, or `None` for a bridge on loopback without authentication.
    fn verifier(&self) -> Result<Option<Verifier>, Error> {
        let source = match (&self.jwks, &self.config_dir) {
            (Some(set), _) => Some(KeySource::Given(set.clone())),
            (None, folder) => folder.as_deref().map(KeySource::folder),
        };
        let (source, expected) = match (source, &self.audience, &self.issuer, &self.subject) {
            _ if self.insecure_no_authentication && self.listen.ip().is_loopback() => {
                return Ok(None);
            }
            _ if self.insecure_no_authentication => {
                return Err(Error::Configuration(format!(
                    "--insecure-no-authentication is for a loopback address, and --listen is {}: use 127.0.0.1 or \
                     remove the flag",
                    self.listen
                )));
            }
            (Some(source), Some(audience), Some(issuer), Some(subject)) => {
                let expected = Expected {
                    audience: audience.clone(),
                    issuer: issuer.clone(),
                    subject: subject.clone(),
                };
                if expected.has_empty() {
                    return Err(Error::Configuration(
                        "--audience, --issuer and --subject must not be empty".to_owned(),
                    ));
                }
                (source, expected)
            }
            // Clap requires all four flags.
            _ => {
                return Err(Error::Configuration(
                    "--config-dir or --jwks, --audience, --issuer and --subject are required"
                        .to_owned(),
                ));
            }
        };
        let verifier = Verifier::new(source, expected);
        verifier.map(Some).map_err(|why| Error::Configuration(format!("--jwks is invalid: {why}")))
    }

    /// Serves a market until SIGTERM or SIGINT.
    pub(super) async fn run<M: Market>(self, market: M) -> Result<(), Error> {
        let verifier = self.verifier()?;
        let signer = Signer::new(market.secret(), self.audience.as_deref().unwrap_or_default());
        let epochs = Epochs::new(self.config_dir.as_deref());
        let changes = Changes::new(Arc::new(market), epochs, signer);
        let shared = Arc::new(Shared { verifier, changes });
        let failed = |source| Error::Listen { address: self.listen, source };
        let listener = TcpListener::bind(self.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let termination = signals::termination().map_err(Error::Signals)?;
        let authentication = shared.verifier.is_some();
        tracing::info!(%address, authentication, "the bridge listens");

        let (end, ends) = tokio::sync::watch::channel(false);
        let signalled = async move {
            termination.await;
            tracing::info!("the bridge is shutting down");
            end.send_replace(true);
        };
        let mut until = ends.clone();
        let server = axum::serve(listener, router(shared.clone()))
            .with_graceful_shutdown(async move { drop(until.wait_for(|end| *end).await) });
        let mut deadline = ends;
        tokio::select! {
            result = async { tokio::join!(signalled, server).1 } => result.map_err(Error::Serve)?,
            () = async {
                drop(deadline.wait_for(|end| *end).await);
                tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
            } => {}
        }
        // A step that is cut off here shows in the next observation.
        drop(timeout(SHUTDOWN_TIMEOUT, shared.changes.end()).await);
        Ok(())
    }
}

struct Shared<M> {
    verifier: Option<Verifier>,
    changes: Changes<M>,
}

/// Returns all routes. Only the probes are answered without a token.
fn router<M: Market>(shared: Arc<Shared<M>>) -> Router {
    let api = Router::new()
        .route("/v1/commitments", get(commitments::<M>))
        .route("/v1/maintenance", put(announce::<M>).delete(withdraw_announcement::<M>))
        .route("/v1/drain", post(drain::<M>))
        .route("/v1/resume", post(resume::<M>))
        .fallback(async || {
            ProblemType::NotFound.because("docs/deals-api.yaml lists the paths of the API")
        })
        .method_not_allowed_fallback(async || {
            ProblemType::MethodNotAllowed.because("the header Allow lists the methods of this path")
        })
        .layer(middleware::from_fn_with_state(shared.clone(), authenticate::<M>));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready::<M>))
        .method_not_allowed_fallback(async || {
            ProblemType::MethodNotAllowed.because("the header Allow lists the methods of this path")
        })
        .merge(api)
        .with_state(shared)
}

async fn ready<M: Market>(State(shared): State<Arc<Shared<M>>>) -> Response {
    if shared.verifier.as_ref().is_none_or(Verifier::has_keys) {
        return "ok\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "jwks.json has no usable key: write the keys of /openid/v1/jwks to it\n",
    )
        .into_response()
}

async fn authenticate<M: Market>(
    State(shared): State<Arc<Shared<M>>>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(verifier) = &shared.verifier
        && let Err(problem) = verifier.verify(request.headers())
    {
        tracing::info!(
            problem = problem.kind.name(),
            detail = problem.detail,
            "request refused: not authenticated"
        );
        return problem.into_response();
    }
    next.run(request).await
}

async fn commitments<M: Market>(State(shared): State<Arc<Shared<M>>>) -> Result<Response, Problem> {
    let observed = shared.changes.observe().await.inspect_err(report)?;
    let body = serde_json::to_vec(&observed).map_err(|_| {
        ProblemType::MarketInvalid.because("the commitments cannot be written as JSON")
    })?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response())
}

async fn announce<M: Market>(
    State(shared): State<Arc<Shared<M>>>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (epoch, body): (u64, Announcement) = change(request).await?;
    let at = body.at;
    carry_out(async move { shared.changes.announce(epoch, Some(body)).await }).await?;
    tracing::info!(epoch, %at, "maintenance announced");
    Ok(StatusCode::NO_CONTENT)
}

async fn withdraw_announcement<M: Market>(
    State(shared): State<Arc<Shared<M>>>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let epoch = epoch(&headers)?;
    carry_out(async move { shared.changes.announce(epoch, None).await }).await?;
    tracing::info!(epoch, "announcement withdrawn");
    Ok(StatusCode::NO_CONTENT)
}

async fn drain<M: Market>(
    State(shared): State<Arc<Shared<M>>>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (epoch, body): (u64, Drain) = change(request).await?;
    let [orders, deals, tasks] =
        [&body.orders, &body.deals, &body.tasks].map(|ids| ids.as_slice().len());
    carry_out(async move { shared.changes.drain(epoch, body).await }).await?;
    tracing::info!(epoch, orders, deals, tasks, "drain started");
    Ok(StatusCode::ACCEPTED)
}

async fn resume<M: Market>(
    State(shared): State<Arc<Shared<M>>>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (epoch, body): (u64, Resume) = change(request).await?;
    let orders = body.orders.as_slice().len();
    carry_out(async move { shared.changes.resume(epoch, body).await }).await?;
    tracing::info!(epoch, orders, "orders resumed");
    Ok(StatusCode::NO_CONTENT)
}

/// Completes a change even if the caller closes the connection: the next change must not begin on a
/// half of this change.
async fn carry_out(
    change: impl Future<Output = Result<(), Problem>> + Send + 'static,
) -> Result<(), Problem> {
    let done = tokio::spawn(change).await;
    done.unwrap_or_else(|_| {
        Err(ProblemType::Misconfigured.because(
            "the bridge crashed while it carried out the change: see the log of the bridge",
        ))
    })
    .inspect_err(report)
}

fn report(problem: &Problem) {
    tracing::warn!(problem = problem.kind.name(), detail = problem.detail, "request failed");
}

/// Returns the epoch and the body of a change.
async fn change<T: DeserializeOwned>(request: Request) -> Result<(u64, T), Problem> {
    let (parts, body) = request.into_parts();
    let epoch = epoch(&parts.headers)?;
    if !is_of_type(&parts.headers, MEDIA_TYPE) {
        return Err(ProblemType::UnsupportedMediaType
            .because("the header Content-Type is not application/json"));
    }
    let body = read(body).await?;
    let body = serde_json::from_slice(&body).map_err(|error| {
        ProblemType::InvalidRequest.because(format!("the body is invalid: {error}"))
    })?;
    Ok((epoch, body))
}

fn epoch(headers: &HeaderMap) -> Result<u64, Problem> {
    let mut values = headers.get_all(EPOCH_HEADER).iter();
    let epoch = values.next().filter(|_| values.next().is_none());
    epoch
        .and_then(|value| value.to_str().ok())
        // `parse` accepts a plus sign.
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            ProblemType::InvalidRequest.because(
                "a change needs the header Torpor-Epoch once, with a number from 0 to 2^64-1",
            )
        })
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let body = Limited::new(body, LONGEST_BODY);
    match timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ProblemType::BodyTooLarge.because(format!("the limit is {LONGEST_BODY} bytes")))
        }
        Ok(Err(_)) => {
            Err(ProblemType::InvalidRequest
                .because("the connection broke before the end of the body"))
        }
        Err(_) => Err(ProblemType::InvalidRequest.because("the body did not arrive within 10 s")),
    }
}
