//! What each fault looks like from outside.

mod refusals;

use std::time::Duration;

use super::ProxyError;
use crate::upstream::UpstreamError;

/// How long a client should wait while the journal is full: a shipper that comes back drains it within seconds.
const JOURNAL_FULL_RETRY: Duration = Duration::from_secs(5);
/// How long to wait while the first snapshot is still to come.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(1);

/// Whether the client should send the request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would end the same way, or be billed again.
    Pointless,
    /// Nothing was billed or a client without a gateway would try again, too.
    Sensible,
    /// As above, but not earlier than this.
    After(Duration),
}

/// An answer of our own, but for figures in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Face {
    pub(super) status: u16,
    /// `error.type`, one of the API's.
    pub(super) kind: &'static str,
    /// Stable; the same text in header, log, metric and event.
    pub(super) reason: &'static str,
    /// For the developer who sees it: what is wrong and, where there is something to do, what.
    pub(super) message: &'static str,
    pub(super) retry: Retry,
    /// `error.details.error_code`, where the API has one for the same thing.
    pub(super) error_code: Option<&'static str>,
}

impl Face {
    /// Every answer of our own.
    pub(super) const ALL: [Self; 46] = [
        KEY_UNKNOWN,
        KEY_EXPIRED,
        CREDENTIAL_NOT_REGISTERED,
        CREDENTIAL_FORM_NOT_ACCEPTED,
        METADATA_MISSING,
        UPSTREAM_KEY_MISSING,
        DEFAULT_PROJECT_MISSING,
        NO_SNAPSHOT,
        METHOD_NOT_SUPPORTED,
        TRANSFER_CODING_UNSUPPORTED,
        HOST_AMBIGUOUS,
        TARGET_INVALID,
        REQUEST_TOO_LARGE,
        REQUEST_INCOMPLETE,
        JOURNAL_FULL,
        JOURNAL_FAILED,
        CIRCUIT_OPEN,
        UPSTREAM_CONNECT_TIMEOUT,
        UPSTREAM_UNREACHABLE,
        UPSTREAM_TLS_FAILED,
        UPSTREAM_TIMEOUT,
        REQUEST_STALLED,
        UPSTREAM_CLOSED,
        UPSTREAM_INVALID,
        TARGET_TOO_LONG,
        refusals::UNREADABLE[0],
        refusals::UNREADABLE[1],
        refusals::UNREADABLE[2],
        refusals::UNREADABLE[3],
        refusals::UNREADABLE[4],
        refusals::UNREADABLE[5],
        refusals::UNREADABLE[6],
        refusals::UNREADABLE[7],
        refusals::UNREADABLE[8],
        refusals::REQUEST_TOO_VARIED,
        refusals::HELD_BODIES_FULL,
        refusals::POLICY_DENIED,
        refusals::RATE_LIMITED_REQUESTS,
        refusals::RATE_LIMITED_INPUT_TOKENS,
        refusals::RATE_LIMITED_OUTPUT_TOKENS,
        refusals::RATE_LIMITED_TOKENS,
        refusals::CONCURRENCY_LIMITED,
        refusals::BUDGET_EXHAUSTED,
        refusals::BUDGET_PRICE_UNKNOWN,
        refusals::BUDGET_USE_UNKNOWN,
        refusals::BUDGET_STALE,
    ];

    const fn new(
        status: u16,
        kind: &'static str,
        reason: &'static str,
        message: &'static str,
        retry: Retry,
    ) -> Self {
        Self { status, kind, reason, message, retry, error_code: None }
    }

