//! The answer to a change: what is shown from now on, and beside it what the admin should look at, which is not shown again.

use axum::Json;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::etag::Tagged;

/// An answer whose `ETag` is that of what is shown from now on.
#[derive(Debug)]
pub(super) struct Changed<T> {
    pub(super) shown: T,
    pub(super) body: T,
}

impl<T: Clone> Changed<T> {
    /// Without anything beside it.
    pub(super) fn of(shown: T) -> Self {
        Self { body: shown.clone(), shown }
    }
}

impl<T: Serialize> IntoResponse for Changed<T> {
    fn into_response(self) -> Response {
        let tag = Tagged(self.shown).into_response().headers_mut().remove(ETAG);
        let mut response = Json(self.body).into_response();
        if let Some(tag) = tag {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}
