//! Bytes of an answer in, what it cost in tokens out.
//!
//! A [`ResponseTap`] is fed the body as it passes by and never fails: whatever goes wrong makes the figures unknown
//! and says why, because the client has its answer either way. Memory is constant, but for a batch's items.

mod answer;
mod batch;
mod stream;
#[cfg(test)]
mod tests;

pub use answer::MAX_TOOL_CALLS;
pub use batch::BATCH_ITEMS_PER_EVENT;

use std::fmt;

use answer::{Answer, Document, Node, no_usage};
use batch::BatchMeter;
use stream::StreamMeter;

use crate::certainty::{CertaintyReason, Knowledge};
use crate::decode::{DecodeError, Encoding, SideDecoder, Slice};
use crate::endpoint::{Endpoint, EndpointKind};
use crate::event::Outcome;
use crate::json::Scanner;
use crate::metered::{MeteredItem, MeteredResponse};

/// What is known of an answer before its body.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The endpoint of the request.
    pub endpoint: &'a Endpoint,
    /// The HTTP status.
    pub status: u16,
    /// The `content-type` header.
    pub content_type: Option<&'a str>,
    /// The `content-encoding` header.
    pub content_encoding: Option<&'a str>,
}

/// How far an answer has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Content has arrived: the first `content_block_delta` of a stream, the first byte of any other body.
    pub first_content: bool,
    /// `message_stop` or an `error` event was seen, or the JSON text is complete: nothing that follows can change the
    /// figures. Always false where nothing is read, and for a batch's results: those end where their body ends.
    pub complete: bool,
    /// At least [`BATCH_ITEMS_PER_EVENT`] items wait for [`ResponseTap::take_batch_items`].
    pub batch_items_full: bool,
}

/// Meters one answer while it passes by.
pub struct ResponseTap {
    decoder: SideDecoder,
    meter: Meter,
    /// Why the decoder gave up.
    fault: Option<CertaintyReason>,
}

enum Meter {
    /// Not read. The reason says why its cost is not known; without one it is free.
    Unread {
        reason: Option<CertaintyReason>,
        any_bytes: bool,
        streamed: bool,
    },
    /// A message or a legacy completion, in a form that its first byte will tell.
    Undecided(EndpointKind),
    Json(Box<JsonMeter>),
    Stream {
        meter: Box<StreamMeter>,
        endpoint: EndpointKind,
    },
    Batch(Box<BatchMeter>),
}

/// Reads one JSON text.
struct JsonMeter {
    scanner: Scanner<Node>,
    answer: Answer,
    document: Document,
    any_bytes: bool,
    malformed: bool,
}

impl fmt::Debug for ResponseTap {
    /// How far it got, and nothing of the answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = self.meter.progress();
        f.debug_struct("ResponseTap")
            .field("progress", &progress)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl ResponseTap {
    /// A tap on the answer that begins with this head.
    pub fn new(head: &ResponseHead<'_>) -> Self {
        let decoder = SideDecoder::new(Encoding::from_header(head.content_encoding));
        Self { decoder, meter: Meter::of(head), fault: None }
    }

    /// Reads the next bytes of the body, as they are on the wire.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Progress {
        loop {
            let (progress, Slice { consumed, more }) = self.feed_slice(bytes);
            if !more {
                return progress;
            }
            bytes = bytes.get(consumed..).unwrap_or_default();
        }
    }

    /// The same in slices, for who must not work long without a pause: the little that is compressed may be much.
    pub fn feed_slice(&mut self, bytes: &[u8]) -> (Progress, Slice) {
        let mut slice = Slice { consumed: bytes.len(), more: false };
        if let Meter::Unread { any_bytes, .. } = &mut self.meter {
            *any_bytes |= !bytes.is_empty();
        } else if self.fault.is_none() {
            let meter = &mut self.meter;
            match self.decoder.feed_slice(bytes, &mut |decoded| meter.feed(decoded)) {
                Ok(fed) => slice = fed,
                Err(DecodeError::Unsupported) => self.fault = Some(CertaintyReason::UnknownEncoding),
                Err(DecodeError::Corrupt | DecodeError::Truncated | DecodeError::TooLarge) => {
                    self.fault = Some(CertaintyReason::DecodingFailed);
                }
            }
        }
        (self.meter.progress(), slice)
    }

    /// The first items of a batch that wait, at most [`BATCH_ITEMS_PER_EVENT`]: an event's worth, for
    /// [`MeteredResponse::of_batch`]. Empty for any other answer.
    pub fn take_batch_items(&mut self) -> Vec<MeteredItem> {
        match &mut self.meter {
            Meter::Batch(meter) => meter.take_items(),
            Meter::Unread { .. } | Meter::Undecided(_) | Meter::Json(_) | Meter::Stream { .. } => Vec::new(),
        }
    }

    /// Ends the answer. Of a batch's items those are in the result that were not taken.
    pub fn finish(self, outcome: Outcome) -> MeteredResponse {
        match self.meter {
            Meter::Unread { reason, streamed, .. } => {
                MeteredResponse { streamed, ..MeteredResponse::without_usage(reason) }
            }
            Meter::Undecided(_) => {
                MeteredResponse::without_usage(Some(self.fault.unwrap_or(CertaintyReason::NoUsage)))
            }
            Meter::Json(meter) => meter.finish(self.fault, outcome),
            Meter::Stream { meter, endpoint } => {
                let metered = meter.finish(self.fault);
                if endpoint == EndpointKind::Complete { as_completion(metered) } else { metered }
            }
            Meter::Batch(meter) => meter.finish(self.fault),
        }
    }
}

