//! What every endpoint shares: problem details, the reading of bodies and queries, cursors, authorisation, the listener.

pub(crate) mod auth;
pub(crate) mod body;
mod compression;
mod conditional;
pub(crate) mod cors;
pub(crate) mod cursor;
pub(crate) mod etag;
pub(crate) mod forwarded;
pub(crate) mod idempotency;
mod openapi;
pub(crate) mod origin;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod rates;
pub(crate) mod router;
pub(crate) mod security_headers;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod sorting;
pub(crate) mod tls;
mod write_deadline;

use serde::Serialize;

/// Entries of a list when the client does not say.
pub(crate) const DEFAULT_PAGE: u64 = 100;
/// Most entries of a list in one answer.
pub(crate) const MAX_PAGE: u64 = 1_000;

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Page<T> {
    /// The entries.
    pub(crate) data: Vec<T>,
    /// Asks for the next page when given back as `cursor`; `null` on the last page.
    pub(crate) next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` from rows that were asked for with one more than that: the surplus row says that
    /// there is another page without a second query.
    pub(crate) fn of(mut rows: Vec<T>, limit: u64, cursor_after: impl FnOnce(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(cursor_after);
        Self { data: rows, next_cursor }
    }
}
