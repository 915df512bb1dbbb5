//! Answers that the proxy makes itself: one error type, one match from each fault to what the client sees.
//!
//! Bodies have the API's own error shape, so that SDKs raise their usual exceptions; `mindweave-reason` says that it was
//! the proxy and why. Clients retry every 5xx and 429 on their own account and a retry can be billed again, so each answer
//! also says whether trying again makes sense (`x-should-retry`, which SDKs obey).

mod face;
mod refused;

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use mindweave_metering::{Outcome, ScanFault};
use mindweave_policy::CredentialForm;
use serde::Serialize;

use self::face::{Face, Retry};
pub(crate) use self::refused::{PolicyDenial, RuleRefusal};
use crate::body::RequestEnd;
use crate::reach::{Reach, Unanswered};
use crate::tap::ResponseBody;
use crate::upstream::UpstreamError;

const MINDWEAVE_REASON: HeaderName = HeaderName::from_static("mindweave-reason");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Beyond this no client should try again by itself: some SDKs do not wait for so long and try in vain, others sleep inside the call
/// for longer than its timeout. `retry-after` still says when.
const LONGEST_SDK_WAIT: Duration = Duration::from_secs(60);

/// Why the proxy answers in place of the API.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the MindWeave key is not known or was revoked")]
    KeyUnknown,
    #[error("the MindWeave key has expired")]
    KeyExpired,
    #[error("the credential is not registered to a project")]
    CredentialNotRegistered,
    #[error("the project does not accept this form of credential")]
    CredentialFormNotAccepted { accepted: Vec<CredentialForm> },
    #[error("metadata that the project requires is missing")]
    MetadataMissing { names: Vec<Arc<str>> },
    #[error("the project has no Claude key")]
    UpstreamKeyMissing,
    #[error("no default project is known")]
    DefaultProjectMissing,
    #[error("the control plane has not said yet what is in force")]
    NoSnapshot,
    #[error("the method is not supported by a gateway")]
    MethodNotSupported,
    #[error("a transfer coding other than chunked")]
    TransferCodingUnsupported,
    #[error("more than one host")]
    HostAmbiguous,
    #[error("the request target is not a path")]
    TargetInvalid,
    #[error("the request body is longer than {limit} bytes")]
    RequestTooLarge { limit: u64 },
    #[error("the request body did not arrive whole")]
    RequestIncomplete,
    #[error("the request body cannot be relied on")]
    BodyUnreadable(#[source] ScanFault),
    #[error("the request body names too many things to check them all")]
    BodyTooVaried,
    #[error("no memory is left for request bodies that are held")]
    HeldBodiesFull,
    #[error("a policy denies the request")]
    PolicyDenied(Box<PolicyDenial>),
    #[error("a limit or a budget refuses the request")]
    RuleRefused(Box<RuleRefusal>),
    #[error("the journal is full")]
    JournalFull,
    #[error("the journal cannot be written")]
    JournalFailed,
    #[error("no answer from upstream")]
    Upstream(#[source] UpstreamError),
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: ErrorDetail<'a>,
}

#[derive(Serialize)]
struct ErrorDetail<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<ErrorDetails>,
}

#[derive(Serialize)]
struct ErrorDetails {
    error_code: &'static str,
}

