//! Metering a batch's results: one JSON text per line, in a file of any length.

use memchr::memchr;

use super::Progress;
use super::answer::{Answer, Document, Node, no_usage};
use crate::certainty::{CertaintyReason, Knowledge};
use crate::json::Scanner;
use crate::metered::{MeteredItem, MeteredResponse};

/// How many items make an event of their own.
pub const BATCH_ITEMS_PER_EVENT: usize = 1_000;
/// The most items held for a caller that takes none: the API's own limit of a batch.
const MAX_ITEMS_HELD: usize = 100_000;

/// Reads the lines of a batch's results.
pub(super) struct BatchMeter {
    json: Scanner<Node>,
    line: Answer,
    /// Whether the current line has anything but white space.
    line_has_text: bool,
    items: Vec<MeteredItem>,
    knowledge: Knowledge,
    any_bytes: bool,
}

impl BatchMeter {
    pub(super) fn new() -> Self {
        Self {
            json: Scanner::new(),
            line: Answer::new(Document::BatchLine),
            line_has_text: false,
            items: Vec::new(),
            knowledge: Knowledge::default(),
            any_bytes: false,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.any_bytes |= !bytes.is_empty();
        let mut rest = bytes;
        while let Some((line, behind)) =
            memchr(b'\n', rest).and_then(|end| Some((rest.get(..end)?, rest.get(end + 1..)?)))
        {
            self.piece(line);
            self.end_line();
            rest = behind;
        }
        self.piece(rest);
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            first_content: self.any_bytes,
            complete: false, // there may always be another line
            batch_items_full: self.items.len() >= BATCH_ITEMS_PER_EVENT,
        }
    }

    pub(super) fn take_items(&mut self) -> Vec<MeteredItem> {
        let next = self.items.split_off(self.items.len().min(BATCH_ITEMS_PER_EVENT));
        std::mem::replace(&mut self.items, next)
    }

    /// A last line that is cut off is not noted: its item is booked when the results are downloaded again.
    pub(super) fn finish(mut self, fault: Option<CertaintyReason>) -> MeteredResponse {
        if self.json.is_complete() {
            self.end_line();
        }
        if let Some(fault) = fault {
            self.knowledge.lower(if self.items.is_empty() {
                fault
            } else {
                CertaintyReason::BatchLineUnreadable
            });
        } else if self.items.is_empty() && self.knowledge != Knowledge::default() {
            self.knowledge.lower(CertaintyReason::BodyUnreadable); // not one line to know anything from
        }
        MeteredResponse::of_batch(self.items, self.knowledge.reason())
    }

    fn piece(&mut self, bytes: &[u8]) {
        self.line_has_text |= !bytes.trim_ascii().is_empty();
        if self.line_has_text {
            // The scanner remembers a fault until the line ends.
            let _fault = self.json.feed(bytes, &mut self.line);
        }
    }

    fn end_line(&mut self) {
        if !std::mem::take(&mut self.line_has_text) {
            return;
        }
        let complete = self.json.finish(&mut self.line).is_ok();
        let mut line = std::mem::replace(&mut self.line, Answer::new(Document::BatchLine));
        self.json.reset();
        let Some(custom_id) = line.custom_id.take().filter(|_| complete) else {
            self.knowledge.lower(CertaintyReason::BatchLineUnreadable);
            return;
        };
        if !line.succeeded {
            return; // errored, canceled, expired: free
        }
        if self.items.len() >= MAX_ITEMS_HELD {
            self.knowledge.lower(CertaintyReason::BatchLineUnreadable);
            return;
        }
        line.commit();
        let mut answer = line.into_metered(Knowledge::default());
        no_usage(&mut answer, CertaintyReason::NoUsage);
        self.items.push(MeteredItem { custom_id, answer });
    }
}
