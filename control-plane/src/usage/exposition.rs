//! `GET /v1/metrics`: what this process measures, for whoever runs the installation and reaches the API only. Scrapers better ask the admin
//! port, which wants no token.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::http::problem::{Code, Problem};

/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// What this process measures, in Prometheus' text format.
#[utoipa::path(
    get, path = "/v1/metrics", tag = "installation", operation_id = "metrics",
    responses((status = 200, content_type = "text/plain", body = String)),
    extensions(("x-access" = json!("installation:read"))),
)]
async fn metrics(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    caller.installation(Access::read(Area::Installation))?;
    let Some(render) = app.metrics else {
        return Err(Problem::new(Code::NotFound, "this control plane shows no metrics"));
    };
    let headers = [(CONTENT_TYPE, TEXT_FORMAT), (CACHE_CONTROL, "no-store")];
    Ok((headers, render()).into_response())
}
