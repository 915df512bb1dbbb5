//! The grammar of numbers, byte by byte.

/// Which part of a number was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// What a byte means to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberStep {
    /// It belongs to the number.
    More(Number),
    /// The number ended before it.
    Ended,
    /// No number goes on, or may end, like this.
    Invalid,
}

impl Number {
    /// A number that begins with this byte, a minus sign or a digit.
    pub(super) fn begin(byte: u8) -> Self {
        match byte {
            b'-' => Self::Minus,
            b'0' => Self::Zero,
            _ => Self::Integer,
        }
    }

    pub(super) fn step(self, byte: u8) -> NumberStep {
        match (self, byte) {
            (Self::Minus, b'0') => NumberStep::More(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => NumberStep::More(Self::Integer),
            (Self::Zero, b'0'..=b'9') => NumberStep::Invalid, // no leading zeros
            (Self::Zero | Self::Integer, b'.') => NumberStep::More(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => NumberStep::More(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => NumberStep::More(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => NumberStep::More(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                NumberStep::More(Self::ExponentDigits)
            }
            _ if self.may_end() => NumberStep::Ended,
            _ => NumberStep::Invalid,
        }
    }

    /// Whether what was read so far is a whole number.
    pub(super) fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits)
    }
}
