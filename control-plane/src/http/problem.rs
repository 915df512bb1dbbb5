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

/// What went wrong, for programs. The texts never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ProblemCode)]
pub(crate) enum Code {
    Unauthorized,
    InvalidCredentials,
    SessionEnded,
    Forbidden,
    SignInRequired,
    ConfirmationRequired,
    RegistrationClosed,
    ClientCertificateRequired,
    CertificateNameMismatch,
    ScopeMissing,
    RoleTooPowerful,
    InvitationForAnother,
    EmailNotVerified,
    NotFound,
    MethodNotAllowed,
    InvalidJson,
    InvalidField,
    InvalidParameter,
    InvalidCursor,
    InvalidLink,
    SignOnRefused,
    ProviderUnavailable,
    MailNotConfigured,
    UnsupportedMediaType,
    BodyTooLarge,
    BodyUnreadable,
    CredentialAlreadyRegistered,
    KeyRevoked,
    DefaultProject,
    NameTaken,
    AlreadyEnabled,
    NotEnabled,
    PasskeysUnavailable,
    LastOwner,
    ManagedBySignOn,
    InvitationInvalid,
    InvitationOver,
    AlreadyInvited,
    NotEmpty,
    HomeOrganisation,
    ChangedMeanwhile,
    PreconditionFailed,
    TooMany,
    TooManyRequests,
    TooManyAttempts,
    InvalidIdempotencyKey,
    IdempotencyKeyReused,
    RequestInProgress,
    AnswerNotKept,
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
            Self::Unauthorized | Self::InvalidCredentials | Self::SessionEnded => StatusCode::UNAUTHORIZED,
            Self::Forbidden
            | Self::SignInRequired
            | Self::ConfirmationRequired
            | Self::SignOnRefused
            | Self::RegistrationClosed
            | Self::ClientCertificateRequired
            | Self::CertificateNameMismatch
            | Self::ScopeMissing
            | Self::RoleTooPowerful
            | Self::InvitationForAnother
            | Self::EmailNotVerified => StatusCode::FORBIDDEN,
            Self::NotFound | Self::InvitationInvalid => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidJson
            | Self::InvalidEvent
            | Self::InvalidParameter
            | Self::InvalidCursor
            | Self::InvalidLink
            | Self::InvalidIdempotencyKey
            | Self::BodyUnreadable => StatusCode::BAD_REQUEST,
            Self::InvalidField
            | Self::InvalidPolicy
            | Self::IdempotencyKeyReused
            | Self::IntervalNotKept
            | Self::RangeTooWide => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests | Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::CredentialAlreadyRegistered
            | Self::KeyRevoked
            | Self::DefaultProject
            | Self::NameTaken
            | Self::AlreadyEnabled
            | Self::NotEnabled
            | Self::PasskeysUnavailable
            | Self::MailNotConfigured
            | Self::LastOwner
            | Self::InvitationOver
            | Self::AlreadyInvited
            | Self::ManagedBySignOn
            | Self::NotEmpty
            | Self::HomeOrganisation
            | Self::ChangedMeanwhile
            | Self::RequestInProgress
            | Self::AnswerNotKept
            | Self::TooMany => StatusCode::CONFLICT,
            Self::TooManySubscribers
            | Self::Timeout
            | Self::Busy
            | Self::JournalFull
            | Self::JournalFailed => StatusCode::SERVICE_UNAVAILABLE,
            Self::ProviderUnavailable => StatusCode::BAD_GATEWAY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// One field or parameter that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
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
    /// Whole seconds.
    retry_after: Option<u64>,
}

impl Problem {
    /// A problem with a sentence for the person who reads it.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self::with_errors(code, detail, Vec::new())
    }

    /// There is no such thing under this id.
    pub(crate) fn not_found(kind: &str, id: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {kind} with the id {id:?}"))
    }

    /// Some fields or parameters were refused; all of them are named.
    pub(crate) fn faults(code: Code, errors: Vec<Fault>) -> Self {
        let sentences: Vec<_> = errors.iter().map(Fault::sentence).collect();
        Self::with_errors(code, sentences.join("; "), errors)
    }

    /// Some parts of the request were refused, which `detail` sums up.
    pub(crate) fn with_errors(code: Code, detail: impl Into<String>, errors: Vec<Fault>) -> Self {
        Self { code, detail: detail.into(), errors, retry_after: None }
    }

    /// Says after how many seconds it is worth trying again.
    #[must_use]
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
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
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'a str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    code: Code,
    /// A sentence or more for the person who reads it. Not for programs: it may change.
    detail: &'a str,
    /// Each field or parameter that was refused.
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Fault],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let retry_after = self.retry_after;
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
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// An error with its causes, for the log.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
