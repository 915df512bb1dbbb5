//! The description of the API, OpenAPI 3.1, collected from the handlers, and where it is served: `/openapi.json` for programs,
//! `/docs` for people. Both come from memory, with a tag by which a client that has them gets 304.

mod errors;
mod finish;
mod page;
mod tags;
mod texts;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::etag::tag_of_bytes;
use super::problem::{Code, Fault, ProblemBody};

/// Where the page is, which names its style sheet by a way from there.
pub(super) const PAGE_PATH: &str = "/docs";
/// Where the style sheet of the page is.
pub(super) const STYLE_PATH: &str = "/docs/style.css";
/// Where the document is.
pub(super) const DOCUMENT_PATH: &str = "/openapi.json";

/// What the page may do: show itself, and load its own style sheet.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// Anybody may keep it, and asks each time whether it is still the same.
const REVALIDATE: HeaderValue = HeaderValue::from_static("public, no-cache");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "MindWeave",
        description = "Metering and governance of Claude API traffic: organisations and who may do what in them, projects and their \
keys, policies, limits and budgets, usage and what it costs, and a log of every change.\n\nSend a token: `authorization: Bearer ..`. Bodies \
and answers are JSON. Errors are problem details (RFC 9457) whose `code` never changes its meaning. Lists come in pages: \
give `next_cursor` back as `cursor`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody<'static>, Fault, Code)),
)]
struct Head;

/// What stands before the operations.
pub(super) fn head() -> Document {
    Head::openapi()
}

/// The document and the page, made when they are first asked for.
type Served = Arc<LazyLock<Made, Box<dyn FnOnce() -> Made + Send>>>;

struct Made {
    document: Fixed,
    page: Fixed,
    style: Fixed,
}

/// An answer that is always the same.
#[derive(Clone)]
struct Fixed {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Arc<str>,
}

impl Fixed {
    fn new(content_type: &'static str, body: String) -> Self {
        let tag = HeaderValue::from_str(&tag_of_bytes(body.as_bytes()));
        let mut headers =
            vec![(CONTENT_TYPE, HeaderValue::from_static(content_type)), (CACHE_CONTROL, REVALIDATE)];
        headers.extend(tag.map(|tag| (ETAG, tag)));
        Self { headers, body: body.into() }
    }
}

impl IntoResponse for Fixed {
    fn into_response(self) -> Response {
        let mut response = self.body.to_string().into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

fn make(document: &Document) -> Made {
    let document = finish::finish(document);
    let mut page = Fixed::new("text/html; charset=utf-8", page::render(&document));
    page.headers.push((CONTENT_SECURITY_POLICY, PAGE_POLICY));
    Made {
        document: Fixed::new("application/json", text(&document)),
        page,
        style: Fixed::new("text/css; charset=utf-8", page::STYLE.to_owned()),
    }
}

/// The document as it is served and committed: a line for each value, so that a difference can be read.
fn text(document: &Value) -> String {
    format!("{document:#}\n")
}

/// Serves the document and its page.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(document: Document) -> Router<S> {
    let made: Served = Arc::new(LazyLock::new(Box::new(move || make(&document))));
    Router::new()
        .route(DOCUMENT_PATH, get(|State(made): State<Served>| async move { made.document.clone() }))
        .route(PAGE_PATH, get(|State(made): State<Served>| async move { made.page.clone() }))
        .route(STYLE_PATH, get(|State(made): State<Served>| async move { made.style.clone() }))
        .with_state(made)
}
