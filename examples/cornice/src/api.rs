//! The API: login and inspection, in hibernate mode too.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{Failure, Settings, store::Store, work};

#[derive(Clone)]
struct Api {
    store: Store,
    hibernate: bool,
    ingest: bool,
}

/// Serves until the process ends. Without hibernate mode the background tasks run beside.
pub(crate) async fn serve(
    store: Store,
    settings: &Settings,
    listen: SocketAddr,
) -> Result<(), Failure> {
    let api = Api { store, hibernate: settings.hibernate_mode, ingest: settings.ingest_enabled };
    if api.hibernate {
        tracing::info!("hibernate mode: background tasks are skipped");
    } else {
        tokio::spawn(work::forever(api.store.clone(), work::Task::Background));
    }
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/mode", get(mode))
        .route("/stats", get(stats))
        .route("/login/{handle}", post(login))
        .with_state(api);
    let listener = tokio::net::TcpListener::bind(listen).await?;
    axum::serve(listener, routes).await?;
    Ok(())
}

/// Ready when the database answers.
async fn healthz(State(api): State<Api>) -> Response {
    match sqlx::query("SELECT 1").execute(&api.store.pool).await {
        Ok(_) => json_response(StatusCode::OK, &json!({"status": "ok"})),
        Err(error) => unavailable(&error.into()),
    }
}

/// The mode that this process was started in.
async fn mode(State(api): State<Api>) -> Response {
    json_response(
        StatusCode::OK,
        &json!({"hibernate": api.hibernate, "ingest": api.ingest, "pod": api.store.recorded_by}),
    )
}

/// The count of rows of each table.
async fn stats(State(api): State<Api>) -> Response {
    async fn counts(store: &Store) -> Result<Value, Failure> {
        let mut counts = serde_json::Map::new();
        for table in store.tables().await? {
            let rows = store.count(&table).await?;
            counts.insert(table, rows.into());
        }
        Ok(Value::Object(counts))
    }
    match counts(&api.store).await {
        Ok(counts) => json_response(StatusCode::OK, &counts),
        Err(error) => unavailable(&error),
    }
}

/// Looks a user up and records the request, as the API does in every mode.
async fn login(State(api): State<Api>, Path(handle): Path<String>) -> Response {
    let recorded = sqlx::query_scalar::<_, i64>(
        "INSERT INTO requests (user_id, path, recorded_by)
         SELECT id, '/login', $2 FROM users WHERE handle = $1 RETURNING id",
    )
    .bind(&handle)
    .bind(&api.store.recorded_by)
    .fetch_optional(&api.store.pool)
    .await;
    match recorded {
        Ok(Some(request)) => {
            json_response(StatusCode::OK, &json!({"user": handle, "request": request}))
        }
        Ok(None) => json_response(StatusCode::NOT_FOUND, &json!({"error": "no such user"})),
        Err(error) => unavailable(&error.into()),
    }
}

fn unavailable(error: &Failure) -> Response {
    tracing::warn!(%error, "the database did not answer");
    json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "the database did not answer"}))
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
