use proptest::prelude::*;

use super::*;

const NOTHING: [&str; 0] = [];

fn found_in(text: &str) -> Vec<&'static str> {
    let body = serde_json::json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
    detect(body.as_bytes())
}

/// What must be found, by category.
const FINDINGS: &[(&str, &str)] = &[
    ("email", "write to jane.doe@example.com, please"),
    ("email", "<a href=\"mailto:Jane+tag@mail.example.co.uk\">"),
    ("email", "Mail: o'neil_99@sub-domain.example.museum."),
    ("email", "邮箱foo@bar.cn是"),
    ("phone", "call +49 30 901820 tomorrow"),
    ("phone", "+4915112345678"),
    ("phone", "+33 6 12 34 56 78"),
    ("phone", "+44 (0)20 7946 0958"),
    ("phone", "(415) 555-0123"),
    ("phone", "415-555-0123"),
    ("phone", "415.555.0123"),
    ("phone", "1-415-555-0123"),
    ("phone", "+14155550123"),
    ("phone", "+1 (415) 555-0123"),
    ("credit_card", "4111111111111111"),
    ("credit_card", "card: 4111 1111 1111 1111, exp 12/27"),
    ("credit_card", "12 4111-1111-1111-1111"),
    ("credit_card", "3782 822463 10005"),
    ("credit_card", "378282246310005"),
    ("credit_card", "5555555555554444"),
    ("credit_card", "2223003122003222"),
    ("credit_card", "6011 1111 1111 1117"),
    ("credit_card", "4111\u{A0}1111\u{A0}1111\u{A0}1111"),
    ("credit_card", "卡号4111111111111111"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432"),
    ("iban", "(NO9386011117947)"),
    ("us_ssn", "SSN 123-45-6789."),
    ("ip_address", "from 203.0.113.7:443"),
    ("ip_address", "10.0.0.0/8"),
    ("ip_address", "[2001:db8::8a2e:370:7334]"),
    ("ip_address", "2001:0db8:0000:0000:0000:8a2e:0370:7334"),
    ("api_key", "sk-ant-api03-AbCdEf0123456789AbCdEf"),
    ("api_key", "AKIAIOSFODNN7EXAMPLE"),
    ("api_key", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
    ("api_key", "-----BEGIN PRIVATE KEY-----\nMIIE"),
    ("api_key", "-----BEGIN OPENSSH PRIVATE KEY-----"),
    ("api_key", "export KEY=mw_0123456789abcdef0123456789abcdef"),
];

/// What looks like something and is nothing.
const NOTHINGS: &[&str] = &[
    "",
    "git@github.com:acme/shop.git",
    "Co-Authored-By: Claude <noreply@anthropic.com>",
    "npm install @acme/shop@1.2.3",
    "icon@2x.png",
    "root@localhost",
    "a @ b.de and @media screen.print",
    "4111111111111112",    // Luhn
    "94111111111111111",   // in a longer number
    "4111111111111111.25", // a decimal
    "0.4111111111111111",
    "x4111111111111111",
    "1732186800000000000", // nanoseconds
    "4111 1111 1111 1111-1",
    "0000000000000000",
    "550e8400-e29b-41d4-a716-446655440000", // a UUID
    "12345678-4111-1111-1111-111111111111",
    "2026-11-21T12:00:00Z",
    "666-12-3456 000-12-3456 123-00-4567 123-45-0000 900-12-3456",
    "123-45-67890",
    "1123-45-6789",
    "DE89 3704 0044 0532 0130 01", // mod 97
    "DE8937040044053201300",       // too short
    "XDE89370400440532013000",
    "version 1.2.3.4.5, v1.2.3.4, 300.1.1.1",
    "127.0.0.1, 0.0.0.0, 255.255.255.255",
    "std::collections::HashMap, dead::beef, abc::def1",
    "12:30:45, ::1, aa:bb:cc:dd:ee:ff",
    "+1700000000\n+1700000001", // added lines of a diff
    "115-555-0123 and 415-155-0123",
    "555-0123",
    "4 + 12345678",
    "i++1234567890",
    "sk-ant-... AKIA ghp_xxx AKIAIOSFODNN7EXAMPLE1",
    "-----BEGIN PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----",
];

#[test]
fn every_category_is_found_in_the_forms_that_people_write() {
    for (category, text) in FINDINGS {
        assert_eq!(found_in(text), [*category], "{text:?}");
    }
    assert!(CATEGORIES.iter().all(|known| FINDINGS.iter().any(|(category, _)| category == known)));
}

#[test]
fn what_only_looks_like_personal_data_is_left_alone() {
    for text in NOTHINGS {
        assert_eq!(found_in(text), NOTHING, "{text:?}");
    }
}

#[test]
fn a_number_that_a_window_cuts_is_not_taken_for_a_shorter_one() {
    for text in
        ["version 1.2.3.4.5 of it", "no 123-45-6789-1", "4111 1111 1111 1111-1", "x 2001:db8::1:2:3:4:5:6:7"]
    {
        for window in 1..=OVERLAP_BYTES {
            let body = format!("{}{text}{}", ".".repeat(OVERLAP_BYTES), ".".repeat(OVERLAP_BYTES));
            assert_eq!(detect_by_windows(body.as_bytes(), window), NOTHING, "{text:?} by {window}");
        }
    }
}

#[test]
fn findings_are_named_once_in_a_fixed_order() {
    let text = FINDINGS.iter().rev().map(|(_, text)| *text).collect::<Vec<_>>().join("\n");
    assert_eq!(found_in(&text), CATEGORIES);
    assert_eq!(Category::ALL.map(Category::as_str), CATEGORIES);
}

#[test]
fn escapes_hide_nothing() {
    for body in [
        r#"{"x":"jane\u0040example.com"}"#,
        r#"{"x":"\u006aane@ex\u0061mple\u002ecom"}"#,
        r#"{"x":"a\njane@example.com\n"}"#,
        r#"{"jane@example.com":1}"#,
        r#"["<jane@example.com>"#,
        r#"{"x":"\ud83d\ude00jane@example.com"}"#,
    ] {
        assert_eq!(detect(body.as_bytes()), ["email"], "{body}");
    }
    for body in [
        r#"{"card":4111111111111111}"#,
        r#"["4111\u00a01111\u20111111 1111"]"#,
        r#""4111 1111\u20091111 1111""#,
    ] {
        let expected: &[&str] = if body.contains("2011") { &[] } else { &["credit_card"] }; // a dash among spaces is none
        assert_eq!(detect(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn broken_escapes_end_nothing_early() {
    for body in [r#""\u12 jane@example.com""#, r#""\q jane@example.com""#, r#""\u00e9jane@example.com""#] {
        assert_eq!(detect(body.as_bytes()), ["email"], "{body}");
    }
    for body in ["\\", "\"\\u", "\"\\u0", "\"\\u004", "\\u0040", "@", "+", "\u{C2}", ""] {
        assert_eq!(detect(body.as_bytes()), NOTHING, "{body}");
    }
    assert_eq!(detect(&[0xC2]), NOTHING);
    assert_eq!(detect(&[0xE2, 0x80]), NOTHING);
}

#[test]
fn an_image_is_passed_over_and_what_follows_it_is_not() {
    let image = "iVBORw0KGgo/4111111111111111/AAAA".repeat(20_000);
    let long = format!(r#"{{"data":"{}{image}","text":"x"}}"#, "A".repeat(300));
    assert_eq!(detect(long.as_bytes()), NOTHING);
    let with_text = long.replace("\"x\"", "\"jane@example.com\"");
    assert_eq!(detect(with_text.as_bytes()), ["email"]);
}

#[test]
fn hostile_bodies_cost_what_honest_ones_do() {
    // Quadratic work on a megabyte would be a million times this; the bound is wide enough for a busy machine.
    const MOST: std::time::Duration = std::time::Duration::from_secs(20);
    let patterns = [
        "@",
        "a@",
        "a.a@a.a.",
        "+1 ",
        "+1-1-1-1-",
        "1",
        "1 ",
        "1.",
        "1-1",
        "12.12.12.12.",
        "(1) ",
        ":",
        "1:",
        "a:b:",
        "::",
        "DE89",
        "DE89 3704 0044 ",
        "-----BEGIN ",
        "sk-ant-",
        "AKIA",
        "\\u0040",
        "\\",
        "\\u",
        "ghp_a",
        "\u{A0}",
        "4111 ",
    ];
    for pattern in patterns {
        let body = pattern.repeat((1 << 20) / pattern.len());
        let started = std::time::Instant::now();
        detect(body.as_bytes());
        assert!(started.elapsed() < MOST, "{pattern:?} took {:?}", started.elapsed());
    }
}

proptest! {
    /// Bytes that are likely to confuse: signs, digits, escapes, halves of characters.
    #[test]
    fn no_bytes_break_it_and_the_cut_into_windows_changes_nothing(
        pieces in prop::collection::vec(prop_oneof![
            prop::sample::select(FINDINGS).prop_map(|(_, text)| text.as_bytes().to_vec()),
            prop::sample::select(NOTHINGS).prop_map(|text| text.as_bytes().to_vec()),
            "[ -~]{0,40}".prop_map(String::into_bytes),
            "[0-9 .+:@()-]{0,60}".prop_map(String::into_bytes),
            r#"(\\u[0-9a-f]{0,4}|\\n|\\){0,6}"#.prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..20),
            (0_usize..900, prop::sample::select(b"aZ0/+=".as_slice())).prop_map(|(n, byte)| vec![byte; n]),
        ], 0..40),
        window in 1_usize..700,
    ) {
        let body = pieces.concat();
        prop_assert_eq!(detect_by_windows(&body, window), detect(&body));
    }

    #[test]
    fn a_finding_is_found_wherever_it_stands(
        before in "[a-z ,\n]{0,1500}",
        (category, text) in prop::sample::select(FINDINGS),
        after in "[a-z ,\n]{0,1500}",
        window in 1_usize..2000,
    ) {
        let body = serde_json::json!({ "content": format!("{before} {text} {after}") }).to_string();
        prop_assert_eq!(detect_by_windows(body.as_bytes(), window), [category]);
    }

    #[test]
    fn prose_and_code_without_digits_hold_nothing(text in "[a-zA-Z \n.,;:(){}<>=+*/_-]{0,3000}") {
        prop_assert_eq!(found_in(&text), Vec::<&str>::new());
    }
}