impl ProxyError {
    /// The reasons of all faults, for those who count by reason.
    pub(crate) fn reasons() -> impl Iterator<Item = &'static str> {
        Face::ALL.into_iter().map(|face| face.reason)
    }

    /// The stable reason of this fault, of a closed set.
    pub(crate) fn reason(&self) -> &'static str {
        Face::of(self).reason
    }

    /// The reason that the client is told: the policy's own where one denied.
    fn told_reason(&self) -> HeaderValue {
        let own = match self {
            Self::PolicyDenied(denial) => HeaderValue::from_str(&denial.reason).ok(),
            _ => None,
        };
        own.unwrap_or(HeaderValue::from_static(self.reason()))
    }

    /// The status that the client gets.
    pub(crate) fn status(&self) -> u16 {
        Face::of(self).status
    }

    /// The `error.type` that the client gets.
    pub(crate) fn error_type(&self) -> &'static str {
        Face::of(self).kind
    }

    /// What the client is told.
    fn message(&self, face: &Face) -> Cow<'_, str> {
        match self {
            Self::RequestTooLarge { limit } => {
                format!("{} The limit here is {limit} bytes.", face.message).into()
            }
            Self::CredentialFormNotAccepted { accepted } => {
                let names: Vec<_> = accepted.iter().map(|form| form.as_str()).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                format!("{} It accepts: {names}.", face.message).into()
            }
            Self::MetadataMissing { names } => {
                format!("{} Missing: {}.", face.message, names.join(", ")).into()
            }
            Self::BodyUnreadable(fault) => format!("{} Here, {fault}.", face.message).into(),
            Self::PolicyDenied(denial) if !denial.message.is_empty() => Cow::Borrowed(&denial.message),
            Self::RuleRefused(refused) => Cow::Borrowed(&refused.message),
            _ => Cow::Borrowed(face.message),
        }
    }

    /// The whole answer.
    pub(crate) fn response(&self) -> Response<ResponseBody> {
        let face = Face::of(self);
        let message = self.message(&face);
        let details = face.error_code.map(|error_code| ErrorDetails { error_code });
        let detail = ErrorDetail { kind: face.kind, message: &message, details };
        let body = ErrorBody { kind: "error", error: detail };
        let body = serde_json::to_vec(&body).unwrap_or_default(); // strings always serialise
        let mut response = Response::new(ResponseBody::Own(Some(Bytes::from(body))));
        *response.status_mut() = StatusCode::from_u16(face.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(MINDWEAVE_REASON, self.told_reason());
        let should_retry = match face.retry {
            Retry::Pointless => false,
            Retry::Sensible => true,
            Retry::After(wait) => wait <= LONGEST_SDK_WAIT,
        };
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(if should_retry { "true" } else { "false" }));
        if let Retry::After(wait) = face.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Self::RuleRefused(refused) = self {
            refused.show_limits(headers);
        }
        response
    }
}

impl ProxyError {
    /// What a request without an answer ended with. `request` tells a failure of the client from one of the API.
    pub(crate) fn unanswered(error: UpstreamError, request: RequestEnd) -> Self {
        match request {
            RequestEnd::TooLarge { limit } => Self::RequestTooLarge { limit },
            RequestEnd::Broken => Self::RequestIncomplete,
            RequestEnd::Open | RequestEnd::Complete => Self::Upstream(error),
        }
    }

    /// How the exchange ended, for its event.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Upstream(error) => error.outcome_without_answer(),
            Self::RequestIncomplete => Outcome::ClientGone,
            Self::JournalFailed | Self::JournalFull => Outcome::Denied,
            Self::KeyUnknown
            | Self::KeyExpired
            | Self::CredentialNotRegistered
            | Self::CredentialFormNotAccepted { .. }
            | Self::MetadataMissing { .. }
            | Self::UpstreamKeyMissing
            | Self::DefaultProjectMissing
            | Self::NoSnapshot
            | Self::MethodNotSupported
            | Self::TransferCodingUnsupported
            | Self::HostAmbiguous
            | Self::TargetInvalid
            | Self::RequestTooLarge { .. }
            | Self::BodyUnreadable(_)
            | Self::BodyTooVaried
            | Self::HeldBodiesFull
            | Self::PolicyDenied(_)
            | Self::RuleRefused(_) => Outcome::Denied,
        }
    }

    /// The limit or budget that refuses.
    pub(crate) fn refused_by(&self) -> Option<Arc<str>> {
        match self {
            Self::RuleRefused(refused) => Some(Arc::clone(&refused.refusal.id)),
            _ => None,
        }
    }

    /// Whether the API may have worked on the request.
    pub(crate) fn reach(&self) -> Reach {
        let Self::Upstream(error) = self else { return Reach::NotForwarded };
        match error {
            UpstreamError::BreakerOpen { .. }
            | UpstreamError::ConnectTimeout
            | UpstreamError::Connect(_)
            | UpstreamError::Tls(_)
            | UpstreamError::RequestStalled
            | UpstreamError::RequestBody(_)
            | UpstreamError::Target => Reach::NotForwarded,
            UpstreamError::ResponseTimeout | UpstreamError::IdleTimeout => {
                Reach::Unanswered(Unanswered::Timeout)
            }
            UpstreamError::ClosedEarly(_) | UpstreamError::Cut(_) => Reach::Unanswered(Unanswered::Closed),
            UpstreamError::Malformed(_) | UpstreamError::UnexpectedSwitch => {
                Reach::Unanswered(Unanswered::Invalid)
            }
        }
    }
}

