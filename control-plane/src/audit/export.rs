//! An export on its way: read from the database as the client takes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body::Frame;
use serde::Serialize;

use super::csv;
use super::line::{FORMAT, Head, Line};
use super::store::{self, EntryRow};
use super::verify::Anchor;
use super::view::AuditEntry;
use super::walk::BATCH;
use crate::db::{Db, StoreError};
use crate::http::problem::chain as causes;
use crate::tasks::Stop;

/// How an export looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AuditExportFormat)]
pub(super) enum Format {
    /// For `mindweave audit verify`: has everything.
    #[serde(rename = "jsonl")]
    JsonLines,
    /// For spreadsheets: has what the API shows.
    Csv,
}

impl Format {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// What is left to be sent.
pub(super) struct Export {
    pub(super) db: Db,
    pub(super) chain: String,
    pub(super) format: Format,
    /// The last entry that was sent, or behind which the export begins.
    pub(super) after: i64,
    /// The last entry to be sent.
    pub(super) head: Anchor,
    pub(super) stop: Stop,
}

/// Why an export broke off. The client sees an answer that is not complete.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the server stops")]
    Stopped,
    #[error("an entry of the audit log cannot be read: it was not written by this program")]
    Unreadable,
    #[error("an entry cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl Export {
    /// The body that sends it.
    pub(super) fn into_body(self) -> ExportBody {
        ExportBody { next: Some(Box::pin(std::future::ready(self.begin()))) }
    }

    /// What stands before the entries.
    fn begin(self) -> (Option<Self>, Result<Option<Bytes>, BrokenOff>) {
        let first = match self.format {
            Format::Csv => Ok(csv::head().into_bytes()),
            Format::JsonLines => {
                let head = Head {
                    format: FORMAT.to_owned(),
                    chain: self.chain.clone(),
                    after: self.after,
                    head: self.head.into(),
                };
                json_line(&head, Vec::new())
            }
        };
        (Some(self), first.map(|first| Some(first.into())))
    }

    async fn next(mut self) -> (Option<Self>, Result<Option<Bytes>, BrokenOff>) {
        let mut stop = self.stop.clone();
        let rows = tokio::select! {
            () = stop.stopped() => Err(BrokenOff::Stopped),
            rows = store::entries_after(&self.db, &self.chain, self.after, self.head.sequence, BATCH) => {
                rows.map_err(BrokenOff::from)
            }
        };
        let piece = rows.and_then(|rows| self.piece(rows));
        match piece {
            Ok(Some(piece)) => (Some(self), Ok(Some(piece))),
            ended => (None, ended),
        }
    }

    fn piece(&mut self, rows: Vec<EntryRow>) -> Result<Option<Bytes>, BrokenOff> {
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = last.sequence;
        let mut out = Vec::new();
        for row in rows {
            out = match self.format {
                Format::JsonLines => {
                    let hashes = row.hashes().map_err(|_| BrokenOff::Unreadable)?;
                    json_line(&Line::of(&row.entry(&hashes)), out)?
                }
                Format::Csv => {
                    out.extend_from_slice(csv::line(&AuditEntry::try_from(row)?).as_bytes());
                    out
                }
            };
        }
        Ok(Some(out.into()))
    }
}

fn json_line(value: &impl Serialize, mut out: Vec<u8>) -> Result<Vec<u8>, BrokenOff> {
    serde_json::to_writer(&mut out, value)?;
    out.push(b'\n');
    Ok(out)
}

type Next = Pin<Box<dyn Future<Output = (Option<Export>, Result<Option<Bytes>, BrokenOff>)> + Send>>;

/// A response body that reads on when the client takes more.
pub(super) struct ExportBody {
    next: Option<Next>,
}

/// The client only learns that there is no more; why stands in the log.
#[derive(Debug, thiserror::Error)]
#[error("the export broke off")]
pub(super) struct ExportBroken;

impl http_body::Body for ExportBody {
    type Data = Bytes;
    type Error = ExportBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExportBroken>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let Poll::Ready((export, piece)) = next.as_mut().poll(context) else { return Poll::Pending };
        self.next = export.map(|export| -> Next { Box::pin(export.next()) });
        Poll::Ready(match piece {
            Ok(piece) => piece.map(|piece| Ok(Frame::data(piece))),
            Err(error) => {
                tracing::error!(error = %causes(&error), "an export of the audit log broke off");
                Some(Err(ExportBroken))
            }
        })
    }
}
