//! The grammar: what may come next, and when to ask the visitor.

use super::capture::{Capture, Key};
use super::fault::{JsonFault, JsonFaultKind};
use super::nesting::{Container, Nesting};
use super::number::{Number, NumberStep};
use super::text;
use super::{Action, ValueKind, Visitor};

/// Checks JSON that arrives in pieces and asks a [`Visitor`] about the parts it entered. See the module's head.
#[derive(Debug)]
pub struct Scanner<N> {
    state: State,
    nesting: Nesting,
    /// Nodes of the entered containers. They are always the outermost ones, so the innermost container is an entered
    /// one exactly when there are as many nodes as open containers.
    entered: Vec<N>,
    key: Key,
    capture: Option<Capture<N>>,
    /// Kept between captures for its memory.
    spare: Vec<u8>,
    /// Bytes of all chunks before the current one.
    consumed: u64,
    fault: Option<JsonFault>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum State {
    Value,
    ElementOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
    Text(Role),
    Escape(Role),
    /// So many hexadecimal digits of a `\u` escape are missing.
    Hex(Role, u8),
    /// These bytes of a literal are missing.
    Literal(&'static [u8]),
    Number(Number),
    Done,
}

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Key,
    Value,
}

impl<N: Copy> Default for Scanner<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N: Copy> Scanner<N> {
    /// A scanner before the first byte.
    pub fn new() -> Self {
        Self {
            state: State::Value,
            nesting: Nesting::default(),
            entered: Vec::new(),
            key: Key::default(),
            capture: None,
            spare: Vec::new(),
            consumed: 0,
            fault: None,
        }
    }

    /// Starts over for another document, keeping allocated memory.
    pub fn reset(&mut self) {
        self.state = State::Value;
        self.nesting = Nesting::default();
        self.entered.clear();
        self.capture = None;
        self.consumed = 0;
        self.fault = None;
    }

    /// Whether the root value is complete. A number at the root is complete only after what ends it.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Done) && self.fault.is_none()
    }

