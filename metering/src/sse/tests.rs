use proptest::prelude::*;

use super::*;

/// Writes down what it gets: the events that matter, each with its data.
#[derive(Debug, Default, PartialEq)]
struct Recorder {
    events: Vec<(EventName, Vec<u8>)>,
    open: Vec<u8>,
}

impl Sink for Recorder {
    fn data(&mut self, _event: EventName, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    fn dispatch(&mut self, event: EventName) {
        self.events.push((event, std::mem::take(&mut self.open)));
    }
}

fn scan(pieces: &[&[u8]]) -> Vec<(EventName, String)> {
    let mut scanner = SseScanner::new();
    let mut recorder = Recorder::default();
    for piece in pieces {
        scanner.feed(piece, &mut recorder);
    }
    scanner.finish(&mut recorder);
    recorder.events.into_iter().map(|(event, data)| (event, String::from_utf8(data).unwrap())).collect()
}

fn one(event: EventName, data: &str) -> Vec<(EventName, String)> {
    vec![(event, data.to_owned())]
}

#[test]
fn every_line_ending_ends_lines() {
    for ending in ["\n", "\r\n", "\r"] {
        let text = format!(
            "event: error{ending}data: x{ending}{ending}event: message_stop{ending}data: y{ending}{ending}"
        );
        let expected = vec![(EventName::Error, "x".to_owned()), (EventName::MessageStop, String::new())];
        assert_eq!(scan(&[text.as_bytes()]), expected, "{ending:?}");
    }
}

#[test]
fn a_cut_between_cr_and_lf_makes_no_blank_line() {
    let pieces: [&[u8]; 4] = [b"event: error\r", b"\ndata: a\r", b"\ndata: b\r\n\r", b"\n"];
    assert_eq!(scan(&pieces), one(EventName::Error, "a\nb"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let text = b"\xEF\xBB\xBFevent: error\ndata: x\n\n";
    assert_eq!(scan(&[text]), one(EventName::Error, "x"));
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(scan(&bytes), one(EventName::Error, "x"));
    assert_eq!(scan(&[b"\xEF\xBBevent: error\ndata: x\n\n"]), Vec::new());
}

#[test]
fn comments_ids_and_retries_change_nothing() {
    let text = b": hello\nid: 7\nevent: error\n:data: no\nretry: 10\ndata: x\ndatax: no\n\n";
    assert_eq!(scan(&[text]), one(EventName::Error, "x"));
}

#[test]
fn data_lines_are_joined_by_a_line_feed() {
    let text = b"event: message_start\ndata: {\ndata\ndata:}\n\n";
    assert_eq!(scan(&[text]), one(EventName::MessageStart, "{\n\n}"));
}

#[test]
fn only_one_space_behind_the_colon_is_dropped() {
    assert_eq!(scan(&[b"event:error\ndata:  x \n\n"]), one(EventName::Error, " x "));
    assert_eq!(scan(&[b"event:  error\ndata: x\n\n"]), Vec::new());
}

#[test]
fn an_event_without_name_or_without_data_is_none() {
    assert_eq!(scan(&[b"data: {\"type\":\"error\"}\n\nevent: error\n\ndata: x\n\n"]), Vec::new());
}

#[test]
fn a_name_behind_its_data_still_counts() {
    assert_eq!(scan(&[b"data: a\ndata: b\nevent: message_delta\n\n"]), one(EventName::MessageDelta, "a\nb"));
}

#[test]
fn data_without_a_name_is_kept_only_up_to_a_bound() {
    let mut scanner = SseScanner::new();
    let mut recorder = Recorder::default();
    scanner.feed(b"data: ", &mut recorder);
    for _ in 0..1_000 {
        scanner.feed(&[b'x'; 1_000], &mut recorder);
    }
    assert!(scanner.unnamed.len() <= MAX_UNNAMED_DATA_BYTES);
}

#[test]
fn a_last_event_without_its_blank_line_counts() {
    assert_eq!(scan(&[b"event: message_stop\ndata: {}"]), one(EventName::MessageStop, ""));
}

#[test]
fn a_name_longer_than_any_known_one_is_another_event() {
    let long = format!("event: error{}\ndata: x\n\n", "x".repeat(10_000));
    assert_eq!(scan(&[long.as_bytes()]), Vec::new());
    let pieces: Vec<&[u8]> = long.as_bytes().chunks(5).collect();
    assert_eq!(scan(&pieces), Vec::new());
}

fn line() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        3 => Just("data: {\"a\":\"b\"}".to_owned()),
        1 => "data:? ?[a-z \u{e9}]{0,8}",
        2 => prop_oneof!["message_start", "content_block_delta", "message_stop", "ping", "error", ""]
            .prop_map(|name| format!("event: {name}")),
        1 => ":[a-z]{0,90}",
        1 => "[a-z:]{0,12}",
        3 => Just(String::new()),
    ];
    (field, prop_oneof!["\n", "\r\n", "\r"]).prop_map(|(field, ending)| field + &ending)
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(
        lines in prop::collection::vec(line(), 0..40),
        sizes in prop::collection::vec(1_usize..20, 1..20),
    ) {
        let text = lines.concat();
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        prop_assert_eq!(scan(&pieces), scan(&[text.as_bytes()]));
    }

    #[test]
    fn no_bytes_make_it_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
        let mut scanner = SseScanner::new();
        let mut recorder = Recorder::default();
        for piece in &pieces {
            scanner.feed(piece, &mut recorder);
        }
        scanner.finish(&mut recorder);
    }
}
