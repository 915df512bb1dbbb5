//! HTTP errors of the service: status, type, envelope and the headers that go with them.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use crate::dice::Dice;
use crate::steering::{ErrorBody, Steering};

/// Seconds a throttled client is told to wait unless steered: short, so that retrying tests stay quick.
const DEFAULT_RETRY_AFTER: u64 = 1;

/// An error answer before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    kind: String,
    message: String,
    code: Option<String>,
    body: ErrorBody,
    pub(crate) retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Inner<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Inner<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
struct Details<'a> {
    error_code: &'a str,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: kind_of(status).to_owned(),
            message: message.into(),
            code: None,
            body: ErrorBody::Natural,
            retry_after: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::invalid(format!("{field}: Field required"))
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// Too many bytes: answered by the edge, before the API sees the request.
    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request exceeds the maximum size")
    }

    pub(crate) fn with_code(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
    }

    /// The envelope even where the edge would answer.
    pub(crate) fn in_envelope(mut self) -> Self {
        self.body = ErrorBody::Json;
        self
    }

    /// The error that was asked for, if one was and this attempt is to fail.
    pub(crate) fn steered(steering: &Steering, retry_count: u64) -> Option<Self> {
        let status = StatusCode::from_u16(steering.status?).ok()?;
        if steering.until_retry.is_some_and(|attempts| retry_count >= attempts) {
            return None;
        }
        let message = steering.message.clone().unwrap_or_else(|| message_of(status).to_owned());
        let mut fault = Self::new(status, message);
        if let Some(kind) = &steering.error_type {
            fault.kind.clone_from(kind);
        }
        fault.code.clone_from(&steering.error_code);
        fault.body = steering.error_body;
        // A cap that lasts until the month ends has a code and no time to wait for.
        let throttled = status == StatusCode::TOO_MANY_REQUESTS && fault.code.is_none();
        fault.retry_after = steering.retry_after.or_else(|| throttled.then_some(DEFAULT_RETRY_AFTER));
        Some(fault)
    }

    /// Whether the error comes from the edge in front of the API and is a page instead of an envelope.
    pub(crate) fn is_html(&self) -> bool {
        match self.body {
            ErrorBody::Html => true,
            ErrorBody::Json | ErrorBody::Empty => false,
            ErrorBody::Natural => matches!(self.status.as_u16(), 413 | 502 | 504 | 520..=527),
        }
    }

    /// The value of `x-should-retry`; the edge and unknown trouble say nothing.
    pub(crate) fn should_retry(&self) -> Option<&'static str> {
        match self.status.as_u16() {
            _ if self.is_html() => None,
            429 if self.code.is_some() => Some("false"),
            429 | 500 | 529 => Some("true"),
            408 | 409 | 501..=599 => None,
            _ => Some("false"),
        }
    }

    /// Whether the throttle's own headers go with it.
    pub(crate) fn is_throttle(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS && self.code.is_none()
    }

    /// The body.
    pub(crate) fn body(&self, request_id: &str, dice: &mut Dice) -> Bytes {
        if self.is_html() {
            return page(self.status, dice).into();
        }
        if self.body == ErrorBody::Empty {
            return Bytes::new();
        }
        let details = self.code.as_deref().map(|error_code| Details { error_code });
        let error = Inner { kind: &self.kind, message: &self.message, details };
        let envelope = Envelope { kind: "error", error, request_id };
        serde_json::to_vec(&envelope).unwrap_or_default().into()
    }
}

fn page(status: StatusCode, dice: &mut Dice) -> String {
    let (code, reason) = (status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    format!(
        "<html>\r\n<head><title>{code} {reason}</title></head>\r\n<body>\r\n<center><h1>{code} {reason}</h1></center>\
         \r\n<hr><center>cloudflare</center>\r\n<!-- ray {} -->\r\n</body>\r\n</html>\r\n",
        dice.hex(16)
    )
}

/// The error type that belongs to a status.
pub(crate) fn kind_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    }
}

fn message_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "messages: at least one message is required",
        401 => "invalid x-api-key",
        402 => "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
        403 => "Your API key does not have permission to use the specified resource",
        404 => "Not Found",
        408 => "Request timed out while the body was being read",
        409 => "The resource was changed by another request",
        422 => "The request could not be processed",
        429 => "This request would exceed your organization's rate limit. Please try again later.",
        500 => "Internal server error",
        503 => "The service is temporarily unavailable",
        504 => "The request took too long",
        529 => "Overloaded",
        _ => "The request failed",
    }
}
