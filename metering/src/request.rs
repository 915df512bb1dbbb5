//! What a request asks for: the facts that policy, limits and the ledger need, read while the body passes.
//!
//! Constant memory: a body of 256 MB costs what one of 1 KB costs, and `model` may stand behind all of it. A body that
//! could be read in two ways (a duplicate `model`, `stream` as a string) has a [`ScanFault`] instead of a guess:
//! whoever decides on facts must refuse it, or the API might obey the other reading.

mod distinct;
mod facts;
mod fields;
mod place;
mod prompt;
mod reader;
mod session;
#[cfg(test)]
mod tests;

pub use facts::{
    CacheTtl, MAX_DISTINCT_VALUES, MAX_MCP_SERVERS, MAX_TOOLS, RequestFacts, RequestedMcpServer,
    RequestedTool,
};
pub use fields::{MAX_NAME_BYTES, MAX_URL_BYTES, MAX_USER_ID_BYTES};
pub use prompt::{INPUT_ESTIMATE_BOUND, INPUT_ESTIMATE_SLACK};
pub use session::MAX_SESSION_ID_BYTES;

use crate::decode::{DecodeError, Encoding, SideDecoder, Slice};
use crate::endpoint::{BatchCall, EndpointKind};
use crate::json::{JsonFault, JsonFaultKind, Scanner};

use fields::{Dialect, Node};
use prompt::NonAscii;
use reader::FactsReader;

/// Why a body's facts cannot be relied on. Displays as a sentence for the client; never holds any of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanFault {
    /// The body is not JSON.
    #[error("the request body is not valid JSON at byte {offset}: {kind}")]
    Json {
        /// What is wrong.
        kind: JsonFaultKind,
        /// Where in the decoded body.
        offset: u64,
    },
    /// The body's `content-encoding` could not be undone.
    #[error("the request body could not be decoded: {0}")]
    Encoding(DecodeError),
    /// The body is JSON but not an object.
    #[error("the request body is not a JSON object")]
    NotAnObject,
    /// A field that decides something occurs twice in one object: parsers differ in which one they obey.
    #[error("the request body has more than one `{field}` in one object")]
    DuplicateField {
        /// The field's name.
        field: &'static str,
    },
    /// A field has a type that the API does not document for it, or a string that is not Unicode.
    #[error("`{field}` in the request body is not of the expected type")]
    UnexpectedType {
        /// The field's name.
        field: &'static str,
    },
    /// A model's name has blanks, capitals or foreign letters, which the API may or may not look through; or a server's
    /// address is written such that parsers find different hosts in it.
    #[error("`{field}` in the request body is not spelled as the API spells it")]
    Spelling {
        /// The field's name.
        field: &'static str,
    },
    /// A field is longer than the API could accept.
    #[error("`{field}` in the request body is too long")]
    TooLong {
        /// The field's name.
        field: &'static str,
    },
}

impl ScanFault {
    /// A short snake_case name, for metric labels and the ledger.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Json { .. } => "request_not_json",
            Self::Encoding(DecodeError::Unsupported) => "request_encoding_unsupported",
            Self::Encoding(DecodeError::TooLarge) => "request_too_large_decoded",
            Self::Encoding(_) => "request_encoding_invalid",
            Self::NotAnObject => "request_not_an_object",
            Self::DuplicateField { .. } => "request_field_duplicate",
            Self::UnexpectedType { .. } => "request_field_type",
            Self::Spelling { .. } => "request_field_spelling",
            Self::TooLong { .. } => "request_field_too_long",
        }
    }
}

impl From<JsonFault> for ScanFault {
    fn from(JsonFault { kind, offset }: JsonFault) -> Self {
        Self::Json { kind, offset }
    }
}

