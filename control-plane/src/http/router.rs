//! All routes, and what every request passes through: a deadline, the token, a body limit.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http_body::Body;
use serde::Serialize;

use super::auth::{self, AdminToken, HEALTH_PATH};
use super::problem::{Code, Problem};
use crate::app::App;
use crate::proxies::Door;
use crate::{analytics, credentials, governance, keys, orgs, projects, proxies, usage};

/// Longest body of any request: names, labels and a credential fit many times over.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Longest body of a request of governance: a policy's text and data of a megabyte each, escaped.
const MAX_POLICY_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Longest time to an answer's head, arrival of the body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Builds the API, and beside it what proxies and other producers of events use, whose routes come with their own state.
pub(crate) fn build(
    app: App,
    token: AdminToken,
    internal: Router<App>,
    door: Door,
    events: Router<App>,
) -> Router {
    let tokens = door.tokens().clone();
    let internal = internal.layer(middleware::from_fn_with_state(door, proxies::require));
    Router::new()
        .route(HEALTH_PATH, get(health))
        .merge(projects::routes())
        .merge(keys::routes())
        .merge(credentials::routes())
        .merge(usage::routes())
        .merge(analytics::routes())
        .merge(orgs::routes())
        .merge(proxies::routes(tokens))
        .merge(governance::routes().layer(DefaultBodyLimit::max(MAX_POLICY_BODY_BYTES)))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(token, auth::require))
        .merge(internal)
        .merge(events.method_not_allowed_fallback(method_not_allowed))
        .layer(middleware::from_fn(deadline))
        .layer(middleware::from_fn(close_after_refused_body))
        .with_state(app)
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "this path does not take this method; the allow header names those it takes",
    )
}

async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::Timeout, "the request took too long; try again").into_response(),
    }
}

/// Says that the connection ends where a refusal may have left the request's body unread: it does end then, and a client
/// that was not told would send its next request into nothing.
async fn close_after_refused_body(request: Request, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let mut response = next.run(request).await;
    if has_body && (response.status().is_client_error() || response.status().is_server_error()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
