//! `/v1/files`: multipart upload, metadata, list, download, delete.

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use parking_lot::Mutex;
use serde::Serialize;

use super::{Upload, wrong_method};
use crate::answer::Answer;
use crate::clock::Moment;
use crate::dice::Dice;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::heads::Content;
use crate::state::State;

/// Files that are remembered; the oldest are forgotten beyond it. Contents are at most 256 KiB each.
const MAX_FILES: usize = 256;
/// Size of a download that no upload and no steering decides.
const DEFAULT_DOWNLOAD_BYTES: u64 = 1 << 20;
/// Made downloads arrive in pieces of this size.
const PIECE_BYTES: u64 = 64 << 10;
/// Entries of a page unless the request says otherwise.
const DEFAULT_PAGE: usize = 20;

/// The uploaded files, oldest first.
#[derive(Default)]
pub(crate) struct FileStore(Mutex<Vec<StoredFile>>);

#[derive(Clone)]
struct StoredFile {
    metadata: Metadata,
    kept: Option<Bytes>,
    content_seed: u64,
}

#[derive(Clone, Serialize)]
struct Metadata {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    size_bytes: u64,
    created_at: String,
    filename: String,
    mime_type: String,
    downloadable: bool,
}

#[derive(Serialize)]
struct Page<'a> {
    data: Vec<&'a Metadata>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    next_page: Option<String>,
}

#[derive(Serialize)]
struct Deleted<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

pub(super) fn upload(state: &State, exchange: &mut Exchange, upload: &Upload) -> Result<Answer, Fault> {
    let metadata = Metadata {
        kind: "file",
        id: exchange.dice.id("file_"),
        size_bytes: upload.file.bytes,
        created_at: Moment::draw(&mut exchange.dice).with_micros(),
        filename: upload.file.name.clone(),
        mime_type: upload.file.media_type.clone(),
        downloadable: true,
    };
    let [a, b, c, d, e, f, g, h, ..] = upload.file.digest;
    let stored = StoredFile {
        metadata: metadata.clone(),
        kept: upload.file.kept.clone().map(Bytes::from),
        content_seed: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
    };
    let mut files = state.files.0.lock();
    files.retain(|file| file.metadata.id != metadata.id); // the same upload again gets the same id
    if files.len() >= MAX_FILES {
        files.remove(0);
    }
    files.push(stored);
    drop(files);
    exchange.json(&metadata)
}

pub(super) fn route(state: &State, exchange: &mut Exchange, rest: &[&str]) -> Result<Answer, Fault> {
    let method = exchange.parts.method.clone();
    match (&method, rest) {
        (&Method::GET, []) => list(state, exchange),
        (&Method::GET, [id]) => {
            let file = find(state, id).ok_or_else(|| unknown(id))?;
            exchange.json(&file.metadata)
        }
        (&Method::GET, [id, "content"]) => download(state, exchange, id),
        (&Method::DELETE, [id]) => {
            find(state, id).ok_or_else(|| unknown(id))?;
            state.files.0.lock().retain(|file| file.metadata.id != *id);
            exchange.json(&Deleted { id, kind: "file_deleted" })
        }
        (_, [] | [_] | [_, "content"]) => Err(wrong_method()),
        _ => Err(Fault::not_found("Not Found")),
    }
}

fn list(state: &State, exchange: &mut Exchange) -> Result<Answer, Fault> {
    let limit = exchange.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(DEFAULT_PAGE);
    let after = exchange.query("after_id").or_else(|| exchange.query("page")).map(str::to_owned);
    let files = state.files.0.lock().clone();
    // Newest first; a cursor names the last entry of the page before.
    let newest: Vec<&Metadata> = files.iter().rev().map(|file| &file.metadata).collect();
    let cursor = |after: &str| newest.iter().position(|file| after.trim_start_matches("page_") == file.id);
    let start = after.as_deref().and_then(cursor).map_or(0, |at| at.saturating_add(1));
    let data: Vec<&Metadata> = newest.iter().copied().skip(start).take(limit).collect();
    let has_more = newest.len() > start.saturating_add(data.len());
    let last_id = data.last().map(|file| file.id.as_str());
    let next_page = last_id.filter(|_| has_more).map(|id| format!("page_{id}"));
    let first_id = data.first().map(|file| file.id.as_str());
    exchange.json(&Page { data, has_more, first_id, last_id, next_page })
}

/// The bytes of a file: those uploaded while they are kept, else made from a seed, as many as asked for.
fn download(state: &State, exchange: &mut Exchange, id: &str) -> Result<Answer, Fault> {
    let file = find(state, id);
    let mut headers = exchange.head(Content::Binary);
    let mut seed = exchange.dice.next();
    let mut length = DEFAULT_DOWNLOAD_BYTES;
    if let Some(file) = &file {
        if let Ok(media_type) = HeaderValue::from_str(&file.metadata.mime_type) {
            headers.insert(CONTENT_TYPE, media_type);
        }
        seed = file.content_seed;
        length = file.metadata.size_bytes;
    } else if exchange.steering.bytes.is_none() {
        return Err(unknown(id));
    }
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    let length = exchange.steering.bytes.unwrap_or(length);
    let kept = file.and_then(|file| file.kept).filter(|_| exchange.steering.bytes.is_none());
    let pieces: Box<dyn Iterator<Item = Bytes> + Send> = match kept {
        Some(content) => Box::new(std::iter::once(content).filter(|content| !content.is_empty())),
        None => Box::new(MadeBytes { dice: Dice::new(seed), left: length }),
    };
    let encoding = exchange.encoding(true); // binary content is not compressed unless that is asked for
    Answer::made(headers, pieces, Some(length), encoding, &exchange.steering)
        .map_err(|_| crate::exchange::internal())
}

/// Bytes of all values, made as they are sent.
struct MadeBytes {
    dice: Dice,
    left: u64,
}

impl Iterator for MadeBytes {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let size = usize::try_from(self.left.min(PIECE_BYTES)).unwrap_or(0);
        if size == 0 {
            return None;
        }
        self.left = self.left.saturating_sub(PIECE_BYTES);
        let mut piece = Vec::with_capacity(size);
        self.dice.fill(size, &mut piece);
        Some(piece.into())
    }
}

fn find(state: &State, id: &str) -> Option<StoredFile> {
    state.files.0.lock().iter().find(|file| file.metadata.id == id).cloned()
}

fn unknown(id: &str) -> Fault {
    Fault::not_found(format!("File not found: {id}"))
}
