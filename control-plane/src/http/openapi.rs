//! The description of the API, OpenAPI 3.1, collected from the handlers, and where it is served.

use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use crate::app::App;

#[derive(OpenApi)]
#[openapi(info(title = "MindWeave", description = "Metering and governance of Claude API traffic."))]
struct Head;

/// What stands before the operations.
pub(super) fn head() -> Document {
    Head::openapi()
}

/// Serves the document.
pub(super) fn routes(document: Document) -> Router<App> {
    Router::new().route("/openapi.json", get(move || async move { Json(document) }))
}
