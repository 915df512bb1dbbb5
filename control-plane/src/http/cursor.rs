//! Cursors: opaque to clients, versioned and checked here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::{Code, Problem};

/// Writes a cursor from the kind of list it belongs to and the position after which the next page starts.
pub(crate) fn write(list: &str, position: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("1:{list}:{position}"))
}

/// Reads the position of a cursor of this kind of list.
///
/// # Errors
/// `invalid_cursor` for anything that [`write`] did not make for this list.
pub(crate) fn read(list: &str, cursor: &str) -> Result<String, Problem> {
    let position = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| {
        let text = String::from_utf8(bytes).ok()?;
        Some(text.strip_prefix("1:")?.strip_prefix(list)?.strip_prefix(':')?.to_owned())
    });
    position.ok_or_else(invalid)
}

/// The refusal of a cursor.
pub(crate) fn invalid() -> Problem {
    let detail = "cursor: is not a next_cursor of this list; start again without it and keep the other parameters as they were";
    Problem::new(Code::InvalidCursor, detail)
}