    /// Scans the next bytes.
    ///
    /// # Errors
    /// The first fault of the text; every later call returns it again and asks the visitor nothing.
    pub fn feed<V: Visitor<Node = N>>(&mut self, chunk: &[u8], visitor: &mut V) -> Result<(), JsonFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            match self.step(chunk, at, byte, visitor) {
                Ok(next) => at = next,
                Err(kind) => return Err(self.fail(kind, at)),
            }
        }
        self.carry_capture(chunk);
        self.consumed = self.consumed.saturating_add(length(chunk.len()));
        Ok(())
    }

    /// Ends the text.
    ///
    /// # Errors
    /// The first fault of the text; [`JsonFaultKind::UnexpectedEnd`] when the root value is not complete.
    pub fn finish<V: Visitor<Node = N>>(&mut self, visitor: &mut V) -> Result<(), JsonFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        match self.state {
            State::Number(number) if number.may_end() && self.nesting.depth() == 0 => {
                self.end_value(&[], 0, visitor);
                Ok(())
            }
            State::Done => Ok(()),
            _ => Err(self.fail(JsonFaultKind::UnexpectedEnd, 0)),
        }
    }

    #[cold]
    fn fail(&mut self, kind: JsonFaultKind, at: usize) -> JsonFault {
        let offset = match kind {
            JsonFaultKind::KeyNotUnicode => self.key.offset(),
            _ => self.offset(at),
        };
        let fault = JsonFault { kind, offset };
        self.fault = Some(fault);
        fault
    }

    fn offset(&self, at: usize) -> u64 {
        self.consumed.saturating_add(length(at))
    }

    /// Whether the innermost container is an entered one (or there is none), so that the visitor is to be asked.
    fn is_asking(&self) -> bool {
        self.entered.len() == self.nesting.depth()
    }

    /// Reads from `at`, where `byte` stands; returns where to go on.
    #[inline]
    fn step<V: Visitor<Node = N>>(
        &mut self,
        chunk: &[u8],
        at: usize,
        byte: u8,
        visitor: &mut V,
    ) -> Result<usize, JsonFaultKind> {
        match self.state {
            State::Text(role) => self.step_text(chunk, at, role, visitor),
            State::Escape(role) => {
                self.keep_key(role, &[byte]);
                self.state = match byte {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text(role),
                    b'u' => State::Hex(role, 4),
                    _ => return Err(JsonFaultKind::InvalidEscape),
                };
                Ok(at + 1)
            }
            State::Hex(role, missing) => {
                if !byte.is_ascii_hexdigit() {
                    return Err(JsonFaultKind::InvalidEscape);
                }
                self.keep_key(role, &[byte]);
                self.state = if missing == 1 { State::Text(role) } else { State::Hex(role, missing - 1) };
                Ok(at + 1)
            }
            State::Number(number) => {
                match number.step(byte) {
                    NumberStep::More(number) => {
                        self.state = State::Number(number);
                        return Ok(at + 1);
                    }
                    NumberStep::Ended => self.end_value(chunk, at, visitor),
                    NumberStep::Invalid => return Err(JsonFaultKind::InvalidNumber),
                }
                Ok(at)
            }
            State::Literal(missing) => match missing.split_first() {
                Some((&first, rest)) if first == byte => {
                    self.state = State::Literal(rest);
                    if rest.is_empty() {
                        self.end_value(chunk, at + 1, visitor);
                    }
                    Ok(at + 1)
                }
                _ => Err(JsonFaultKind::InvalidLiteral),
            },
            _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => Ok(at + 1),
            _ => self.step_structure(chunk, at, byte, visitor),
        }
    }

    fn step_structure<V: Visitor<Node = N>>(
        &mut self,
        chunk: &[u8],
        at: usize,
        byte: u8,
        visitor: &mut V,
    ) -> Result<usize, JsonFaultKind> {
        match (self.state, byte) {
            (State::CommaOrEnd, b',') => {
                self.state = match self.nesting.top() {
                    Some(Container::Object) => State::Key,
                    _ => State::Value,
                };
            }
            (State::KeyOrEnd | State::Key, b'"') => {
                if self.is_asking() {
                    self.key.begin(self.offset(at));
                }
                self.state = State::Text(Role::Key);
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::KeyOrEnd | State::CommaOrEnd, b'}') => {
                self.close(Container::Object, chunk, at, visitor)?;
            }
            (State::ElementOrEnd | State::CommaOrEnd, b']') => {
                self.close(Container::Array, chunk, at, visitor)?;
            }
            (State::Value | State::ElementOrEnd, _) => self.begin_value(at, byte, visitor)?,
            (State::KeyOrEnd | State::Key, _) => return Err(JsonFaultKind::ExpectedKey),
            (State::Colon, _) => return Err(JsonFaultKind::ExpectedColon),
            (State::Done, _) => return Err(JsonFaultKind::TrailingBytes),
            _ => return Err(JsonFaultKind::ExpectedCommaOrEnd),
        }
        Ok(at + 1)
    }

    #[inline]
    fn step_text<V: Visitor<Node = N>>(
        &mut self,
        chunk: &[u8],
        at: usize,
        role: Role,
        visitor: &mut V,
    ) -> Result<usize, JsonFaultKind> {
        let mut end = at;
        loop {
            let rest = chunk.get(end..).unwrap_or_default();
            let plain = text::plain_len(rest);
            self.keep_key(role, rest.get(..plain).unwrap_or_default());
            end += plain;
            // Text has an escape every few words, code one on every line: cross them without leaving the string.
            match (chunk.get(end), chunk.get(end + 1)) {
                (Some(b'\\'), Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'))
                    if role == Role::Value =>
                {
                    end += 2;
                }
                _ => break,
            }
        }
        match chunk.get(end) {
            None => return Ok(end),
            Some(b'"') if role == Role::Key => self.state = State::Colon,
            Some(b'"') => self.end_value(chunk, end + 1, visitor),
            Some(b'\\') => {
                self.keep_key(role, b"\\");
                self.state = State::Escape(role);
            }
            // Reported where the string was entered or resumed unless we move there first.
            Some(_) if end > at => return Ok(end),
            Some(_) => return Err(JsonFaultKind::ControlCharacter),
        }
        Ok(end + 1)
    }

    fn keep_key(&mut self, role: Role, bytes: &[u8]) {
        if role == Role::Key && self.is_asking() {
            self.key.keep(bytes);
        }
    }

    fn begin_value<V: Visitor<Node = N>>(
        &mut self,
        at: usize,
        byte: u8,
        visitor: &mut V,
    ) -> Result<(), JsonFaultKind> {
        let kind = match byte {
            b'{' => ValueKind::Object,
            b'[' => ValueKind::Array,
            b'"' => ValueKind::String,
            b'-' | b'0'..=b'9' => ValueKind::Number,
            b't' | b'f' => ValueKind::Boolean,
            b'n' => ValueKind::Null,
            _ => return Err(JsonFaultKind::ExpectedValue),
        };
        let action = if self.is_asking() { self.ask(kind, visitor)? } else { Action::Skip };
        if let Action::Capture(node, limit) = action {
            self.capture =
                Some(Capture::begin(node, limit, at, self.offset(at), std::mem::take(&mut self.spare)));
        }
        self.state = match kind {
            ValueKind::Object => State::KeyOrEnd,
            ValueKind::Array => State::ElementOrEnd,
            ValueKind::String => State::Text(Role::Value),
            ValueKind::Number => State::Number(Number::begin(byte)),
            ValueKind::Boolean => State::Literal(if byte == b't' { b"rue" } else { b"alse" }),
            ValueKind::Null => State::Literal(b"ull"),
        };
        let container = match kind {
            ValueKind::Object => Container::Object,
            ValueKind::Array => Container::Array,
            ValueKind::String | ValueKind::Number | ValueKind::Boolean | ValueKind::Null => return Ok(()),
        };
        self.nesting.push(container).ok_or(JsonFaultKind::TooDeep)?;
        if let Action::Enter(node) = action {
            self.entered.push(node);
        }
        Ok(())
    }

    fn ask<V: Visitor<Node = N>>(
        &mut self,
        kind: ValueKind,
        visitor: &mut V,
    ) -> Result<Action<N>, JsonFaultKind> {
        let Some(&parent) = self.entered.last() else { return Ok(visitor.root(kind)) };
        match self.nesting.top() {
            Some(Container::Object) => {
                let Some(raw) = self.key.raw() else { return Ok(Action::Skip) };
                let key = text::decode(raw).ok_or(JsonFaultKind::KeyNotUnicode)?;
                Ok(visitor.member(parent, &key, kind))
            }
            _ => Ok(visitor.element(parent, kind)),
        }
    }

    fn close<V: Visitor<Node = N>>(
        &mut self,
        container: Container,
        chunk: &[u8],
        at: usize,
        visitor: &mut V,
    ) -> Result<(), JsonFaultKind> {
        if self.nesting.top() != Some(container) {
            return Err(JsonFaultKind::ExpectedCommaOrEnd);
        }
        let left = if self.is_asking() { self.entered.pop() } else { None };
        self.nesting.pop();
        if let Some(node) = left {
            visitor.leave(node);
        }
        self.end_value(chunk, at + 1, visitor);
        Ok(())
    }

    /// A value ended before `end`: hands over its capture, if it had one.
    fn end_value<V: Visitor<Node = N>>(&mut self, chunk: &[u8], end: usize, visitor: &mut V) {
        self.state = if self.nesting.depth() == 0 { State::Done } else { State::CommaOrEnd };
        if self.capture.is_none() || !self.is_asking() {
            return;
        }
        let end_offset = self.offset(end);
        if let Some(mut capture) = self.capture.take() {
            visitor.captured(capture.node, capture.end(chunk, end, end_offset));
            self.spare = capture.into_memory();
        }
    }

    /// Keeps what the ending chunk holds of an unfinished capture.
    fn carry_capture(&mut self, chunk: &[u8]) {
        if let Some(capture) = &mut self.capture {
            capture.carry(chunk);
        }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