    /// The one place where faults become answers.
    pub(super) fn of(error: &ProxyError) -> Self {
        match error {
            ProxyError::KeyUnknown => KEY_UNKNOWN,
            ProxyError::KeyExpired => KEY_EXPIRED,
            ProxyError::CredentialNotRegistered => CREDENTIAL_NOT_REGISTERED,
            ProxyError::CredentialFormNotAccepted { .. } => CREDENTIAL_FORM_NOT_ACCEPTED,
            ProxyError::MetadataMissing { .. } => METADATA_MISSING,
            ProxyError::UpstreamKeyMissing => UPSTREAM_KEY_MISSING,
            ProxyError::DefaultProjectMissing => DEFAULT_PROJECT_MISSING,
            ProxyError::NoSnapshot => NO_SNAPSHOT,
            ProxyError::MethodNotSupported => METHOD_NOT_SUPPORTED,
            ProxyError::TransferCodingUnsupported => TRANSFER_CODING_UNSUPPORTED,
            ProxyError::HostAmbiguous => HOST_AMBIGUOUS,
            ProxyError::TargetInvalid => TARGET_INVALID,
            ProxyError::RequestTooLarge { .. } => REQUEST_TOO_LARGE,
            ProxyError::RequestIncomplete => REQUEST_INCOMPLETE,
            ProxyError::BodyUnreadable(fault) => refusals::of_fault(fault),
            ProxyError::BodyTooVaried => refusals::REQUEST_TOO_VARIED,
            ProxyError::HeldBodiesFull => refusals::HELD_BODIES_FULL,
            ProxyError::PolicyDenied(_) => refusals::POLICY_DENIED,
            ProxyError::RuleRefused(refused) => refusals::of_refusal(&refused.refusal),
            ProxyError::JournalFull => JOURNAL_FULL,
            ProxyError::JournalFailed => JOURNAL_FAILED,
            ProxyError::Upstream(error) => Self::of_upstream(error),
        }
    }

    fn of_upstream(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::BreakerOpen { retry_after } => {
                Self { retry: Retry::After(*retry_after), ..CIRCUIT_OPEN }
            }
            UpstreamError::ConnectTimeout => UPSTREAM_CONNECT_TIMEOUT,
            UpstreamError::Connect(_) => UPSTREAM_UNREACHABLE,
            UpstreamError::Tls(_) => UPSTREAM_TLS_FAILED,
            UpstreamError::ResponseTimeout | UpstreamError::IdleTimeout => UPSTREAM_TIMEOUT,
            UpstreamError::RequestStalled => REQUEST_STALLED,
            UpstreamError::ClosedEarly(_) | UpstreamError::Cut(_) => UPSTREAM_CLOSED,
            UpstreamError::Malformed(_) | UpstreamError::UnexpectedSwitch => UPSTREAM_INVALID,
            UpstreamError::RequestBody(_) => REQUEST_INCOMPLETE,
            UpstreamError::Target => TARGET_TOO_LONG,
        }
    }
}

const KEY_UNKNOWN: Face = Face::new(
    401,
    "authentication_error",
    "key_unknown",
    "This MindWeave key is not known here, or it was revoked. Ask your MindWeave admin for a \
     new key.",
    Retry::Pointless,
);
const KEY_EXPIRED: Face = Face::new(
    401,
    "authentication_error",
    "key_expired",
    "This MindWeave key has expired. Ask your MindWeave admin for a new key.",
    Retry::Pointless,
);
const CREDENTIAL_NOT_REGISTERED: Face = Face::new(
    401,
    "authentication_error",
    "credential_not_registered",
    "This gateway serves registered credentials only. Send a MindWeave key (mw_...) in \
     x-mindweave-key or in place of your Claude key, or ask your MindWeave admin to register \
     your Claude key.",
    Retry::Pointless,
);
const CREDENTIAL_FORM_NOT_ACCEPTED: Face = Face::new(
    403,
    "permission_error",
    "credential_form_not_accepted",
    "This project does not accept a credential of this form.",
    Retry::Pointless,
);
const METADATA_MISSING: Face = Face::new(
    400,
    "invalid_request_error",
    "metadata_missing",
    "This project requires metadata. Send it in x-mindweave-metadata as name=value pairs with \
     commas between them, or ask your MindWeave admin for a key with these labels.",
    Retry::Pointless,
);
const UPSTREAM_KEY_MISSING: Face = Face::new(
    401,
    "authentication_error",
    "upstream_key_missing",
    "This MindWeave key's project has no usable Claude key. Ask your MindWeave admin to set \
     one, or send your own Claude key and the MindWeave key in x-mindweave-key.",
    Retry::Pointless,
);
const DEFAULT_PROJECT_MISSING: Face = Face::new(
    503,
    "api_error",
    "default_project_missing",
    "The gateway does not know its default project yet.",
    Retry::After(SNAPSHOT_RETRY),
);
const NO_SNAPSHOT: Face = Face::new(
    503,
    "api_error",
    "no_snapshot",
    "The gateway does not know its keys and projects yet.",
    Retry::After(SNAPSHOT_RETRY),
);
const METHOD_NOT_SUPPORTED: Face = Face::new(
    405,
    "invalid_request_error",
    "method_not_supported",
    "CONNECT is not supported: this is an API gateway, to be used as base URL and not as \
     HTTP proxy.",
    Retry::Pointless,
);
const TRANSFER_CODING_UNSUPPORTED: Face = Face::new(
    501,
    "invalid_request_error",
    "transfer_coding_unsupported",
    "The only supported transfer-encoding is chunked.",
    Retry::Pointless,
);
const HOST_AMBIGUOUS: Face =
    Face::new(400, "invalid_request_error", "host_ambiguous", "A request has one host.", Retry::Pointless);
