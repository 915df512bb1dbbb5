//! All routes, and what every request passes through: an id, a deadline, the token, a body limit.

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

use utoipa_axum::router::OpenApiRouter;

use super::auth::{self, Gate, HEALTH_PATH};
use super::problem::{Code, Problem};
use super::{openapi, origin};
use crate::app::App;
use crate::proxies::{Door, Tokens};
use crate::{analytics, credentials, governance, keys, members, orgs, projects, proxies, teams, usage};

/// Longest body of any request: names, labels and a credential fit many times over.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Longest body of a request of governance: a policy's text and data of a megabyte each, escaped.
const MAX_POLICY_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Longest time to an answer's head, arrival of the body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Builds the API, and beside it what proxies and other producers of events use, whose routes come with their own state.
pub(crate) fn build(app: App, gate: Gate, internal: Router<App>, door: Door, events: Router<App>) -> Router {
    let tokens = door.tokens().clone();
    let internal = internal.layer(middleware::from_fn_with_state(door, proxies::require));
    let (public, mut document) = public_routes().split_for_parts();
    let (protected, protected_document) = protected_routes(tokens).split_for_parts();
    document.merge(protected_document);
    let protected = protected
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(gate, auth::require));
    let public = public
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(auth::anonymous));
    protected
        .merge(public)
        .merge(openapi::routes(document))
        .merge(internal)
        .merge(events.method_not_allowed_fallback(method_not_allowed))
        .layer(middleware::from_fn(deadline))
        .layer(middleware::from_fn(close_after_refused_body))
        .layer(middleware::from_fn(origin::note))
        .with_state(app)
}

/// What answers without a token.
fn public_routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::head()).route(HEALTH_PATH, get(health))
}

/// What wants one.
fn protected_routes(tokens: Tokens) -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(projects::routes().into())
        .merge(keys::routes().into())
        .merge(credentials::routes().into())
        .merge(usage::routes().into())
        .merge(analytics::routes().into())
        .merge(orgs::routes())
        .merge(teams::routes())
        .merge(members::routes())
        .merge(proxies::routes(tokens).into())
        .merge(governance::routes().layer(DefaultBodyLimit::max(MAX_POLICY_BODY_BYTES)).into())
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
