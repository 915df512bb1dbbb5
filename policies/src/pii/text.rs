//! The text of a JSON body: escapes resolved, base64 passed over, typographic spaces and dashes made plain.

/// A run of base64 longer than this is an image or a file: only its beginning is searched. Keys and tokens are shorter.
const MAX_OPAQUE_BYTES: usize = 256;

/// Digits of a `\u` escape.
const ESCAPE_DIGITS: usize = 4;

/// Hands out a body's text piece by piece.
#[derive(Debug)]
pub(super) struct Unescaped<'a> {
    rest: &'a [u8],
    /// How many bytes of the base64 alphabet came last, without a break.
    opaque: usize,
}

impl<'a> Unescaped<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body, opaque: 0 }
    }

    /// Adds text until `target` holds about `bytes` bytes (a character more at most). Returns whether the body has
    /// ended.
    pub(super) fn fill(&mut self, target: &mut Vec<u8>, bytes: usize) -> bool {
        while target.len() < bytes {
            let Some((byte, rest)) = self.rest.split_first() else { return true };
            match *byte {
                b'\\' => self.escape(rest, target),
                0xC2 | 0xE2 => self.plain_form(rest, *byte, target),
                byte if is_opaque(byte) => self.opaque(rest, byte, target),
                byte => {
                    self.opaque = 0;
                    self.rest = rest;
                    target.push(byte);
                }
            }
        }
        self.rest.is_empty()
    }

    /// A byte of the base64 alphabet; what goes on behind a long run of them is passed over.
    fn opaque(&mut self, rest: &'a [u8], byte: u8, target: &mut Vec<u8>) {
        target.push(byte);
        self.rest = rest;
        self.opaque += 1;
        if self.opaque > MAX_OPAQUE_BYTES {
            let end = rest.iter().position(|byte| !is_opaque(*byte)).unwrap_or(rest.len());
            self.rest = rest.get(end..).unwrap_or_default();
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self, rest: &'a [u8], target: &mut Vec<u8>) {
        self.opaque = 0;
        let Some((kind, after)) = rest.split_first() else {
            self.rest = rest;
            return;
        };
        self.rest = after;
        match kind {
            b'n' => target.push(b'\n'),
            b't' => target.push(b'\t'),
            b'r' => target.push(b'\r'),
            b'b' | b'f' => target.push(b' '),
            b'u' => self.unicode(after, target),
            other => target.push(*other), // quote, backslash, slash; anything else is not JSON and stays as it is
        }
    }

    /// Four hexadecimal digits. A half of a pair stands for a character that no finding holds.
    fn unicode(&mut self, digits: &'a [u8], target: &mut Vec<u8>) {
        let read = digits.split_at_checked(ESCAPE_DIGITS).and_then(|(digits, after)| {
            let all_hex = digits.iter().all(u8::is_ascii_hexdigit);
            let digits = std::str::from_utf8(digits).ok().filter(|_| all_hex)?;
            Some((u32::from_str_radix(digits, 16).ok()?, after))
        });
        let Some((code, after)) = read else {
            target.push(b'u');
            return;
        };
        self.rest = after;
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        match plain(character) {
            Some(plain) => target.push(plain),
            None => target.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    /// A character of two or three bytes that may be a space or a dash.
    fn plain_form(&mut self, rest: &'a [u8], first: u8, target: &mut Vec<u8>) {
        self.opaque = 0;
        let length = if first == 0xC2 { 1 } else { 2 };
        let decoded = rest.split_at_checked(length).and_then(|(tail, after)| {
            let mut bytes = [first, 0, 0];
            bytes.get_mut(1..=length)?.copy_from_slice(tail);
            let text = std::str::from_utf8(bytes.get(..=length)?).ok()?;
            Some((plain(text.chars().next()?)?, after))
        });
        match decoded {
            Some((plain, after)) => {
                self.rest = after;
                target.push(plain);
            }
            None => {
                self.rest = rest;
                target.push(first);
            }
        }
    }
}

/// The ASCII form of the spaces and dashes that word processors put into numbers.
fn plain(character: char) -> Option<u8> {
    match character {
        '\u{A0}' | '\u{2007}' | '\u{2009}' | '\u{202F}' => Some(b' '),
        '\u{2010}'..='\u{2013}' => Some(b'-'),
        ascii => u8::try_from(ascii).ok().filter(u8::is_ascii),
    }
}

fn is_opaque(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
