//! International bank account numbers (ISO 13616).

use super::window::Window;

/// Letters of a country and its check digits.
const HEAD: usize = 4;
/// The longest number.
const MAX_LENGTH: usize = 34;

/// Length by country, from the SWIFT IBAN registry, release 99 (December 2024).
const LENGTHS: &[(usize, &str)] = &[
    (15, "NO"),
    (16, "BE"),
    (18, "DK FI FK FO GL NL SD"),
    (19, "MK SI"),
    (20, "AT BA EE KZ LT LU MN XK"),
    (21, "CH HR LI LV"),
    (22, "BG BH CR DE GB GE IE ME RS VA"),
    (23, "AE GI IL IQ OM SO TL"),
    (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
    (25, "LY PT ST"),
    (26, "IS TR"),
    (27, "BI DJ FR GR IT MC MR SM"),
    (28, "AL AZ BY CY DO GT HN HU LB NI PL SV"),
    (29, "BR EG PS QA UA"),
    (30, "JO KW MU YE"),
    (31, "MT SC"),
    (32, "LC"),
    (33, "RU"),
];

/// Whether an IBAN begins here: in one piece, or in groups of four.
pub(super) fn begins(window: &Window<'_>, at: usize) -> bool {
    let Some(&[first, second, tens, ones]) = window.slice(at, HEAD) else { return false };
    if !window.begins_word(at) || !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return false;
    }
    let Some(length) = length_of([first, second]) else { return false };
    let Some((number, end)) = read(window, at, length) else { return false };
    window.ends_word(end) && checks(number.get(..length).unwrap_or_default())
}

fn length_of(country: [u8; 2]) -> Option<usize> {
    let known = |(_, countries): &&(usize, &str)| {
        countries.as_bytes().split(|byte| *byte == b' ').any(|known| known == country)
    };
    LENGTHS.iter().find(known).map(|(length, _)| *length)
}

/// So many letters and digits from here, and where they end.
fn read(window: &Window<'_>, mut at: usize, length: usize) -> Option<([u8; MAX_LENGTH], usize)> {
    let mut number = [0; MAX_LENGTH];
    for (index, slot) in number.iter_mut().take(length).enumerate() {
        if index > 0 && index.is_multiple_of(4) && window.at(at) == Some(b' ') {
            at += 1;
        }
        let byte = window.at(at).filter(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())?;
        *slot = byte;
        at += 1;
    }
    Some((number, at))
}

/// ISO 7064 mod 97-10: the head goes to the end, letters are numbers from 10 on, and the remainder is 1.
fn checks(number: &[u8]) -> bool {
    let (head, account) = number.split_at_checked(HEAD).unwrap_or_default();
    let digits = account.iter().chain(head);
    let remainder = digits.fold(0_u32, |remainder, byte| {
        let value = char::from(*byte).to_digit(36).unwrap_or_default();
        let shift = if value < 10 { 10 } else { 100 };
        (remainder * shift + value) % 97
    });
    remainder == 1
}
