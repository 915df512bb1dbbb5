use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

/// What a visitor saw, as text, for comparison.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    lines: Vec<String>,
}

/// Enters everything to this depth, captures scalars, and writes down what it is asked.
struct Recorder {
    log: Log,
    enter_depth: u8,
    limit: usize,
}

impl Recorder {
    fn action(&mut self, depth: u8, kind: ValueKind) -> Action<u8> {
        match kind {
            ValueKind::Object | ValueKind::Array if depth < self.enter_depth => Action::Enter(depth),
            ValueKind::Null => Action::Skip,
            _ => Action::Capture(depth, self.limit),
        }
    }
}

impl Visitor for Recorder {
    type Node = u8;

    fn root(&mut self, kind: ValueKind) -> Action<u8> {
        self.log.lines.push(format!("root {kind:?}"));
        self.action(0, kind)
    }

    fn member(&mut self, parent: u8, key: &str, kind: ValueKind) -> Action<u8> {
        self.log.lines.push(format!("{parent} member {key:?} {kind:?}"));
        self.action(parent + 1, kind)
    }

    fn element(&mut self, parent: u8, kind: ValueKind) -> Action<u8> {
        self.log.lines.push(format!("{parent} element {kind:?}"));
        self.action(parent + 1, kind)
    }

    fn captured(&mut self, node: u8, value: Captured<'_>) {
        self.log.lines.push(format!("{node} captured {:?} {} at {}", value.raw, value.cut, value.offset));
    }

    fn leave(&mut self, node: u8) {
        self.log.lines.push(format!("{node} leave"));
    }
}

fn scan_chunks<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    enter_depth: u8,
    limit: usize,
) -> (Log, Result<(), JsonFault>) {
    let mut recorder = Recorder { log: Log::default(), enter_depth, limit };
    let mut scanner = Scanner::new();
    for chunk in chunks {
        if let Err(fault) = scanner.feed(chunk, &mut recorder) {
            return (recorder.log, Err(fault));
        }
    }
    let outcome = scanner.finish(&mut recorder);
    (recorder.log, outcome)
}

fn scan(text: &[u8]) -> (Log, Result<(), JsonFault>) {
    scan_chunks([text], 3, 1000)
}

/// Skips the root value: the reading that `IgnoredAny` is the oracle of.
fn skims(text: &[u8]) -> bool {
    struct Skim;
    impl Visitor for Skim {
        type Node = ();
        fn root(&mut self, _: ValueKind) -> Action<()> {
            Action::Skip
        }
        fn member(&mut self, (): (), _: &str, _: ValueKind) -> Action<()> {
            panic!("nothing was entered")
        }
    }
    let mut scanner = Scanner::new();
    scanner.feed(text, &mut Skim).and_then(|()| scanner.finish(&mut Skim)).is_ok()
}

