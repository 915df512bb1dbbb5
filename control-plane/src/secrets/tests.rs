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

fn both(current: u8, previous: u8) -> MasterKey {
    key(current).opening(&format!("{previous:02x}").repeat(32)).unwrap()
}

/// The form that is only read: one byte names the key.
fn first_form(byte: u8, owner: &str, secret: &Secret) -> Vec<u8> {
    use ring::aead::{Aad, Nonce};
    let key = Key::from_bytes(Zeroizing::new([byte; KEY_BYTES]));
    let mut body = secret.expose_secret().as_bytes().to_vec();
    let nonce = Nonce::assume_unique_for_key([7; 12]);
    key.cipher().unwrap().seal_in_place_append_tag(nonce, Aad::from(owner), &mut body).unwrap();
    [&[key.id().first_form()][..], &[7; 12], &body].concat()
}

#[test]
fn while_keys_change_both_open_and_only_the_new_one_seals() {
    let before = key(1).seal(OWNER, &secret()).unwrap();
    let now = both(2, 1);
    assert_eq!(now.open_and_tell(OWNER, &before).unwrap(), (secret(), Under::Previous));
    let after = now.seal(OWNER, &secret()).unwrap();
    assert_eq!(now.open_and_tell(OWNER, &after).unwrap(), (secret(), Under::Current));
    assert_eq!(key(1).open(OWNER, &after), Err(UnsealError::OtherKey));
    assert_eq!(both(1, 2).open_and_tell(OWNER, &after).unwrap().1, Under::Previous);
}

#[test]
fn the_form_of_before_still_opens_also_where_one_byte_names_two_keys() {
    let old = first_form(1, OWNER, &secret());
    assert_eq!(key(1).open_and_tell(OWNER, &old).unwrap(), (secret(), Under::OlderForm));
    // Some other key has the same first byte, and none has the same name.
    let first = Key::from_bytes(Zeroizing::new([1; KEY_BYTES])).id().first_form();
    let twin = (2..=u8::MAX)
        .find(|byte| Key::from_bytes(Zeroizing::new([*byte; KEY_BYTES])).id().first_form() == first);
    if let Some(twin) = twin {
        assert_eq!(key(twin).open(OWNER, &old), Err(UnsealError::Altered));
        assert_eq!(both(twin, 1).open_and_tell(OWNER, &old).unwrap(), (secret(), Under::Previous));
    }
    for byte in 0..=u8::MAX {
        let old = first_form(byte, OWNER, &secret());
        assert_eq!(key(byte).open(OWNER, &old).unwrap(), secret(), "key {byte}");
    }
}

#[test]
fn previous_keys_are_read_from_lines_or_with_commas_and_refused_without_being_repeated() {
    let texts = ["01", "02", "03"].map(|byte| byte.repeat(32));
    let keys = key(9).opening(&format!("{}\n{}, {}\n", texts[0], texts[1], texts[2])).unwrap();
    assert_eq!(keys.previous_ids().len(), 3);
    assert_eq!(key(1).opening(&texts[0]).unwrap().previous_ids(), Vec::<String>::new(), "itself");
    let error = key(1).opening("sk-not-a-key").unwrap_err().to_string();
    assert!(!error.contains("sk-not-a-key"), "{error}");
    let many = (1..=9_u8).map(|byte| format!("{byte:02x}").repeat(32)).collect::<Vec<_>>().join(",");
    assert!(matches!(key(0xFF).opening(&many), Err(MasterKeyError::TooMany)));
}
