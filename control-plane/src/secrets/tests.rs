use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::key::KEY_BYTES;
use super::*;

const OWNER: &str = "upstream:prj_1";

fn key(byte: u8) -> MasterKey {
    MasterKey { current: Key::from_bytes(Zeroizing::new([byte; KEY_BYTES])), previous: Vec::new() }
}

fn secret() -> Secret {
    Secret::new("sk-ant-api03-a-secret".into())
}

#[test]
fn a_sealed_secret_opens_for_its_owner_and_is_not_in_the_sealed_bytes() {
    let sealed = key(1).seal(OWNER, &secret()).unwrap();
    assert_eq!(key(1).open(OWNER, &sealed).unwrap(), secret());
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
}

#[test]
fn sealing_twice_gives_different_bytes() {
    assert_ne!(key(1).seal(OWNER, &secret()).unwrap(), key(1).seal(OWNER, &secret()).unwrap());
}

#[test]
fn every_changed_or_missing_byte_is_noticed() {
    let sealed = key(1).seal(OWNER, &secret()).unwrap();
    for index in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[index] ^= 1;
        assert!(key(1).open(OWNER, &altered).is_err(), "byte {index}");
        assert!(key(1).open(OWNER, &sealed[..index]).is_err(), "cut at {index}");
    }
}

#[test]
fn another_project_cannot_open_it() {
    let sealed = key(1).seal(OWNER, &secret()).unwrap();
    assert_eq!(key(1).open("upstream:prj_2", &sealed), Err(UnsealError::Altered));
}

#[test]
fn another_master_key_is_told_apart_from_an_altered_secret() {
    let sealed = key(1).seal(OWNER, &secret()).unwrap();
    assert_eq!(key(2).open(OWNER, &sealed), Err(UnsealError::OtherKey));
}

#[test]
fn a_key_is_read_from_hex_and_from_base64_and_from_a_generated_text() {
    let sealed = key(0xAB).seal(OWNER, &secret()).unwrap();
    let bytes = [0xAB; KEY_BYTES];
    for text in [
        "ab".repeat(32),
        "AB".repeat(32),
        format!(" {}\n", STANDARD.encode(bytes)),
        URL_SAFE_NO_PAD.encode(bytes),
    ] {
        assert_eq!(MasterKey::from_text(&text).unwrap().open(OWNER, &sealed).unwrap(), secret(), "{text}");
    }
    let generated = MasterKey::generate_text().unwrap();
    assert!(MasterKey::from_text(generated.expose_secret()).is_ok());
}

#[test]
fn a_text_that_is_no_key_is_refused_without_repeating_it() {
    for text in ["", "too short", &"zz".repeat(32), &"ab".repeat(31), &STANDARD.encode([1; 31])] {
        let error = MasterKey::from_text(text).unwrap_err().to_string();
        assert!(text.is_empty() || !error.contains(text), "{error}");
    }
}

#[test]
fn debug_output_shows_nothing_of_the_key() {
    assert_eq!(format!("{:?}", key(7)), "MasterKey(..)");
}