const TARGET_INVALID: Face = Face::new(
    400,
    "invalid_request_error",
    "target_invalid",
    "The request target must be a path.",
    Retry::Pointless,
);
const REQUEST_TOO_LARGE: Face = Face::new(
    413,
    "request_too_large",
    "request_too_large",
    "The request body exceeds the maximum size of this endpoint.",
    Retry::Pointless,
);
const REQUEST_INCOMPLETE: Face = Face::new(
    400,
    "invalid_request_error",
    "request_incomplete",
    "The request body did not arrive whole.",
    Retry::Pointless,
);
const JOURNAL_FULL: Face = Face::new(
    503,
    "api_error",
    "journal_full",
    "The gateway cannot record usage at the moment and forwards nothing unrecorded.",
    Retry::After(JOURNAL_FULL_RETRY),
);
const JOURNAL_FAILED: Face = Face::new(
    503,
    "api_error",
    "journal_failed",
    "The gateway cannot record usage at the moment and forwards nothing unrecorded.",
    Retry::After(JOURNAL_FULL_RETRY),
);
const CIRCUIT_OPEN: Face = Face::new(
    529,
    "overloaded_error",
    "circuit_open",
    "The Claude API failed repeatedly; the gateway does not try again yet.",
    Retry::Sensible,
);
const UPSTREAM_CONNECT_TIMEOUT: Face = Face::new(
    504,
    "timeout_error",
    "upstream_connect_timeout",
    "The gateway could not connect to the Claude API in time.",
    Retry::Sensible,
);
const UPSTREAM_UNREACHABLE: Face = Face::new(
    502,
    "api_error",
    "upstream_unreachable",
    "The gateway cannot connect to the Claude API.",
    Retry::Sensible,
);
const UPSTREAM_TLS_FAILED: Face = Face::new(
    502,
    "api_error",
    "upstream_tls_failed",
    "The gateway cannot make a secure connection to the Claude API. Its admin finds the \
     cause in its log.",
    Retry::Pointless,
);
const UPSTREAM_TIMEOUT: Face = Face::new(
    504,
    "timeout_error",
    "upstream_timeout",
    "The Claude API did not answer in time. The request may have been billed.",
    Retry::Pointless,
);
const REQUEST_STALLED: Face =
    Face::new(408, "timeout_error", "request_stalled", "The request body stopped arriving.", Retry::Sensible);
const UPSTREAM_CLOSED: Face = Face::new(
    502,
    "api_error",
    "upstream_closed",
    "The Claude API closed the connection without an answer.",
    Retry::Sensible,
);
const UPSTREAM_INVALID: Face = Face::new(
    502,
    "api_error",
    "upstream_invalid",
    "The Claude API's answer is not valid HTTP.",
    Retry::Pointless,
);
const TARGET_TOO_LONG: Face = Face::new(
    414,
    "invalid_request_error",
    "target_too_long",
    "The request target is too long.",
    Retry::Pointless,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_table_lists_every_answer_of_our_own_as_it_is() {
        let text = include_str!("../../../docs/operations.md");
        let (_, table) = text.split_once("| `mindweave-reason` |").unwrap();
        let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
        for face in Face::ALL {
            let Face { status, kind, reason, message, retry, .. } = face;
            let retry = if retry == Retry::Pointless { "no" } else { "yes" };
            let row = format!("| `{reason}` | {status} | `{kind}` | {retry} | {message} |");
            assert!(rows.contains(&row.as_str()), "docs/operations.md must hold this row:\n{row}");
        }
        assert_eq!(rows.len(), Face::ALL.len(), "docs/operations.md lists an answer that is not given");
    }
}
