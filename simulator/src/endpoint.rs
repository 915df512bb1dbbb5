//! The endpoints of the service, one file each, and which request goes where.

mod admin;
mod batches;
mod chat;
mod complete;
mod files;
mod messages;
mod models;
mod multipart;
mod sessions;
mod skills;

use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::intake::RawBody;
use crate::state::State;

pub(crate) use batches::BatchStore;
pub(crate) use files::FileStore;
pub(crate) use multipart::{Upload, UploadReader};

/// Largest bodies, as the service has them.
const MAX_MESSAGES_BYTES: u64 = 32 << 20;
const MAX_BATCH_BYTES: u64 = 256 << 20;
const MAX_FILE_BYTES: u64 = 500 << 20;

/// A request body after its last byte.
pub(crate) enum Received {
    /// Held whole.
    Whole(RawBody),
    /// Read through: only what was found in it is left.
    Upload(Upload),
}

impl Received {
    /// SHA-256 of the bytes as sent.
    pub(crate) fn digest(&self) -> [u8; 32] {
        match self {
            Self::Whole(body) => body.digest,
            Self::Upload(upload) => upload.digest,
        }
    }
}

/// How much of a body this path may have.
pub(crate) fn body_limit(path: &str) -> u64 {
    if path == "/v1/messages/batches" {
        MAX_BATCH_BYTES
    } else if is_upload(path) {
        MAX_FILE_BYTES
    } else {
        MAX_MESSAGES_BYTES
    }
}

/// Whether bodies sent here go through without being held.
pub(crate) fn is_upload(path: &str) -> bool {
    path == "/v1/files"
        || path == "/v1/skills"
        || (path.starts_with("/v1/skills/") && path.ends_with("/versions"))
}

/// Answers a request whose credentials and version are in order.
pub(crate) fn answer(state: &State, exchange: &mut Exchange, received: &Received) -> Result<Answer, Fault> {
    let path = exchange.parts.uri.path().to_owned();
    let method = exchange.parts.method.clone();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let ["v1", resource @ ..] = segments.as_slice() else {
        return Err(Fault::not_found("Not Found"));
    };
    let body = match received {
        Received::Whole(body) => body,
        Received::Upload(upload) => {
            return match resource {
                ["files"] => files::upload(state, exchange, upload),
                _ => skills::create(exchange, upload),
            };
        }
    };
    match (&method, resource) {
        (&Method::POST, ["messages"]) => messages::create(exchange, body),
        (&Method::POST, ["messages", "count_tokens"]) => messages::count_tokens(exchange, body),
        (_, ["messages", "batches", rest @ ..]) => batches::route(state, exchange, rest, body),
        (_, ["models", rest @ ..]) => models::route(exchange, rest),
        (_, ["files", rest @ ..]) => files::route(state, exchange, rest),
        (_, ["skills", rest @ ..]) => skills::route(exchange, rest),
        (&Method::POST, ["complete"]) => complete::create(exchange, body),
        (&Method::POST, ["chat", "completions"]) => chat::create(exchange, body),
        (_, ["sessions", rest @ ..]) => sessions::route(exchange, rest),
        (_, ["organizations", rest @ ..]) => admin::route(exchange, rest),
        (_, ["messages" | "complete", ..]) => Err(wrong_method()),
        _ => Err(Fault::not_found("Not Found")),
    }
}

pub(crate) fn wrong_method() -> Fault {
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}