impl UpstreamError {
    /// How an exchange ended whose answer broke off with this.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::IdleTimeout | Self::ResponseTimeout | Self::ConnectTimeout | Self::RequestStalled => {
                Outcome::Deadline
            }
            Self::RequestBody(_) => Outcome::ClientGone,
            Self::BreakerOpen { .. }
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::ClosedEarly(_)
            | Self::Malformed(_)
            | Self::UnexpectedSwitch
            | Self::Cut(_)
            | Self::Target => Outcome::UpstreamCut,
        }
    }

    /// How an exchange ended that got no answer at all.
    fn outcome_without_answer(&self) -> Outcome {
        match self.outcome() {
            Outcome::UpstreamCut => Outcome::UpstreamError,
            outcome => outcome,
        }
    }
}

/// An error as logs take it, with its whole chain of causes.
pub(crate) fn chain<E: Error + 'static>(error: &E) -> &(dyn Error + 'static) {
    error
}

/// A wait for `retry-after`, which counts in seconds: rounded up, or the client comes back just too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_in_whole_seconds_and_never_as_zero() {
        let rows = [(0, 1), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (30_000, 30)];
        for (millis, seconds) in rows {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }

    #[test]
    fn statuses_and_reasons_are_fit_to_be_sent() {
        let errors = [
            ProxyError::KeyUnknown,
            ProxyError::KeyExpired,
            ProxyError::CredentialNotRegistered,
            ProxyError::CredentialFormNotAccepted { accepted: CredentialForm::ALL.into() },
            ProxyError::MetadataMissing { names: vec!["team".into()] },
            ProxyError::UpstreamKeyMissing,
            ProxyError::DefaultProjectMissing,
            ProxyError::NoSnapshot,
            ProxyError::MethodNotSupported,
            ProxyError::TransferCodingUnsupported,
            ProxyError::HostAmbiguous,
            ProxyError::TargetInvalid,
            ProxyError::RequestTooLarge { limit: 1 },
            ProxyError::RequestIncomplete,
            ProxyError::JournalFull,
            ProxyError::JournalFailed,
            ProxyError::Upstream(UpstreamError::BreakerOpen { retry_after: Duration::from_secs(3) }),
            ProxyError::Upstream(UpstreamError::ConnectTimeout),
            ProxyError::Upstream(UpstreamError::ResponseTimeout),
            ProxyError::Upstream(UpstreamError::IdleTimeout),
            ProxyError::Upstream(UpstreamError::RequestStalled),
            ProxyError::Upstream(UpstreamError::Target),
        ];
        for error in errors {
            let response = error.response();
            assert_eq!(response.status().as_u16(), error.status(), "{error}");
            let reason = response.headers()[MINDWEAVE_REASON].to_str().unwrap();
            assert!(ProxyError::reasons().any(|one| one == reason), "{reason} is not counted");
            assert!(reason.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{reason}");
            // A wait is promised exactly where another attempt makes sense after it.
            let waits = response.headers().contains_key(RETRY_AFTER);
            assert!(!waits || response.headers()[X_SHOULD_RETRY] == "true", "{error}");
        }
    }

    #[test]
    fn a_wait_of_over_a_minute_is_told_but_not_left_to_the_sdk() {
        let spec = serde_json::json!({
            "id": "lim_1", "org_id": "org_1", "name": "tpm", "scope": { "key": "*" },
            "metric": "tokens_per_minute", "limit": 10,
        });
        let limit = Arc::new(serde_json::from_value(spec).unwrap());
        for (seconds, should_retry) in [(1, "true"), (60, "true"), (61, "false"), (431, "false")] {
            let refusal = mindweave_policy::Refusal {
                kind: mindweave_policy::RefusalKind::RateLimited { limit: Arc::clone(&limit) },
                id: "lim_1".into(),
                subject: "key_1".into(),
                retry_after: Some(Duration::from_secs(seconds)),
                headers: mindweave_policy::RateLimitHeaders::default(),
            };
            let refused = RuleRefusal { refusal, message: String::new(), shows_limits: false };
            let response = ProxyError::RuleRefused(Box::new(refused)).response();
            assert_eq!(response.headers()[X_SHOULD_RETRY], should_retry, "{seconds}");
            assert_eq!(response.headers()[RETRY_AFTER], seconds.to_string());
        }
    }
}
