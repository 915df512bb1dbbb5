//! A push scanner for JSON: bytes in as they arrive, facts out, memory constant.
//!
//! The proxy must know `model` although it may stand behind thirty megabytes of messages, and the token counts of an
//! answer that it streams on. So nothing here holds a document. A [`Scanner`] checks the grammar byte by byte and asks
//! a [`Visitor`] about each value of the containers it chose to enter: skip it, enter it too, or capture its text up
//! to a bound. Any chunking of the same bytes gives the same calls.
//!
//! What is accepted is what `serde_json` accepts when it ignores a value (RFC 8259, no byte order mark, white space
//! after the root allowed), with three bounds or additions:
//! - deeper than [`MAX_DEPTH`] is a fault;
//! - keys of entered objects are decoded, so a key there with a lone surrogate or invalid UTF-8 is a fault;
//! - a key longer than [`MAX_KEY_BYTES`] is never shown to the visitor and its value is skipped.
//!
//! Skipped strings are checked for control characters and escapes, not for UTF-8: they decide nothing.

mod capture;
mod fault;
mod nesting;
mod number;
mod scanner;
#[cfg(test)]
mod tests;
mod text;

pub use capture::MAX_KEY_BYTES;
pub use fault::{JsonFault, JsonFaultKind};
pub use nesting::MAX_DEPTH;
pub use scanner::Scanner;

use std::borrow::Cow;

/// What a JSON value is, known from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `{...}`
    Object,
    /// `[...]`
    Array,
    /// `"..."`
    String,
    /// A number in any form.
    Number,
    /// `true` or `false`
    Boolean,
    /// `null`
    Null,
}

/// What to do with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<N> {
    /// Check its grammar and forget it.
    Skip,
    /// Ask about its members or elements, naming it `N`. The same as [`Self::Skip`] for a value that has none.
    Enter(N),
    /// Keep its text, up to this many bytes, and hand it over under the name `N`.
    Capture(N, usize),
}

/// Decides what a [`Scanner`] does with each value, and receives what it captured.
///
/// Nodes are the visitor's own names for places in the document. The scanner keeps the stack of entered nodes, so a
/// visitor is a table of (node, key) and needs no stack of its own.
pub trait Visitor {
    /// A name for a container or for a captured value.
    type Node: Copy;

    /// The document's root value begins.
    fn root(&mut self, kind: ValueKind) -> Action<Self::Node>;

    /// A member of the entered object `parent` begins. Duplicate keys are reported each time.
    fn member(&mut self, parent: Self::Node, key: &str, kind: ValueKind) -> Action<Self::Node>;

    /// An element of the entered array `parent` begins.
    fn element(&mut self, parent: Self::Node, kind: ValueKind) -> Action<Self::Node> {
        let _ = (parent, kind);
        Action::Skip
    }

    /// A value is complete whose capture was asked for.
    fn captured(&mut self, node: Self::Node, value: Captured<'_>) {
        let _ = (node, value);
    }

    /// The entered container `node` is complete.
    fn leave(&mut self, node: Self::Node) {
        let _ = node;
    }
}

/// The text of a captured value.
#[derive(Clone, Copy)]
pub struct Captured<'a> {
    /// The JSON text from the value's first byte to its last, or to the bound that was asked for. Grammatically valid
    /// JSON unless `cut`; strings in it may still hold invalid UTF-8 or lone surrogates.
    pub raw: &'a [u8],
    /// Whether the value was longer than the bound.
    pub cut: bool,
    /// Where the value begins in the document, in bytes from 0.
    pub offset: u64,
    /// How many bytes of JSON text the value has, those beyond the bound included. A capture with a bound of 0 keeps
    /// nothing and tells this.
    pub length: u64,
}

impl<'a> Captured<'a> {
    /// The decoded string; `None` for another kind of value, a cut one, or one that is not Unicode.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        if self.cut {
            return None;
        }
        text::decode(self.raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?)
    }

    /// The non-negative integer; `None` for any other value, a fraction or exponent form included.
    pub fn unsigned(&self) -> Option<u64> {
        if self.cut {
            return None;
        }
        std::str::from_utf8(self.raw).ok()?.parse().ok()
    }

    /// The boolean; `None` for any other value.
    pub fn boolean(&self) -> Option<bool> {
        match self.raw {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.raw == b"null"
    }
}
