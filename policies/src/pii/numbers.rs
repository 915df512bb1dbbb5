//! Numbers that mean something: cards, social security numbers, phone numbers, IPv4 addresses.

use super::ip;
use super::window::{LEAD, Window};

/// The longest card number (ISO/IEC 7812-1).
const MAX_CARD_DIGITS: usize = 19;
/// How many groups of digits are read together: a card number of 19 digits has five, and what follows matters.
const MAX_GROUPS: usize = 6;
/// Digits of a phone number with its country code (ITU-T E.164), and the fewest of one that is written in one piece.
const MAX_PHONE_DIGITS: usize = 15;
const LEAST_PHONE_DIGITS: usize = 9;
const LEAST_SOLID_PHONE_DIGITS: usize = 10;
/// Digits of a North American number with its `1`.
const NANP_DIGITS: usize = 11;

/// What stands between two groups of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Space,
    Dash,
    Dot,
    /// `) ` or `)`
    Paren,
}

impl Gap {
    /// The gap at this place, if digits follow it, and where they begin.
    fn read(window: &Window<'_>, at: usize) -> Option<(Self, usize)> {
        let (gap, length) = match window.at(at)? {
            b' ' => (Self::Space, 1),
            b'-' => (Self::Dash, 1),
            b'.' => (Self::Dot, 1),
            b')' if window.at(at.checked_add(1)?) == Some(b' ') => (Self::Paren, 2),
            b')' => (Self::Paren, 1),
            _ => return None,
        };
        let next = at.checked_add(length)?;
        window.at(next)?.is_ascii_digit().then_some((gap, next))
    }
}

/// Digits without a break.
#[derive(Clone, Copy, Debug)]
struct Group {
    at: usize,
    len: usize,
    /// What stands between it and the next, if one follows.
    gap: Option<Gap>,
}

impl Group {
    fn end(&self) -> usize {
        self.at.saturating_add(self.len)
    }
}

/// Groups of digits from one place on.
#[derive(Debug)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// Whether `(` stands before the first.
    in_parens: bool,
}

impl Groups {
    /// The groups that begin here; `None` in the middle of a number, a date, a UUID.
    pub(super) fn read(window: &Window<'_>, start: usize) -> Option<Self> {
        if !window.begins_word(start) {
            return None;
        }
        let before = window.at(start.checked_sub(1)?)?;
        let joined = matches!(before, b'-' | b'.' | b',');
        if before == b'+' || joined && window.at(start.checked_sub(LEAD)?)?.is_ascii_digit() {
            return None;
        }
        let mut groups = Vec::with_capacity(MAX_GROUPS);
        let mut at = start;
        while groups.len() < MAX_GROUPS {
            let len = window.run(at, MAX_CARD_DIGITS.saturating_add(1), |byte| byte.is_ascii_digit());
            if len == 0 || len > MAX_CARD_DIGITS {
                break;
            }
            let next = Gap::read(window, at.saturating_add(len));
            groups.push(Group { at, len, gap: next.map(|(gap, _)| gap) });
            match next {
                Some((_, next)) => at = next,
                None => break,
            }
        }
        (!groups.is_empty()).then_some(Self { groups, in_parens: before == b'(' })
    }

    /// Whether the first groups have these lengths, are apart by these gaps, and nothing goes on behind the last by
    /// the same sign (a space may: other words follow).
    fn have(&self, window: &Window<'_>, lengths: &[usize], gaps: &[Gap]) -> bool {
        let Some(groups) = self.groups.get(..lengths.len()) else { return false };
        let Some(last) = groups.last() else { return false };
        groups.iter().zip(lengths).all(|(group, length)| group.len == *length)
            && groups.iter().zip(gaps).all(|(group, gap)| group.gap == Some(*gap))
            && matches!(last.gap, None | Some(Gap::Space | Gap::Paren))
            && window.ends_word(last.end())
    }

    /// The digits of so many groups, as numbers.
    fn digits(&self, window: &Window<'_>, groups: usize) -> Vec<u8> {
        let groups = self.groups.iter().take(groups);
        let bytes = groups.flat_map(|group| window.slice(group.at, group.len).unwrap_or_default());
        bytes.map(|byte| byte.saturating_sub(b'0')).collect()
    }