/// What a request body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestReading {
    /// The facts; with a fault, those that were read before it.
    pub facts: RequestFacts,
    /// The first fault, if any.
    pub fault: Option<ScanFault>,
    /// Size of the body on the wire.
    pub bytes: u64,
    /// Size of the body after decoding; 0 with a fault.
    pub decoded_bytes: u64,
}

/// Reads a request body's facts as it passes.
#[derive(Debug)]
pub struct RequestScan {
    decoder: SideDecoder,
    scanner: Scanner<Node>,
    reader: FactsReader,
    non_ascii: NonAscii,
    bytes: u64,
    decoded_bytes: u64,
    fault: Option<ScanFault>,
}

impl RequestScan {
    /// A scan before the first byte; `None` for endpoints whose bodies hold no facts and pass unread.
    pub fn new(kind: EndpointKind, encoding: Encoding) -> Option<Self> {
        let dialect = match kind {
            EndpointKind::Messages => Dialect::Messages,
            EndpointKind::Batches(BatchCall::Create) => Dialect::Batch,
            EndpointKind::Complete => Dialect::Complete,
            EndpointKind::ChatCompletions => Dialect::ChatCompletions,
            _ => return None,
        };
        Some(Self {
            decoder: SideDecoder::new(encoding),
            scanner: Scanner::new(),
            reader: FactsReader::new(dialect),
            non_ascii: NonAscii::default(),
            bytes: 0,
            decoded_bytes: 0,
            fault: None,
        })
    }

    /// The same scan, which ends with a fault where a compressed body has more bytes than this once it is decoded.
    #[must_use]
    pub fn at_most(mut self, decoded_bytes: u64) -> Self {
        self.decoder = self.decoder.at_most(decoded_bytes);
        self
    }

    /// Reads the next bytes of the body, as they are on the wire.
    pub fn feed(&mut self, mut chunk: &[u8]) {
        loop {
            let Slice { consumed, more } = self.feed_slice(chunk);
            if !more {
                return;
            }
            chunk = chunk.get(consumed..).unwrap_or_default();
        }
    }

    /// The same in slices, for who must not work long without a pause: the little that is compressed may be much.
    pub fn feed_slice(&mut self, chunk: &[u8]) -> Slice {
        let all = Slice { consumed: chunk.len(), more: false };
        let slice = if self.fault.is_some() { all } else { self.read_slice(chunk).unwrap_or(all) };
        self.bytes = self.bytes.saturating_add(length(slice.consumed));
        slice
    }

    /// `None` at a fault: the rest of the body is not read.
    fn read_slice(&mut self, chunk: &[u8]) -> Option<Slice> {
        let Self { decoder, scanner, reader, non_ascii, decoded_bytes, .. } = self;
        let mut fault = None;
        let decoded = decoder.feed_slice(chunk, &mut |piece| {
            *decoded_bytes = decoded_bytes.saturating_add(length(piece.len()));
            if fault.is_none() {
                non_ascii.feed(piece);
                let scanned = scanner.feed(piece, reader);
                // The reader stops at its own fault, which therefore lies before the scanner's.
                fault = reader.fault().or_else(|| scanned.err().map(ScanFault::from));
            }
        });
        self.fault = fault.or_else(|| decoded.err().map(ScanFault::Encoding));
        decoded.ok().filter(|_| self.fault.is_none())
    }

    /// Ends the body.
    pub fn finish(mut self) -> RequestReading {
        if self.fault.is_none() {
            let decoded = self.decoder.finish().map_err(ScanFault::Encoding);
            let scanned = decoded.and_then(|()| Ok(self.scanner.finish(&mut self.reader)?));
            self.fault = self.reader.fault().or(scanned.err());
        }
        let decoded_bytes = if self.fault.is_none() { self.decoded_bytes } else { 0 };
        let non_ascii = self.fault.is_none().then_some(self.non_ascii);
        RequestReading {
            facts: self.reader.into_facts(non_ascii),
            fault: self.fault,
            bytes: self.bytes,
            decoded_bytes,
        }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
