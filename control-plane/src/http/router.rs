//! All routes, and what every request passes through: an id, a deadline, the token, a body limit.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http_body::Body;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{self, Gate, HEALTH_PATH};
use super::cors::{self, AllowedOrigins};
use super::forwarded::TrustedProxies;
use super::problem::{Code, Problem};
use super::security_headers::{self, Transport};
use super::settings::HttpSettings;
use super::{compression, conditional, idempotency, openapi, origin};
use crate::app::App;
use crate::proxies::{Door, Tokens};
use crate::{
    analytics, audit, credentials, governance, identity, intake, invitations, keys, members, orgs, privacy,
    projects, proxies, service_accounts, sign_on, teams, usage,
};

/// Longest body of any request: names, labels and a credential fit many times over.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Longest body of a request of governance: a policy's text and data of a megabyte each, escaped.
const MAX_POLICY_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Longest time to an answer's head, arrival of the body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What stands between clients and every route.
#[derive(Debug)]
pub(crate) struct Edge {
    trusted: TrustedProxies,
    origins: AllowedOrigins,
    transport: Transport,
}

impl Edge {
    /// As configured, for a listener that speaks this.
    pub(crate) fn new(settings: HttpSettings, transport: Transport) -> Self {
        let HttpSettings { trusted_proxies, cors_origins, rate_limits: _ } = settings; // the gate counts
        let trusted = TrustedProxies::new(trusted_proxies);
        Self { trusted, origins: AllowedOrigins::new(cors_origins), transport }
    }
}

/// Builds the API, and beside it what proxies and other producers of events use, whose routes come with their own state.
pub(crate) fn build(
    app: App,
    gate: Gate,
    edge: Edge,
    internal: Router<App>,
    door: Door,
    events: Router<App>,
) -> Router {
    let tokens = door.tokens().clone();
    let internal = internal.layer(middleware::from_fn_with_state(door, proxies::require));
    let (public, mut document) = public_routes().split_for_parts();
    let (protected, protected_document) = protected_routes(tokens).split_for_parts();
    document.merge(protected_document);
    document.merge(intake::document());
    let protected = protected
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), idempotency::once))
        .layer(middleware::from_fn_with_state(gate.clone(), auth::require));
    let public = public
        .merge(openapi::routes(document))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(gate, auth::anonymous));
    let api = protected
        .merge(public)
        .layer(middleware::from_fn(conditional::not_modified))
        .layer(compression::layer())
        .layer(middleware::from_fn(compression::tag_codings));
    api.merge(internal)
        .merge(events.method_not_allowed_fallback(method_not_allowed))
        .layer(middleware::from_fn(readable_path))
        .layer(middleware::from_fn(deadline))
        .layer(middleware::from_fn(close_after_refused_body))
        // Outside of all that may refuse: refusals are answers too.
        .layer(middleware::from_fn_with_state(edge.origins, cors::guard))
        .layer(middleware::from_fn_with_state(edge.transport, security_headers::add))
        .layer(middleware::from_fn_with_state(edge.trusted, origin::note))
        .with_state(app)
}

/// What answers without a token.
fn public_routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(health))
        .merge(identity::public_routes())
        .merge(identity::mfa::public_routes())
        .merge(identity::passkeys::public_routes())
        .merge(sign_on::public_routes())
}

/// What wants one.
fn protected_routes(tokens: Tokens) -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(projects::routes())
        .merge(keys::routes())
        .merge(credentials::routes())
        .merge(usage::routes())
        .merge(analytics::routes())
        .merge(identity::routes())
        .merge(orgs::routes())
        .merge(privacy::routes())
        .merge(audit::routes())
        .merge(teams::routes())
        .merge(identity::api_tokens::routes())
        .merge(identity::mfa::routes())
        .merge(identity::passkeys::routes())
        .merge(service_accounts::routes())
        .merge(members::routes())
        .merge(invitations::routes())
        .merge(sign_on::routes())
        .merge(proxies::routes(tokens))
        .merge(governance::routes().layer(DefaultBodyLimit::max(MAX_POLICY_BODY_BYTES)))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Health {
    /// Always `ok`.
    status: &'static str,
    /// Of MindWeave.
    version: &'static str,
}

/// Whether this process answers.
#[utoipa::path(
    get, path = HEALTH_PATH, tag = "system", operation_id = "health_view",
    responses((status = 200, body = Health, description = "It does.")),
    extensions(("x-access" = json!("public"))),
)]
async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at {}", uri.path()))
}

/// Also answers `OPTIONS`, whose answer is the `allow` header.
async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = "this path does not take this method; the allow header names those it takes";
    Problem::new(Code::MethodNotAllowed, detail).into_response()
}

/// Refuses paths whose escapes are no UTF-8: no handler could read their parts.
async fn readable_path(request: Request, next: Next) -> Response {
    if is_readable(request.uri().path()) {
        return next.run(request).await;
    }
    Problem::new(Code::InvalidParameter, "the path is not percent-encoded UTF-8").into_response()
}

fn is_readable(path: &str) -> bool {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        // What is no escape stands for itself, as where parts are read.
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part.bytes().skip(2));
            }
            None => bytes.extend(part.bytes()),
        }
    }
    std::str::from_utf8(&bytes).is_ok()
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