impl Meter {
    fn of(head: &ResponseHead<'_>) -> Self {
        let kind = head.endpoint.kind;
        let content_type = head.content_type.unwrap_or_default();
        let streamed = is(content_type, "text/event-stream");
        let unread = |reason| Self::Unread { reason, any_bytes: false, streamed };
        if head.status >= 400 {
            return Self::json(Document::Error);
        }
        if !(200..300).contains(&head.status) {
            return unread(None); // redirects and their like are not billed
        }
        match kind {
            EndpointKind::Messages | EndpointKind::Complete if streamed => Self::stream(kind),
            EndpointKind::Messages | EndpointKind::Complete if is(content_type, "application/json") => {
                Self::json(whole(kind))
            }
            EndpointKind::Messages | EndpointKind::Complete => Self::Undecided(kind),
            EndpointKind::BatchResults => Self::Batch(Box::new(BatchMeter::new())),
            EndpointKind::ChatCompletions => unread(Some(CertaintyReason::ChatCompletionsNotMetered)),
            EndpointKind::SessionStream => unread(Some(CertaintyReason::ManagedAgentsNotMetered)),
            EndpointKind::ManagedAgents if carries_usage(&head.endpoint.template) => {
                unread(Some(CertaintyReason::ManagedAgentsNotMetered))
            }
            EndpointKind::ManagedAgents
            | EndpointKind::CountTokens
            | EndpointKind::Batches(_)
            | EndpointKind::Models
            | EndpointKind::Files
            | EndpointKind::Skills
            | EndpointKind::UserProfiles
            | EndpointKind::Organization
            | EndpointKind::OAuth
            | EndpointKind::Other => unread(None),
        }
    }

    fn json(document: Document) -> Self {
        Self::Json(Box::new(JsonMeter {
            scanner: Scanner::new(),
            answer: Answer::new(document),
            document,
            any_bytes: false,
            malformed: false,
        }))
    }

    fn stream(endpoint: EndpointKind) -> Self {
        Self::Stream { meter: Box::new(StreamMeter::new()), endpoint }
    }

    fn feed(&mut self, bytes: &[u8]) {
        if let Self::Undecided(kind) = *self {
            let Some(first) = bytes.trim_ascii_start().first() else { return };
            *self = if *first == b'{' { Self::json(whole(kind)) } else { Self::stream(kind) };
        }
        match self {
            Self::Unread { .. } | Self::Undecided(_) => {}
            Self::Json(meter) => meter.feed(bytes),
            Self::Stream { meter, .. } => meter.feed(bytes),
            Self::Batch(meter) => meter.feed(bytes),
        }
    }

    fn progress(&self) -> Progress {
        match self {
            Self::Unread { any_bytes, .. } => Progress { first_content: *any_bytes, ..Progress::default() },
            Self::Undecided(_) => Progress::default(),
            Self::Json(meter) => meter.progress(),
            Self::Stream { meter, .. } => meter.progress(),
            Self::Batch(meter) => meter.progress(),
        }
    }
}

impl JsonMeter {
    fn feed(&mut self, bytes: &[u8]) {
        self.any_bytes |= !bytes.is_empty();
        self.malformed |= self.scanner.feed(bytes, &mut self.answer).is_err();
    }

    fn progress(&self) -> Progress {
        Progress {
            first_content: self.any_bytes,
            complete: self.scanner.is_complete(),
            batch_items_full: false,
        }
    }

    fn finish(mut self, fault: Option<CertaintyReason>, outcome: Outcome) -> MeteredResponse {
        let mut knowledge = Knowledge::default();
        if self.scanner.finish(&mut self.answer).is_ok() {
            self.answer.commit();
        } else if self.document != Document::Error {
            knowledge.lower(match (fault, outcome) {
                (Some(fault), _) => fault,
                (None, Outcome::Complete) => CertaintyReason::BodyUnreadable,
                (None, _) if self.malformed => CertaintyReason::BodyUnreadable,
                (None, _) => CertaintyReason::BodyCut,
            });
        }
        let mut metered = self.answer.into_metered(knowledge);
        match self.document {
            Document::Error => {} // errors are free, whatever their body says
            Document::Completion => return as_completion(metered),
            Document::Message
            | Document::MessageStart
            | Document::MessageDelta
            | Document::BlockStart
            | Document::BatchLine => no_usage(&mut metered, CertaintyReason::NoUsage),
        }
        metered
    }
}

/// The legacy API's answers name model and stop reason but no tokens, however they ended.
fn as_completion(mut metered: MeteredResponse) -> MeteredResponse {
    metered.certainty_reason = Some(CertaintyReason::CompleteReportsNoUsage);
    metered
}

/// What a successful answer of this endpoint is when it is one JSON text.
fn whole(kind: EndpointKind) -> Document {
    if kind == EndpointKind::Complete { Document::Completion } else { Document::Message }
}

/// Sessions and dreams report their cumulative usage wherever they appear.
fn carries_usage(template: &str) -> bool {
    ["/v1/sessions", "/v1/dreams"].iter().any(|prefix| template.starts_with(prefix))
}

/// Whether a `content-type` is of this media type, parameters aside.
fn is(content_type: &str, media_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(media_type)
}