fn serde_accepts(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

#[test]
fn a_visitor_sees_entered_members_in_order_with_decoded_keys() {
    let (log, outcome) = scan(br#"{"mod\u0065l": "m", "a":[1,{"b":true}],"n":null , "model":2e3}"#);
    assert_eq!(outcome, Ok(()));
    let expected = [
        "root Object".to_owned(),
        r#"0 member "model" String"#.to_owned(),
        format!("1 captured {:?} false at 15", br#""m""#),
        r#"0 member "a" Array"#.to_owned(),
        "1 element Number".to_owned(),
        format!("2 captured {:?} false at 25", b"1"),
        "1 element Object".to_owned(),
        r#"2 member "b" Boolean"#.to_owned(),
        format!("3 captured {:?} false at 32", b"true"),
        "2 leave".to_owned(),
        "1 leave".to_owned(),
        r#"0 member "n" Null"#.to_owned(),
        r#"0 member "model" Number"#.to_owned(),
        format!("1 captured {:?} false at 58", b"2e3"),
        "0 leave".to_owned(),
    ];
    assert_eq!(log.lines, expected);
}

#[test]
fn a_capture_beyond_its_bound_is_cut_and_says_so() {
    for split in 0..12 {
        let text: &[u8] = br#"{"k":"0123"}"#;
        let (log, outcome) = scan_chunks([&text[..split], &text[split..]], 1, 4);
        assert_eq!(outcome, Ok(()));
        assert_eq!(log.lines[2], format!("1 captured {:?} true at 5", br#""012"#), "split at {split}");
    }
}

#[test]
fn every_byte_that_cannot_stand_is_named_with_its_place() {
    use JsonFaultKind::*;
    let cases: [(&[u8], JsonFaultKind, u64); 22] = [
        (b"", UnexpectedEnd, 0),
        (b"{\"a\":1", UnexpectedEnd, 6),
        (b"-", UnexpectedEnd, 1),
        (b"\xef\xbb\xbf{}", ExpectedValue, 0),
        (b"{\"a\":}", ExpectedValue, 5),
        (b"[1,]", ExpectedValue, 3),
        (b"{,}", ExpectedKey, 1),
        (b"{\"a\":1,}", ExpectedKey, 7),
        (b"{\"a\" 1}", ExpectedColon, 5),
        (b"[1 2]", ExpectedCommaOrEnd, 3),
        (b"{\"a\":1 \"b\":2}", ExpectedCommaOrEnd, 7),
        (b"[1}", ExpectedCommaOrEnd, 2),
        (b"{\"a\":1]", ExpectedCommaOrEnd, 6),
        (b"[01]", InvalidNumber, 2),
        (b"[1.]", InvalidNumber, 3),
        (b"[nul]", InvalidLiteral, 4),
        (b"[\"\\x\"]", InvalidEscape, 3),
        (b"[\"\\u12g4\"]", InvalidEscape, 6),
        (b"[\"a\nb\"]", ControlCharacter, 3),
        (b"{\"\\ud800\":1}", KeyNotUnicode, 1),
        (b"{\"a\xff\":1}", KeyNotUnicode, 1),
        (b"{} {}", TrailingBytes, 3),
    ];
    for (text, kind, offset) in cases {
        assert_eq!(scan(text).1, Err(JsonFault { kind, offset }), "{}", text.escape_ascii());
        let bytewise = scan_chunks(text.chunks(1), 3, 1000).1;
        assert_eq!(bytewise, Err(JsonFault { kind, offset }), "byte by byte: {}", text.escape_ascii());
    }
}

#[test]
fn nesting_stops_at_its_bound_and_not_before() {
    let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
    assert_eq!(scan(&nested(MAX_DEPTH)).1, Ok(()));
    let too_deep = JsonFault { kind: JsonFaultKind::TooDeep, offset: 1024 };
    assert_eq!(scan(&nested(MAX_DEPTH + 1)).1, Err(too_deep));
    assert_eq!(scan(&vec![b'['; 20_000]).1, Err(too_deep));
    assert_eq!(scan(&nested(1_000_000)).1, Err(too_deep));
}

#[test]
fn mixed_containers_close_in_their_own_order_across_the_words_of_the_stack() {
    let open: Vec<u8> =
        (0..500).flat_map(|at| if at % 3 == 0 { b"{\"k\":".to_vec() } else { b"[".to_vec() }).collect();
    let close: Vec<u8> = (0..500).rev().map(|at| if at % 3 == 0 { b'}' } else { b']' }).collect();
    let good = [open.clone(), b"0".to_vec(), close.clone()].concat();
    assert_eq!(scan(&good).1, Ok(()));
    for at in 0..close.len() {
        let mut bad = close.clone();
        bad[at] = if bad[at] == b'}' { b']' } else { b'}' };
        let bad = [open.clone(), b"0".to_vec(), bad].concat();
        assert_eq!(scan(&bad).1.map_err(|fault| fault.kind), Err(JsonFaultKind::ExpectedCommaOrEnd));
    }
}

#[test]
fn a_key_beyond_its_bound_is_skipped_with_its_value() {
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    let kept = "k".repeat(MAX_KEY_BYTES);
    let (log, outcome) = scan(format!(r#"{{"{long}":{{"x":1}},"{kept}":null}}"#).as_bytes());
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        log.lines,
        ["root Object".to_owned(), format!("0 member {kept:?} Null"), "0 leave".to_owned()]
    );
}

#[test]
fn a_faulty_scanner_repeats_its_fault_and_asks_nothing_more() {
    let mut recorder = Recorder { log: Log::default(), enter_depth: 3, limit: 10 };
    let mut scanner = Scanner::new();
    let fault = scanner.feed(b"{x", &mut recorder).unwrap_err();
    let seen = recorder.log.lines.len();
    assert_eq!(scanner.feed(br#""a":1}"#, &mut recorder), Err(fault));
    assert_eq!(scanner.finish(&mut recorder), Err(fault));
    assert!(!scanner.is_complete());
    assert_eq!(recorder.log.lines.len(), seen);
    scanner.reset();
    scanner.feed(b"{}", &mut recorder).unwrap();
    assert!(scanner.is_complete());
}

#[test]
fn captured_values_decode_like_serde_json() {
    let text = |raw: &'static [u8]| Captured { raw, cut: false, offset: 0, length: 0 }.text();
    assert_eq!(text(br#""a\u00e9\ud83d\ude00\n""#).as_deref(), Some("a\u{e9}\u{1f600}\n"));
    assert_eq!(text(b"\"\xff\""), None);
    assert_eq!(text(br#""\udc00""#), None);
    assert_eq!(text(b"12"), None);
    let unsigned = |raw: &'static [u8]| Captured { raw, cut: false, offset: 0, length: 0 }.unsigned();
    assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
    for other in [&b"18446744073709551616"[..], b"-1", b"1.0", b"1e3", b"\"1\"", b"null"] {
        assert_eq!(unsigned(other), None);
    }
    assert_eq!(Captured { raw: b"1234", cut: true, offset: 0, length: 0 }.unsigned(), None);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
        "[a-zA-Z0-9+/\"\\\\]{0,300}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A change of a few bytes somewhere, with a taste for bytes that mean something.
fn mutate(text: &mut Vec<u8>, edits: &[(usize, u8, u8)]) {
    const TELLING: &[u8] = b"{}[]\",:\\\n\t 0123456789.eE+-truefalsn/\x00\x1f\x7f\xff\xef\xbb\xbfu";
    for &(at, what, how) in edits {
        let byte = TELLING[usize::from(what) % TELLING.len()];
        let at = at % (text.len() + 1);
        match how % 3 {
            0 => text.insert(at, byte),
            1 if at < text.len() => text[at] = byte,
            _ if at < text.len() => {
                text.remove(at);
            }
            _ => text.push(byte),
        }
    }
}

fn cuts(text: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = text;
    let mut pieces = Vec::new();
    for &size in sizes.iter().cycle().take(text.len() + sizes.len()) {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_serde_json_accepts_is_accepted_and_nothing_else(
        value in json(),
        pretty in any::<bool>(),
        edits in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 0..3),
    ) {
        let mut text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        mutate(&mut text, &edits);
        prop_assert_eq!(skims(&text), serde_accepts(&text), "{}", text.escape_ascii());
    }

    #[test]
    fn arbitrary_telling_bytes_are_judged_like_serde_json(
        text in proptest::collection::vec(
            proptest::sample::select(br#"{}[]",:\ 01.eE+-tfnu"#.to_vec()), 0..12),
    ) {
        prop_assert_eq!(skims(&text), serde_accepts(&text), "{}", text.escape_ascii());
    }

    #[test]
    fn any_chunking_gives_the_same_calls_and_the_same_fault(
        value in json(),
        edits in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 0..2),
        sizes in proptest::collection::vec(0_usize..40, 1..8),
        limit in 0_usize..60,
    ) {
        let mut text = serde_json::to_vec(&value).unwrap();
        mutate(&mut text, &edits);
        let whole = scan_chunks([text.as_slice()], 3, limit);
        let pieces = cuts(&text, &sizes);
        let cut = scan_chunks(pieces.iter().map(Vec::as_slice), 3, limit);
        prop_assert_eq!(&whole, &cut);
        let bytewise = scan_chunks(text.chunks(1), 3, limit);
        prop_assert_eq!(&whole, &bytewise);
    }

    #[test]
    fn the_end_of_a_long_string_is_found_at_every_alignment(
        before in 0_usize..200,
        special in proptest::sample::select(vec![b'"', b'\\', 0x1f, 0, b'\n']),
        after in proptest::collection::vec(any::<u8>(), 0..20),
        fill in 0x20_u8..=0xff,
    ) {
        prop_assume!(fill != b'"' && fill != b'\\');
        let mut bytes = vec![fill; before];
        bytes.push(special);
        bytes.extend(after);
        prop_assert_eq!(text::plain_len(&bytes), before);
        prop_assert_eq!(text::plain_len(&bytes[..before]), before);
    }
}
