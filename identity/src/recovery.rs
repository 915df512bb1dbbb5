//! Recovery codes: stand in for a second factor that was lost, each one once.

use mindweave_policy::{Fingerprint, Secret};
use zeroize::Zeroizing;

/// How many codes somebody gets.
pub const RECOVERY_CODES: usize = 10;
/// Random bytes of a code: 80 bits, so that its plain SHA-256 cannot be searched.
pub const RECOVERY_CODE_BYTES: usize = 10;
/// Characters of a code: five bits each.
const CHARS: usize = 16;
/// Characters between dashes.
const GROUP: usize = 4;
/// Crockford's base32: no I, L, O or U, which are misread (<https://www.crockford.com/base32.html>).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A recovery code. Wiped when dropped, shown nowhere.
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    /// The code of these random bytes.
    pub fn new(random: &[u8; RECOVERY_CODE_BYTES]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(CHARS));
        let (mut bits, mut held) = (0_u16, 0_u32);
        for byte in random {
            bits = (bits << 8) | u16::from(*byte);
            held += 8;
            while held >= 5 {
                held -= 5;
                let digit = usize::from((bits >> held) & 0b1_1111);
                text.extend(ALPHABET.get(digit).map(|letter| char::from(*letter)));
            }
        }
        Self(text)
    }

    /// Reads a code as somebody typed it: letter case, dashes and blanks do not matter, nor what looks alike.
    pub fn read(text: &str) -> Option<Self> {
        let mut code = Zeroizing::new(String::with_capacity(CHARS));
        for char in text.chars().filter(|char| !char.is_whitespace() && *char != '-') {
            let letter = match char.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                letter => letter,
            };
            let known = u8::try_from(letter).is_ok_and(|letter| ALPHABET.contains(&letter));
            if !known || code.len() == CHARS {
                return None;
            }
            code.push(letter);
        }
        (code.len() == CHARS).then_some(Self(code))
    }

    /// The code as it is shown, once.
    pub fn text(&self) -> Secret {
        let mut text = String::with_capacity(CHARS + CHARS / GROUP);
        for (position, char) in self.0.chars().enumerate() {
            if position > 0 && position % GROUP == 0 {
                text.push('-');
            }
            text.push(char);
        }
        Secret::new(text)
    }

    /// What is stored of it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.0.as_bytes())
    }
}

impl std::fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_has_four_groups_of_four() {
        let code = RecoveryCode::new(&[0, 1, 2, 3, 4, 0xff, 0xfe, 0xfd, 0xfc, 0xfb]);
        assert_eq!(code.text().expose_secret(), "000G-40R4-ZZZF-VZ7V");
        assert_eq!(format!("{code:?}"), "RecoveryCode(..)");
    }

    #[test]
    fn what_looks_alike_is_the_same_and_what_is_no_code_is_refused() {
        let code = RecoveryCode::read("01ab-cdef-ghjk-mnpq").unwrap();
        for same in ["OIab-cdef ghjk mnpq", "oLABCDEFGHJKMNPQ", " 0 1 a b-c-d-e-f-g-h-j-k-m-n-p-q\n"] {
            assert_eq!(RecoveryCode::read(same).unwrap().fingerprint(), code.fingerprint());
        }
        for none in
            ["", "01ab-cdef-ghjk-mnp", "01ab-cdef-ghjk-mnpqr", "u1ab-cdef-ghjk-mnpq", "é1ab-cdef-ghjk-mnpq"]
        {
            assert!(RecoveryCode::read(none).is_none(), "{none}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_and_no_two_codes_are_alike(one: [u8; 10], other: [u8; 10]) {
            let code = RecoveryCode::new(&one);
            let read = RecoveryCode::read(code.text().expose_secret()).unwrap();
            prop_assert_eq!(read.fingerprint(), code.fingerprint());
            prop_assert_eq!(RecoveryCode::new(&other).fingerprint() == code.fingerprint(), one == other);
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".{0,40}") {
            drop(RecoveryCode::read(&text));
        }
    }
}
