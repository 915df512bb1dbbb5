//! How many tokens the prompt has, estimated from the body's sizes while it passes.
//!
//! Linear in what the model gets to read: bytes of text, of tool definitions and of other JSON, images, documents, and
//! the instructions that the API adds for tools and thinking. The weights are set on the high side, because a limit that
//! lets too much through is worse than one that corrects itself when the answer reports its usage.
//! `tests/recordings/prompt.rs` holds the bound against every recorded exchange.
//!
//! Invisible here is what the API holds or fetches itself: the rest of a continued thread, uploaded files and addresses
//! (each counts [`REMOTE_SOURCE_TOKENS`]), the tool lists of MCP servers, and what tools that run at the API put into the
//! prompt while it works. Cleared or compacted context is counted though the model does not get it.

/// The stated bound: the true prompt of a request is at most so many percent above the estimate, plus
/// [`INPUT_ESTIMATE_SLACK`] tokens. It holds for every recorded request without tools that run at the API.
pub const INPUT_ESTIMATE_BOUND: u64 = 10;
/// Tokens added to the bound; for instructions that the API adds and that no field announces.
pub const INPUT_ESTIMATE_SLACK: u64 = 100;

/// Thousandths of a token for a byte of text: one for 3 bytes. Recorded English has 3.6 to 4.9, code and newer tokenizers less.
const TEXT_MILLITOKENS: u64 = 330;
/// On top of that for a byte outside ASCII: a character of three bytes counts 1.74 tokens. Escaped as `\uXXXX` it has
/// six bytes and needs no more.
const NON_ASCII_MILLITOKENS: u64 = 250;
/// For a byte of a tool's definition.
const TOOL_MILLITOKENS: u64 = 330;
/// For a byte of other JSON: tool calls of the history, ids, search results.
const JSON_MILLITOKENS: u64 = 450;
/// For a byte of an output schema, which the API explains to the model at length.
const SCHEMA_MILLITOKENS: u64 = 850;
/// Bytes of base64 for one token of an image.
const IMAGE_BYTES: u64 = 64;
/// The least and the most that an image counts; the most is the documented limit of the models with the finest sight.
const IMAGE_TOKENS: (u64, u64) = (80, 4_784);
/// Bytes of base64 for one token of a document.
const DOCUMENT_BYTES: u64 = 10;
/// The least and the most that a document counts: one page, as recorded, and a hundred pages of 3000 tokens, the
/// documented figures.
const DOCUMENT_TOKENS: (u64, u64) = (1_700, 300_000);
/// For an image or document that is named by address or file id: two recorded pages.
const REMOTE_SOURCE_TOKENS: u64 = 2_700;
/// The frame of a request.
const BODY_TOKENS: u64 = 10;
/// The frame of a message.
const MESSAGE_TOKENS: u64 = 5;
/// The instructions for the use of tools, added once when there is any: 313 to 530 are documented, by model and
/// choice, and up to 600 recorded.
const TOOL_USE_TOKENS: u64 = 600;
/// The frame of a tool.
const TOOL_TOKENS: u64 = 12;
/// The definition of a tool that the API brings itself; documented from 245 (bash) to 735 (computer use), recorded
/// up to 1200.
const API_TOOL_TOKENS: u64 = 1_200;
/// The instructions for thinking.
const THINKING_TOKENS: u64 = 30;
/// The instructions for citations.
const CITATIONS_TOKENS: u64 = 600;

/// What a piece of the body is to the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Text,
    Tool,
    Json,
    Schema,
    /// `data` of a source: what it is, its `media_type` says.
    Data,
    /// An image in the OpenAI-compatible form, as an address that may hold the data itself.
    ImageUrl,
}

/// The sizes of one message body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prompt {
    millitokens: u64,
    tokens: u64,
    tools: bool,
    thinking: bool,
    citations: bool,
}

/// What the `source` being read is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source {
    data: u64,
    media: Media,
    remote: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Media {
    Text,
    Image,
    #[default]
    Document,
}

impl Source {
    pub(super) fn data(&mut self, bytes: u64) {
        self.data = self.data.saturating_add(bytes);
    }

    pub(super) fn media_type(&mut self, name: &str) {
        self.media = match name.split('/').next() {
            Some("text") => Media::Text,
            Some("image") => Media::Image,
            _ => Media::Document,
        };
    }

    pub(super) fn remote(&mut self) {
        self.remote = true;
    }
}

