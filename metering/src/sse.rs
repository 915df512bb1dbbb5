//! Server-sent events: from bytes, cut anywhere, to the data of the few events that metering reads.
//!
//! Follows the WHATWG grammar: lines end in LF, CRLF or CR; a byte order mark may come first; lines that begin with a
//! colon are comments; several `data` lines of one event are joined by a line feed; a blank line ends an event.
//!
//! A stream is thousands of small events of which about five matter, and this runs between upstream and client. So
//! lines of other events are skipped at the speed of `memchr` and nothing is copied: data goes to the [`Sink`] in the
//! pieces it arrived in. Only a line's first bytes are carried over a cut, up to [`MAX_LINE_HEAD_BYTES`].
//!
//! As in the official SDKs the name counts that the `event` line gives, not the `type` inside the data: an event
//! without a name is ignored.

use memchr::memchr2;

/// How much of a line is needed to know what it is: the longest field name and event name that matter, with room.
const MAX_LINE_HEAD_BYTES: usize = 64;
/// How much data is kept that comes before its event's name. The API always names events first; this only keeps a
/// reordering intermediary from costing us an event.
const MAX_UNNAMED_DATA_BYTES: usize = 64 * 1024;

const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// The events that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventName {
    MessageStart,
    ContentBlockStart,
    ContentBlockDelta,
    MessageDelta,
    MessageStop,
    Error,
    /// Of the legacy completion API.
    Completion,
    /// No `event` line yet.
    Unnamed,
    /// `ping`, `content_block_stop` and whatever may come.
    Other,
}

impl EventName {
    fn of(name: &[u8]) -> Self {
        match name {
            b"content_block_delta" => Self::ContentBlockDelta,
            b"message_start" => Self::MessageStart,
            b"content_block_start" => Self::ContentBlockStart,
            b"message_delta" => Self::MessageDelta,
            b"message_stop" => Self::MessageStop,
            b"error" => Self::Error,
            b"completion" => Self::Completion,
            b"" => Self::Unnamed,
            _ => Self::Other,
        }
    }

    fn is_read(self) -> bool {
        !matches!(self, Self::Unnamed | Self::Other | Self::MessageStop)
    }
}

/// Receives the events that matter.
pub(crate) trait Sink {
    /// The next bytes of an event's data.
    fn data(&mut self, event: EventName, bytes: &[u8]);
    /// The event is complete. Called only for events that had data.
    fn dispatch(&mut self, event: EventName);
}

/// Where in a line the scanner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// In its head, of which so many bytes are kept.
    Head(usize),
    /// In the value of a `data` field.
    Data,
    /// In a part that decides nothing.
    Rest,
}

/// Finds lines and events in a stream that arrives in pieces. Without `Debug`: it holds pieces of the answer.
pub(crate) struct SseScanner {
    line: Line,
    head: [u8; MAX_LINE_HEAD_BYTES],
    event: EventName,
    has_data: bool,
    /// A CR ended the last line; an LF that follows belongs to it.
    after_cr: bool,
    /// How many bytes of a byte order mark have been seen; `None` behind the stream's start.
    byte_order_mark: Option<usize>,
    /// Data that came before the event's name.
    unnamed: Vec<u8>,
}

impl SseScanner {
    pub(crate) fn new() -> Self {
        Self {
            line: Line::Head(0),
            head: [0; MAX_LINE_HEAD_BYTES],
            event: EventName::Unnamed,
            has_data: false,
            after_cr: false,
            byte_order_mark: Some(0),
            unnamed: Vec::new(),
        }
    }

