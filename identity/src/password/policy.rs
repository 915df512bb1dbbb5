//! Which passwords are taken: long ones that nobody guesses first (NIST SP 800-63B, section 3.1.1.2). No rules of composition, no
//! expiry.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use mindweave_policy::Secret;
use unicode_normalization::UnicodeNormalization as _;

/// Fewest characters.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// Most characters: more is no safer, and hashing has its limits.
pub const MAX_PASSWORD_CHARS: usize = 256;
/// Words shorter than this are in too many good passwords.
const LEAST_WORD_CHARS: usize = 4;
/// A piece that is repeated, or a run, is worth no more than this many characters.
const WORTH_OF_A_PIECE: usize = 6;
/// Passwords that many people use: see the head of the file.
const COMMON: &str = include_str!("common_passwords.txt");

/// Why a password is not taken. Never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Fewer than [`MIN_PASSWORD_CHARS`] or more than [`MAX_PASSWORD_CHARS`].
    #[error("must have {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters")]
    Length,
    /// It has the person's name or address in it, or is that.
    #[error("must not contain your name or e-mail address")]
    Personal,
    /// It is among those that are tried first.
    #[error(
        "is one that many people use, so it is tried first; choose another, for example four random words"
    )]
    Common,
    /// One short piece, again and again, or a run of the keyboard or the alphabet.
    #[error("repeats itself; choose one that does not, for example four random words")]
    Repetitive,
}

/// Whether a password is taken from somebody who has these names and addresses.
///
/// # Errors
/// See [`PasswordFault`].
pub fn check_password(password: &Secret, personal: &[&str]) -> Result<(), PasswordFault> {
    let password = zeroize::Zeroizing::new(password.expose_secret().nfkc().collect::<String>());
    let length = password.chars().count();
    if !(MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&length) {
        return Err(PasswordFault::Length);
    }
    let lower = zeroize::Zeroizing::new(password.to_lowercase());
    if personal.iter().any(|text| is_personal(&lower, text)) {
        return Err(PasswordFault::Personal);
    }
    if common().contains(lower.as_str()) || common().contains(core(&lower)) {
        return Err(PasswordFault::Common);
    }
    if is_repetitive(&lower) {
        return Err(PasswordFault::Repetitive);
    }
    Ok(())
}

/// Whether an address, the part before its `@`, or a name and its words are in a password.
fn is_personal(password: &str, text: &str) -> bool {
    let text = text.nfkc().collect::<String>().to_lowercase();
    let local = text.split('@').next().unwrap_or_default();
    let words = text.split_whitespace();
    [text.as_str(), local]
        .into_iter()
        .chain(words)
        .filter(|word| word.chars().count() >= LEAST_WORD_CHARS)
        .any(|word| password.contains(word))
}

/// A password without what people put around a word to satisfy rules.
fn core(password: &str) -> &str {
    password.trim_matches(|char: char| !char.is_alphabetic())
}

fn common() -> &'static BTreeSet<&'static str> {
    static SET: OnceLock<BTreeSet<&str>> = OnceLock::new();
    SET.get_or_init(|| COMMON.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect())
}

/// Whether a password is nothing but a short piece again and again, or a run.
fn is_repetitive(password: &str) -> bool {
    let chars: Vec<char> = password.chars().collect();
    let repeats =
        (1..=WORTH_OF_A_PIECE).any(|piece| chars.iter().zip(chars.iter().skip(piece)).all(|(a, b)| a == b));
    let step = |pair: &[char; 2]| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0]));
    let mut steps = chars.array_windows().map(step);
    let first = steps.next();
    repeats || (matches!(first, Some(-1..=1)) && steps.all(|step| Some(step) == first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(password: &str) -> Result<(), PasswordFault> {
        check_password(&Secret::new(password.to_owned()), &["ada.lovelace@example.com", "Ada Lovelace"])
    }

    #[test]
    fn long_passwords_of_any_kind_are_taken() {
        for password in [
            "correct horse battery staple",
            "einhornfabrik im regen",
            "\u{5bc6}\u{7801}\u{662f}\u{4e00}\u{53e5}\u{5f88}\u{957f}\u{7684}\u{8bdd}\u{5427}\u{5bf9}\u{5417}",
            "tr0ub4dor&3-und-mehr",
            "welcome to the machine room",
        ] {
            assert_eq!(check(password), Ok(()), "{password}");
        }
    }

    #[test]
    fn a_password_has_twelve_to_256_characters() {
        assert_eq!(check("elf zeichen"), Err(PasswordFault::Length));
        assert_eq!(check(&"ab c-d.e,f;".repeat(24)), Err(PasswordFault::Length));
        assert_eq!(check("zw\u{f6}lf zeich."), Ok(()), "characters, not bytes");
    }

    #[test]
    fn what_is_tried_first_is_refused() {
        for (password, fault) in [
            ("password1234", PasswordFault::Common),
            ("Password!!!2026", PasswordFault::Common),
            ("1q2w3e4r5t6y7u8i", PasswordFault::Common),
            ("QWERTYUIOP[]123", PasswordFault::Common),
            ("aaaaaaaaaaaaaaa", PasswordFault::Repetitive),
            ("abcabcabcabcabc", PasswordFault::Repetitive),
            ("abcdefghijklmnop", PasswordFault::Repetitive),
            ("zyxwvutsrqponm", PasswordFault::Repetitive),
            ("my name is lovelace", PasswordFault::Personal),
            ("ADA.LOVELACE@example.com", PasswordFault::Personal),
            ("ada.lovelace-2026", PasswordFault::Personal),
        ] {
            assert_eq!(check(password), Err(fault), "{password}");
        }
    }

    #[test]
    fn every_entry_of_the_list_is_found_by_what_looks_for_it() {
        let entries = common();
        assert!(entries.len() > 1_000, "{}", entries.len());
        for entry in entries {
            assert_eq!(*entry, entry.to_lowercase());
            assert!(
                entry.chars().count() >= MIN_PASSWORD_CHARS || core(entry) == *entry,
                "{entry} is never asked for"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_and_the_length_decides_first(text in ".{0,300}") {
            let length = text.nfkc().count();
            let fits = (MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&length);
            prop_assert_eq!(check(&text) == Err(PasswordFault::Length), !fits);
        }
    }
}
