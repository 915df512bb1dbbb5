//! Refusals whose words are not ours: a policy's author or the figures of a limit write them.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use mindweave_policy::Refusal;

/// What policies say against a request.
#[derive(Debug)]
pub(crate) struct PolicyDenial {
    /// The first policy's: snake_case.
    pub(crate) reason: Arc<str>,
    /// All policies'.
    pub(crate) message: String,
}

/// Why a limit or a budget refuses a request.
#[derive(Debug)]
pub(crate) struct RuleRefusal {
    pub(crate) refusal: Refusal,
    pub(crate) message: String,
    /// Whether the client gets the API's rate-limit headers with our figures.
    pub(crate) shows_limits: bool,
}

impl RuleRefusal {
    /// Adds the API's rate-limit headers.
    pub(super) fn show_limits(&self, headers: &mut HeaderMap) {
        if !self.shows_limits {
            return;
        }
        for (name, value) in self.refusal.rate_limit_headers().iter() {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
    }
}
