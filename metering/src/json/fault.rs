//! Why a text is not JSON.

/// The first fault in a JSON text. Never carries any of the text: bodies are private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonFault {
    /// What is wrong.
    pub kind: JsonFaultKind,
    /// Where, counted in bytes of the (decoded) text from 0.
    pub offset: u64,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JsonFaultKind {
    /// The text ended inside a value, or was empty.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// Something else stands where a value must begin.
    #[error("expected a value")]
    ExpectedValue,
    /// Something else stands where an object's key must begin.
    #[error("expected a key")]
    ExpectedKey,
    /// Something else stands between a key and its value.
    #[error("expected a colon")]
    ExpectedColon,
    /// Something else stands after a member or element.
    #[error("expected a comma or the end of the container")]
    ExpectedCommaOrEnd,
    /// A malformed number.
    #[error("invalid number")]
    InvalidNumber,
    /// A malformed `true`, `false` or `null`.
    #[error("invalid literal")]
    InvalidLiteral,
    /// A backslash followed by something that is no escape.
    #[error("invalid escape")]
    InvalidEscape,
    /// A raw control character inside a string.
    #[error("control character in a string")]
    ControlCharacter,
    /// A key that is not Unicode: invalid UTF-8 or a lone surrogate.
    #[error("key is not unicode")]
    KeyNotUnicode,
    /// More containers inside each other than [`super::MAX_DEPTH`].
    #[error("nested too deep")]
    TooDeep,
    /// Something other than white space after the root value.
    #[error("trailing bytes")]
    TrailingBytes,
}
