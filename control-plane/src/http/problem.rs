//! Errors as clients see them: RFC 9457 problem details with a stable `code`.

use std::error::Error;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::db::StoreError;

/// Seconds after which a client should try again when the database was busy.
const BUSY_RETRY_AFTER: &str = "1";

/// What went wrong, as programs tell it apart. The texts never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    Unauthorized,
    Forbidden,
    ClientCertificateRequired,
    CertificateNameMismatch,
    ScopeMissing,
    NotFound,
    MethodNotAllowed,
    InvalidJson,
    InvalidField,
    InvalidParameter,
    InvalidCursor,
    UnsupportedMediaType,
    BodyTooLarge,
    BodyUnreadable,
    CredentialAlreadyRegistered,
    KeyRevoked,
    NameTaken,
    ChangedMeanwhile,
    PreconditionFailed,
    TooMany,
    InvalidEvent,
    InvalidPolicy,
    IntervalNotKept,
    RangeTooWide,
    TooManySubscribers,
    Timeout,
    Busy,
    JournalFull,
    JournalFailed,
    Internal,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden
            | Self::ClientCertificateRequired
            | Self::CertificateNameMismatch
            | Self::ScopeMissing => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidJson
            | Self::InvalidEvent
            | Self::InvalidParameter
            | Self::InvalidCursor
            | Self::BodyUnreadable => StatusCode::BAD_REQUEST,
            Self::InvalidField | Self::InvalidPolicy | Self::IntervalNotKept | Self::RangeTooWide => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::CredentialAlreadyRegistered
            | Self::KeyRevoked
            | Self::NameTaken
            | Self::ChangedMeanwhile
            | Self::TooMany => StatusCode::CONFLICT,
            Self::TooManySubscribers
            | Self::Timeout
            | Self::Busy
            | Self::JournalFull
            | Self::JournalFailed => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// One field or parameter that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// Its name, as the client wrote it.
    pub(crate) field: String,
    /// What is wrong and what to do. Never repeats the value: it may be a secret in the wrong place.
    pub(crate) message: String,
    /// Where in a text of several lines, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    /// See `line`; in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u32>,
}

impl Fault {
    /// A fault of a field as a whole.
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), line: None, column: None }
    }

    fn sentence(&self) -> String {
        let Self { field, message, .. } = self;
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{field}, line {line}, column {column}: {message}"),
            (Some(line), None) => format!("{field}, line {line}: {message}"),
            (None, _) => format!("{field}: {message}"),
        }
    }
}

/// An error answer.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<Fault>,
}

impl Problem {
    /// A problem with a sentence for the person who reads it.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new() }
    }

    /// There is no such thing under this id.
    pub(crate) fn not_found(kind: &str, id: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {kind} with the id {id:?}"))
    }

    /// Some fields or parameters were refused; all of them are named.
    pub(crate) fn faults(code: Code, errors: Vec<Fault>) -> Self {
        let sentences: Vec<_> = errors.iter().map(Fault::sentence).collect();
        Self { code, detail: sentences.join("; "), errors }
    }

    /// Some parts of the request were refused, which `detail` sums up.
    pub(crate) fn with_errors(code: Code, detail: impl Into<String>, errors: Vec<Fault>) -> Self {
        Self { code, detail: detail.into(), errors }
    }

    /// What went wrong.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// Something failed on our side. The cause goes to the log, not to the client.
    pub(crate) fn internal(cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = %chain(cause), "request failed");
        Self::new(Code::Internal, "the request failed on our side; the log of the control plane says why")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_away() {
            tracing::warn!(error = %chain(&error), "the database cannot be reached, or cannot serve now");
            return Self::new(Code::Busy, "the database is busy or cannot be reached; try again in a second");
        }
        if error.is_busy() {
            tracing::warn!(error = %chain(&error), "database busy");
            return Self::new(Code::Busy, "the database is busy; try again in a second");
        }
        if error.is_timeout() {
            tracing::warn!(error = %chain(&error), "a question to the database took too long");
            return Self::new(
                Code::Timeout,
                "the database took too long over it; ask for less time or fewer groups",
            );
        }
        Self::internal(&error)
    }
}

/// The body of a problem. `type` is `about:blank`: `code` tells problems apart.
#[derive(Serialize)]
struct ProblemBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    code: Code,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemBody {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.code,
            detail: &self.detail,
            errors: &self.errors,
        };
        let mut response = (status, Json(body)).into_response();
        let mut set =
            |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
        set(CONTENT_TYPE, "application/problem+json");
        match self.code {
            Code::Unauthorized => drop(set(WWW_AUTHENTICATE, "Bearer realm=\"mindweave\"")),
            Code::Busy | Code::Timeout | Code::JournalFull | Code::JournalFailed => {
                drop(set(RETRY_AFTER, BUSY_RETRY_AFTER));
            }
            _ => {}
        }
        response
    }
}

/// An error with its causes, for the log.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
