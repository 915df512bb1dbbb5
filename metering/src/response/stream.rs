//! Metering an event stream.

use super::Progress;
use super::answer::{Answer, Document, Node};
use crate::certainty::{CertaintyReason, Knowledge};
use crate::estimate::Delivered;
use crate::json::Scanner;
use crate::metered::MeteredResponse;
use crate::sse::{EventName, Sink, SseScanner};

/// Reads the events of a message or of a legacy completion.
pub(super) struct StreamMeter {
    scanner: SseScanner,
    events: Events,
}

struct Events {
    json: Scanner<Node>,
    answer: Answer,
    delivered: Delivered,
    knowledge: Knowledge,
    /// Whether `json` stands inside an event.
    reading: bool,
    first_content: bool,
    delta_seen: bool,
    /// `message_stop`, or the last `completion`.
    stopped: bool,
    error: bool,
    /// The stream is over: what is incomplete now was cut, not malformed.
    ended: bool,
}

impl StreamMeter {
    pub(super) fn new() -> Self {
        Self {
            scanner: SseScanner::new(),
            events: Events {
                json: Scanner::new(),
                answer: Answer::new(Document::MessageStart),
                delivered: Delivered::new(),
                knowledge: Knowledge::default(),
                reading: false,
                first_content: false,
                delta_seen: false,
                stopped: false,
                error: false,
                ended: false,
            },
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.scanner.feed(bytes, &mut self.events);
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            first_content: self.events.first_content,
            complete: self.events.stopped || self.events.error,
            batch_items_full: false,
        }
    }

    /// `fault` is why our copy of the stream is worse than the client's, if it is.
    pub(super) fn finish(mut self, fault: Option<CertaintyReason>) -> MeteredResponse {
        self.events.ended = true;
        self.scanner.finish(&mut self.events);
        self.events.into_metered(fault)
    }
}

impl Events {
    fn into_metered(mut self, fault: Option<CertaintyReason>) -> MeteredResponse {
        // The last report is the one with the stop reason; one that has none may be followed by others.
        let final_report = self.delta_seen && (self.stopped || self.answer.stop_reason.is_some());
        if !self.answer.usage.is_present() {
            self.knowledge.lower(match fault {
                Some(fault) => fault,
                None if self.error => CertaintyReason::ErrorBeforeUsage,
                None if self.stopped => CertaintyReason::NoUsage,
                None => CertaintyReason::StreamCutBeforeUsage,
            });
        } else if !final_report {
            if let Some(fault) = fault {
                self.knowledge.lower(fault);
            }
            let delivered = self.delivered.output_tokens(self.answer.blocks, self.answer.tool_call_count());
            if delivered > self.answer.usage.output() {
                self.answer.usage.set_output(delivered);
            }
            self.knowledge.lower(CertaintyReason::OutputEstimated);
        }
        let mut metered = self.answer.into_metered(self.knowledge);
        metered.streamed = true;
        metered.stream_error = self.error;
        metered
    }

    fn finish_document(&mut self, event: EventName) {
        self.reading = false;
        let complete = self.json.finish(&mut self.answer).is_ok();
        if complete {
            self.answer.commit();
        }
        match event {
            EventName::MessageDelta if complete => self.delta_seen = true,
            EventName::Completion => self.stopped |= self.answer.stop_reason.is_some(),
            EventName::Error => self.error = true,
            EventName::MessageStart | EventName::MessageDelta if !complete && !self.ended => {
                self.knowledge.lower(CertaintyReason::BodyUnreadable);
            }
            EventName::ContentBlockStart if !complete && !self.ended => {
                self.answer.blocks = self.answer.blocks.saturating_add(1);
                self.answer.tool_calls_left_out = self.answer.tool_calls_left_out.saturating_add(1);
            }
            _ => {}
        }
    }
}

impl Sink for Events {
    #[inline]
    fn data(&mut self, event: EventName, bytes: &[u8]) {
        let document = match event {
            EventName::ContentBlockDelta => {
                self.first_content = true;
                self.delivered.data(bytes);
                return;
            }
            EventName::MessageStart => Document::MessageStart,
            EventName::MessageDelta => Document::MessageDelta,
            EventName::ContentBlockStart => Document::BlockStart,
            EventName::Error => Document::Error,
            EventName::Completion => {
                self.first_content = true;
                Document::Completion
            }
            EventName::MessageStop | EventName::Unnamed | EventName::Other => return,
        };
        if !self.reading {
            self.reading = true;
            self.json.reset();
            self.answer.begin(document);
        }
        // The scanner remembers a fault until the event ends.
        let _fault = self.json.feed(bytes, &mut self.answer);
    }

    #[inline]
    fn dispatch(&mut self, event: EventName) {
        match event {
            EventName::ContentBlockDelta => self.delivered.end_delta(),
            EventName::MessageStop => self.stopped = true,
            EventName::MessageStart
            | EventName::MessageDelta
            | EventName::ContentBlockStart
            | EventName::Error
            | EventName::Completion => self.finish_document(event),
            EventName::Unnamed | EventName::Other => {}
        }
    }
}