    /// A payment card: in one piece, or as it is printed.
    pub(super) fn are_card(&self, window: &Window<'_>) -> bool {
        const PRINTED: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];
        let solid = self.groups.first().is_some_and(|group| {
            group.len >= 13 && self.have(window, &[group.len], &[]) && is_card(&self.digits(window, 1))
        });
        solid
            || PRINTED.into_iter().any(|lengths| {
                let apart = |gap| {
                    let gaps = [gap; MAX_GROUPS];
                    self.have(
                        window,
                        lengths,
                        gaps.get(..lengths.len().saturating_sub(1)).unwrap_or_default(),
                    )
                };
                (apart(Gap::Space) || apart(Gap::Dash)) && is_card(&self.digits(window, lengths.len()))
            })
    }

    /// A social security number of the United States: `123-45-6789`.
    pub(super) fn are_ssn(&self, window: &Window<'_>) -> bool {
        self.have(window, &[3, 2, 4], &[Gap::Dash, Gap::Dash])
            && match self.digits(window, 3).as_slice() {
                // Area 000, 666 and 9xx, group 00 and serial 0000 are never given out.
                [0, 0, 0, ..] | [6, 6, 6, ..] | [9, ..] | [_, _, _, 0, 0, ..] => false,
                [_, _, _, _, _, serial @ ..] => serial.iter().any(|digit| *digit != 0),
                _ => false,
            }
    }

    /// A North American phone number as it is written there; others are found by their `+`.
    pub(super) fn are_phone(&self, window: &Window<'_>) -> bool {
        let national = |gaps: [Gap; 2]| self.have(window, &[3, 3, 4], &gaps);
        let written = if self.in_parens {
            [Gap::Space, Gap::Dash, Gap::Dot].into_iter().any(|gap| national([Gap::Paren, gap]))
        } else {
            national([Gap::Dash; 2]) || national([Gap::Dot; 2])
        };
        let with_one = !self.in_parens
            && [Gap::Dash, Gap::Dot].into_iter().any(|gap| self.have(window, &[1, 3, 3, 4], &[gap; 3]));
        (written && is_nanp(&self.digits(window, 3)))
            || (with_one
                && self.digits(window, 4).split_first().is_some_and(|(one, rest)| *one == 1 && is_nanp(rest)))
    }

    /// An IPv4 address.
    pub(super) fn are_ip(&self, window: &Window<'_>) -> bool {
        let Some([first, _, _, last]) = self.groups.get(..4) else { return false };
        let dotted = self.groups.iter().take(3).all(|group| group.gap == Some(Gap::Dot));
        let text = window.slice(first.at, last.end().saturating_sub(first.at)).unwrap_or_default();
        dotted && last.gap != Some(Gap::Dot) && window.ends_word(last.end()) && ip::is_v4(text)
    }
}

/// Whether a phone number with its country code follows this `+`.
pub(super) fn international_phone(window: &Window<'_>, plus: usize) -> bool {
    let before = plus.checked_sub(1).and_then(|before| window.at(before));
    if !window.begins_word(plus) || before.is_none_or(|byte| matches!(byte, b'+' | b')' | b']')) {
        return false;
    }
    let mut digits = Vec::with_capacity(MAX_PHONE_DIGITS);
    let mut groups = 0_usize;
    let mut at = plus.saturating_add(1);
    loop {
        let room = MAX_PHONE_DIGITS.saturating_sub(digits.len());
        let len = window.run(at, room.saturating_add(1), |byte| byte.is_ascii_digit());
        if len == 0 || len > room {
            return false;
        }
        digits.extend(window.slice(at, len).unwrap_or_default().iter().map(|byte| byte.saturating_sub(b'0')));
        groups += 1;
        let end = at.saturating_add(len);
        if window.ends_word(end) && is_international(&digits, groups) {
            return true;
        }
        match phone_gap(window, end) {
            Some(next) => at = next,
            None => return false,
        }
    }
}

/// Where the next digits of a phone number begin: behind one or two of the signs that people put there.
fn phone_gap(window: &Window<'_>, at: usize) -> Option<usize> {
    let signs = window.run(at, 3, |byte| matches!(byte, b' ' | b'-' | b'.' | b'(' | b')' | b'/'));
    (1..=2).contains(&signs).then_some(at.saturating_add(signs))
}

fn is_international(digits: &[u8], groups: usize) -> bool {
    match digits {
        [1, national @ ..] => digits.len() == NANP_DIGITS && is_nanp(national),
        [0, ..] | [] => false,
        _ if groups == 1 => digits.len() >= LEAST_SOLID_PHONE_DIGITS,
        _ => digits.len() >= LEAST_PHONE_DIGITS,
    }
}

/// Area and exchange of the North American plan begin with 2 to 9.
fn is_nanp(digits: &[u8]) -> bool {
    matches!(digits, [2..=9, _, _, 2..=9, _, _, _, _, _, _])
}

/// Beginning and length of a card's brand, and the Luhn check. Repetitions of one digit pass Luhn and are no cards.
fn is_card(digits: &[u8]) -> bool {
    let of_a_brand = match digits {
        [4, ..] => matches!(digits.len(), 13 | 16 | 19),
        [5, 1..=5, ..] => digits.len() == 16,
        [2, 2..=7, ..] => digits.len() == 16,
        [3, 4 | 7, ..] => digits.len() == 15,
        [3, 0 | 6 | 8 | 9, ..] => matches!(digits.len(), 14 | 16),
        [3, 5, ..] => digits.len() == 16,
        [6, 0 | 2 | 4 | 5, ..] => (16..=MAX_CARD_DIGITS).contains(&digits.len()),
        _ => false,
    };
    of_a_brand && digits.iter().any(|digit| Some(digit) != digits.first()) && passes_luhn(digits)
}

/// ISO/IEC 7812-1 annex B.
fn passes_luhn(digits: &[u8]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0_u32, |sum, (index, digit)| {
        let doubled = u32::from(*digit) * if index.is_multiple_of(2) { 1 } else { 2 };
        sum + if doubled > 9 { doubled - 9 } else { doubled }
    });
    sum.is_multiple_of(10)
}
