//! What metering learnt from one answer.

use std::sync::Arc;

use crate::certainty::{CertaintyReason, Knowledge};
use crate::event::{BucketSource, Certainty, ToolCall};
use crate::tokens::TokenCounts;

/// One answer, metered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeteredResponse {
    /// The model that served, as the answer named it.
    pub model: Option<Arc<str>>,
    /// The message's id.
    pub message_id: Option<Arc<str>>,
    /// The final top-level figures; `None` when the answer carries no usage: free when the certainty is exact.
    pub tokens: Option<TokenCounts>,
    /// What is billed, the message first. Compactions, advisors and declined hops stand outside [`Self::tokens`].
    pub passes: Vec<Pass>,
    /// Web searches, billed per request.
    pub web_search_requests: u64,
    /// Web fetches, free.
    pub web_fetch_requests: u64,
    /// The part of the output that was thinking, where reported.
    pub thinking_tokens: u64,
    /// The answer's stop reason.
    pub stop_reason: Option<Arc<str>>,
    /// `standard`, `priority` or `batch`, where reported.
    pub service_tier: Option<Arc<str>>,
    /// `global`, `us` or `not_available`, where reported.
    pub inference_geo: Option<Arc<str>>,
    /// `standard` or `fast`, where reported.
    pub speed: Option<Arc<str>>,
    /// Tool calls in the answer, in order.
    pub tool_calls: Vec<ToolCall>,
    /// Tool calls beyond [`crate::MAX_TOOL_CALLS`], or without a readable name.
    pub tool_calls_left_out: u64,
    /// The `error.type` of an error answer or of a stream's `error` event.
    pub error_type: Option<Arc<str>>,
    /// Whether a stream carried an `error` event.
    pub stream_error: bool,
    /// Whether the answer had no content at all. A refusal without content is free.
    pub content_is_empty: bool,
    /// Why the figures are not exact; see [`Self::certainty`].
    pub certainty_reason: Option<CertaintyReason>,
    /// Whether the answer was an event stream.
    pub streamed: bool,
    /// The succeeded items of a batch's results; [`Self::tokens`] is their sum.
    pub items: Vec<MeteredItem>,
}

/// One bill inside an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Which part of the exchange it is.
    pub source: BucketSource,
    /// The model to be billed; `None` means the one that was requested.
    pub model: Option<Arc<str>>,
    /// Its figures.
    pub tokens: TokenCounts,
    /// The smallest prompt, in tokens, of the model calls summed in `tokens`: the size that could decide a price tier
    /// instead of the sum.
    pub smallest_prompt: u64,
}

/// One succeeded item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeteredItem {
    /// The client's own id of the item.
    pub custom_id: Arc<str>,
    /// Its message.
    pub answer: MeteredResponse,
}

impl MeteredResponse {
    /// An answer of which nothing is known but that it is free (`None`), or why its cost is not known.
    pub fn without_usage(reason: Option<CertaintyReason>) -> Self {
        Self {
            model: None,
            message_id: None,
            tokens: None,
            passes: Vec::new(),
            web_search_requests: 0,
            web_fetch_requests: 0,
            thinking_tokens: 0,
            stop_reason: None,
            service_tier: None,
            inference_geo: None,
            speed: None,
            tool_calls: Vec::new(),
            tool_calls_left_out: 0,
            error_type: None,
            stream_error: false,
            content_is_empty: true,
            certainty_reason: reason,
            streamed: false,
            items: Vec::new(),
        }
    }

    /// The sum of a batch's items: one event's worth. `reason` says why the download as a whole is not known exactly.
    pub fn of_batch(items: Vec<MeteredItem>, reason: Option<CertaintyReason>) -> Self {
        let mut sum = Self::without_usage(None);
        let mut knowledge = Knowledge::of(reason);
        let mut tokens = TokenCounts::default();
        sum.model = items.first().and_then(|item| item.answer.model.clone());
        for MeteredItem { answer, .. } in &items {
            tokens += answer.tokens.unwrap_or_default();
            sum.web_search_requests = sum.web_search_requests.saturating_add(answer.web_search_requests);
            sum.web_fetch_requests = sum.web_fetch_requests.saturating_add(answer.web_fetch_requests);
            sum.thinking_tokens = sum.thinking_tokens.saturating_add(answer.thinking_tokens);
            knowledge.lower_all(Knowledge::of(answer.certainty_reason));
            if sum.model != answer.model {
                sum.model = None; // several models: the buckets name each
            }
        }
        sum.tokens = (!items.is_empty()).then_some(tokens);
        sum.content_is_empty = items.is_empty();
        sum.service_tier = (!items.is_empty()).then(|| Arc::from("batch"));
        sum.certainty_reason = knowledge.reason();
        sum.items = items;
        sum
    }

    /// How the figures are known. Pricing may lower it further; an event carries the bill's.
    pub fn certainty(&self) -> Certainty {
        Knowledge::of(self.certainty_reason).certainty()
    }

    /// Whether the API shows usage for it but does not bill it: a refusal before any content.
    pub fn is_free_refusal(&self) -> bool {
        self.content_is_empty && self.stop_reason.as_deref() == Some("refusal")
    }
}