impl Prompt {
    /// A measured value of so many bytes.
    pub(super) fn add(&mut self, weight: Weight, bytes: u64) {
        let per_byte = match weight {
            Weight::Text => TEXT_MILLITOKENS,
            Weight::Tool => TOOL_MILLITOKENS,
            Weight::Json => JSON_MILLITOKENS,
            Weight::Schema => SCHEMA_MILLITOKENS,
            Weight::ImageUrl => {
                return self.add_tokens(image_tokens(bytes));
            }
            Weight::Data => return, // counted with its source
        };
        self.millitokens = self.millitokens.saturating_add(bytes.saturating_mul(per_byte));
    }

    pub(super) fn source(&mut self, source: Source) {
        if source.remote {
            self.add_tokens(REMOTE_SOURCE_TOKENS);
        }
        match source.media {
            _ if source.data == 0 => {}
            Media::Text => self.add(Weight::Text, source.data),
            Media::Image => self.add_tokens(image_tokens(source.data)),
            Media::Document => {
                let (least, most) = DOCUMENT_TOKENS;
                self.add_tokens(least.saturating_add(source.data / DOCUMENT_BYTES).min(most));
            }
        }
    }

    pub(super) fn message(&mut self) {
        self.add_tokens(MESSAGE_TOKENS);
    }

    pub(super) fn tool(&mut self, of_api: bool) {
        self.tools = true;
        self.add_tokens(if of_api { API_TOOL_TOKENS } else { TOOL_TOKENS });
    }

    pub(super) fn thinking(&mut self) {
        self.thinking = true;
    }

    pub(super) fn citations(&mut self) {
        self.citations = true;
    }

    /// The estimate, without what bytes outside ASCII add.
    pub(super) fn tokens(&self) -> u64 {
        let added = |on: bool, tokens: u64| if on { tokens } else { 0 };
        self.tokens
            .saturating_add(self.millitokens / 1_000)
            .saturating_add(BODY_TOKENS)
            .saturating_add(added(self.tools, TOOL_USE_TOKENS))
            .saturating_add(added(self.thinking, THINKING_TOKENS))
            .saturating_add(added(self.citations, CITATIONS_TOKENS))
    }

    fn add_tokens(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }
}

fn image_tokens(base64: u64) -> u64 {
    let (least, most) = IMAGE_TOKENS;
    least.saturating_add(base64 / IMAGE_BYTES).min(most)
}

/// How many bytes of a body lie outside ASCII: counted in its beginning, sampled behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NonAscii {
    passed: usize,
    counted: u64,
    sampled: u64,
}

/// So much of the beginning is counted byte by byte.
const COUNTED_BYTES: usize = 1024;
/// Behind it, in each stripe of so many bytes ...
const STRIPE_BYTES: usize = 4096;
/// ... so many are looked at: counting all would cost a body of text a third more.
const SAMPLED_BYTES: usize = 64;

impl NonAscii {
    /// The next bytes of the body. Where they are cut does not matter.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let begin = self.passed;
        let end = begin.saturating_add(piece.len());
        self.passed = end;
        let part = |from: usize, to: usize| {
            let (from, to) = (from.max(begin), to.min(end));
            count(piece.get(from.saturating_sub(begin)..to.saturating_sub(begin)).unwrap_or_default())
        };
        if begin < COUNTED_BYTES {
            self.counted += part(0, COUNTED_BYTES);
        }
        let mut stripe = begin.saturating_sub(COUNTED_BYTES) / STRIPE_BYTES * STRIPE_BYTES + COUNTED_BYTES;
        while stripe < end {
            self.sampled += part(stripe, stripe + SAMPLED_BYTES);
            stripe += STRIPE_BYTES;
        }
    }

    /// The tokens that they add.
    pub(super) fn tokens(&self) -> u64 {
        const PER_SAMPLED: u64 = 64; // STRIPE_BYTES / SAMPLED_BYTES
        let bytes = self.sampled.saturating_mul(PER_SAMPLED).saturating_add(self.counted);
        bytes.saturating_mul(NON_ASCII_MILLITOKENS) / 1_000
    }
}

/// How many bytes have their highest bit set, eight at a time.
fn count(bytes: &[u8]) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let (words, tail) = bytes.as_chunks::<8>();
    let mut all = 0;
    // A lane of eight bits holds the sums of 255 words.
    for words in words.chunks(255) {
        let lanes = words.iter().fold(0, |sum, word| sum + ((u64::from_le_bytes(*word) >> 7) & ONES));
        let (even, odd) = (lanes & (u64::MAX / 0xffff * 0xff), (lanes >> 8) & (u64::MAX / 0xffff * 0xff));
        all += (even + odd).wrapping_mul(u64::MAX / 0xffff) >> 48;
    }
    all + tail.iter().map(|byte| u64::from(byte >> 7)).sum::<u64>()
}