    /// Scans the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        let mut rest = bytes;
        if self.byte_order_mark.is_some() {
            rest = self.skip_byte_order_mark(rest);
        }
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(behind) = rest.strip_prefix(b"\n")
            {
                rest = behind;
                continue;
            }
            let end = memchr2(b'\n', b'\r', rest);
            let Some((piece, behind)) = end.and_then(|end| rest.split_at_checked(end)) else {
                self.piece(rest, sink);
                return;
            };
            if self.line == Line::Head(0) {
                self.line(piece, sink); // the usual case: a whole line in one piece
            } else {
                self.piece(piece, sink);
                self.end_line(sink);
            }
            self.after_cr = behind.first() == Some(&b'\r');
            rest = behind.get(1..).unwrap_or_default();
        }
    }

    /// The stream has ended. An event whose closing blank line is missing is dispatched: what its data says, was sent.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) {
        if self.line != Line::Head(0) {
            self.end_line(sink);
        }
        self.dispatch(sink);
    }

    fn skip_byte_order_mark<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while let Some(seen) = self.byte_order_mark {
            let Some(expected) = BYTE_ORDER_MARK.get(seen) else {
                self.byte_order_mark = None;
                break;
            };
            let Some((first, behind)) = rest.split_first() else { break };
            if first == expected {
                self.byte_order_mark = Some(seen + 1);
                rest = behind;
                continue;
            }
            self.byte_order_mark = None;
            if seen > 0 {
                self.line = Line::Rest; // half a mark is part of a field name that nobody knows
            }
        }
        rest
    }

    /// A whole line.
    fn line(&mut self, line: &[u8], sink: &mut impl Sink) {
        if line.is_empty() {
            self.dispatch(sink);
        } else if let Some(value) = field(line, b"data") {
            self.begin_data(sink);
            self.data(value, sink);
        } else if let Some(value) = field(line, b"event") {
            self.name(EventName::of(value), sink);
        }
    }

    /// A part of a line whose end, or whose start, is in another piece.
    fn piece(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        let Line::Head(kept) = self.line else {
            if self.line == Line::Data {
                self.data(bytes, sink);
            }
            return;
        };
        let room = self.head.len() - kept;
        let (now, behind) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        if let Some(free) = self.head.get_mut(kept..kept + now.len()) {
            free.copy_from_slice(now);
        }
        let kept = kept + now.len();
        let head = self.head;
        let Some(head) = head.get(..kept) else { return };
        // The byte after the colon decides whether a space belongs to the value.
        if let Some(value) = head.strip_prefix(b"data:").filter(|value| !value.is_empty()) {
            self.line = Line::Data;
            self.begin_data(sink);
            self.data(value.strip_prefix(b" ").unwrap_or(value), sink);
            self.data(behind, sink);
        } else if kept == self.head.len() {
            if field(head, b"event").is_some() {
                self.name(EventName::Other, sink); // longer than any name that matters
            }
            self.line = Line::Rest;
        } else {
            self.line = Line::Head(kept);
        }
    }

    fn end_line(&mut self, sink: &mut impl Sink) {
        let line = std::mem::replace(&mut self.line, Line::Head(0));
        if let Line::Head(kept) = line {
            let head = self.head;
            self.line(head.get(..kept).unwrap_or_default(), sink);
        }
    }

    fn begin_data(&mut self, sink: &mut impl Sink) {
        if self.has_data {
            self.data(b"\n", sink);
        }
        self.has_data = true;
    }

    fn data(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        if self.event.is_read() {
            sink.data(self.event, bytes);
        } else if self.event == EventName::Unnamed {
            // Beyond the bound the data is cut, and what reads it will find it incomplete.
            let room = MAX_UNNAMED_DATA_BYTES.saturating_sub(self.unnamed.len());
            self.unnamed.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    fn name(&mut self, name: EventName, sink: &mut impl Sink) {
        self.event = name;
        if !self.unnamed.is_empty() {
            let earlier = std::mem::take(&mut self.unnamed);
            if name.is_read() {
                sink.data(name, &earlier);
            }
        }
    }

    fn dispatch(&mut self, sink: &mut impl Sink) {
        let event = std::mem::replace(&mut self.event, EventName::Unnamed);
        if std::mem::take(&mut self.has_data) && !matches!(event, EventName::Unnamed | EventName::Other) {
            sink.dispatch(event);
        }
        self.unnamed.clear();
    }
}

/// The value of a line's field, if the line is of this field. A field may come without a colon: its value is empty.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest.split_first() {
        None => Some(rest),
        Some((b':', value)) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;
