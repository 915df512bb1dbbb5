use proptest::prelude::*;

use super::super::chain::{NO_HASH, hex, personal_hash};
use super::super::file::{ExportError, ExportReport, export_verify};
use super::super::line::{FORMAT, Head, Line};
use super::*;

/// An export of a chain with these bodies, of which entries with an even number still have their personal part.
fn export(chain: &str, bodies: &[String]) -> String {
    let lines = entries(chain, bodies);
    let head = lines.last().map_or(Anchor { sequence: 0, hash: NO_HASH }, |(anchor, _)| *anchor);
    written(chain, 0, head, lines.into_iter().map(|(_, line)| line))
}

fn written(chain: &str, after: i64, head: Anchor, lines: impl Iterator<Item = Line>) -> String {
    let head = Head { format: FORMAT.to_owned(), chain: chain.to_owned(), after, head: head.into() };
    let lines = lines.map(|line| serde_json::to_string(&line).unwrap());
    std::iter::once(serde_json::to_string(&head).unwrap()).chain(lines).map(|line| line + "\n").collect()
}

fn entries(chain: &str, bodies: &[String]) -> Vec<(Anchor, Line)> {
    let (mut previous_hash, mut entries) = (NO_HASH, Vec::new());
    for (sequence, body) in (1..).zip(bodies) {
        let (salt, personal) = ([u8::try_from(sequence % 251).unwrap(); 32], format!("person {sequence}"));
        let personal_hash = personal_hash(&salt, &personal);
        let link =
            Link { chain, sequence, previous_hash: &previous_hash, personal_hash: &personal_hash, body };
        let hash = link.hash();
        let personal = (sequence % 2 == 0).then_some((personal.as_str(), &salt));
        let entry = Entry {
            chain,
            sequence,
            previous_hash: &previous_hash,
            personal_hash: &personal_hash,
            hash: &hash,
            body,
            personal,
        };
        entries.push((Anchor { sequence, hash }, Line::of(&entry)));
        previous_hash = hash;
    }
    entries
}

fn bodies(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{{\"action\":\"thing.made\",\"n\":{number}}}")).collect()
}

fn verify(export: &str, anchors: &[Anchor]) -> ExportReport {
    export_verify(export.as_bytes(), anchors).unwrap()
}

fn fault(export: &str) -> Option<FaultKind> {
    verify(export, &[]).fault.map(|fault| fault.kind)
}

#[test]
fn a_chain_as_it_was_written_is_sound_and_says_what_it_is() {
    let report = verify(&export("org_1", &bodies(5)), &[]);
    assert_eq!((report.entries, report.erased, report.first, report.fault), (5, 3, Some(1), None));
    assert!(report.head.unwrap().starts_with("5:"));
    let empty = verify(&export("org_1", &[]), &[]);
    assert_eq!((empty.entries, empty.head, empty.fault), (0, None, None));
}

#[test]
fn what_is_no_export_is_not_judged() {
    for text in ["", "\n", "{}\n", "{\"format\":\"other\"}", "mindweave audit export 1"] {
        assert!(matches!(export_verify(text.as_bytes(), &[]), Err(ExportError::NoExport)), "{text}");
    }
}

#[test]
fn each_way_to_tamper_has_its_name() {
    let lines: Vec<String> = export("org_1", &bodies(6)).lines().map(|line| format!("{line}\n")).collect();
    let of = |order: &[usize]| order.iter().map(|line| lines[*line].as_str()).collect::<String>();
    let foreign = export("org_2", &bodies(6));
    let foreign: Vec<&str> = foreign.lines().collect();
    assert_eq!(fault(&of(&[0, 1, 2, 4, 5, 6])), Some(FaultKind::Missing), "removed within");
    assert_eq!(fault(&of(&[0, 2, 3, 4, 5, 6])), Some(FaultKind::Missing), "removed at the beginning");
    assert_eq!(fault(&of(&[0, 1, 2, 3, 4, 5])), Some(FaultKind::Truncated), "removed at the end");
    assert_eq!(fault(&of(&[0, 1, 3, 2, 4, 5, 6])), Some(FaultKind::Missing), "reordered");
    assert_eq!(fault(&of(&[0, 1, 2, 2, 3, 4, 5, 6])), Some(FaultKind::OutOfOrder), "twice");
    let inserted = format!("{}{}\n{}", of(&[0, 1, 2]), foreign[3], of(&[3, 4, 5, 6]));
    assert_eq!(fault(&inserted), Some(FaultKind::OtherChain), "inserted");
    let changed = of(&[0, 1, 2, 3, 4, 5, 6]).replacen("\\\"n\\\":3", "\\\"n\\\":9", 1);
    assert_eq!(fault(&changed), Some(FaultKind::Changed), "changed");
    let person = of(&[0, 1, 2, 3, 4, 5, 6]).replacen("person 4", "person 5", 1);
    assert_eq!(fault(&person), Some(FaultKind::PersonalChanged), "another person");
}

/// What nobody can do without being seen from outside: whoever writes the whole chain anew makes a sound one.
#[test]
fn a_chain_that_was_written_anew_or_cut_with_its_head_shows_by_what_is_known_outside() {
    let (old, mut other) = (bodies(6), bodies(6));
    other[2] = "{\"action\":\"thing.hidden\"}".to_owned();
    let known = entries("org_1", &old);
    for anchor in known.iter().map(|(anchor, _)| *anchor) {
        let report = verify(&export("org_1", &old), &[anchor]);
        assert_eq!(report.fault, None);
        let anew = verify(&export("org_1", &other), &[anchor]).fault.map(|fault| fault.kind);
        assert_eq!(anew, (anchor.sequence >= 3).then_some(FaultKind::OtherHistory), "{anchor}");
        let cut = verify(&export("org_1", &old[..4]), &[anchor]).fault.map(|fault| fault.kind);
        assert_eq!(cut, (anchor.sequence > 4).then_some(FaultKind::Truncated), "{anchor}");
    }
    assert_eq!(fault(&export("org_1", &other)), None, "the chain alone cannot tell");
}

#[test]
fn a_part_of_a_chain_is_verified_as_far_as_it_goes() {
    let all = entries("org_1", &bodies(6));
    let anchor = |number: usize| all[number - 1].0;
    let part = written("org_1", 3, anchor(6), all.iter().skip(3).map(|(_, line)| line.clone()));
    for number in 3..=6 {
        assert_eq!(verify(&part, &[anchor(number)]).fault, None, "{number}");
    }
    let kind = |anchors: &[Anchor]| verify(&part, anchors).fault.map(|fault| fault.kind);
    assert_eq!(kind(&[anchor(2)]), Some(FaultKind::NotCovered));
    assert_eq!(kind(&[Anchor { hash: [7; 32], ..anchor(3) }]), Some(FaultKind::OtherHistory));
    let gap = written("org_1", 2, anchor(6), all.iter().skip(3).map(|(_, line)| line.clone()));
    assert_eq!(fault(&gap), Some(FaultKind::Missing));
}

#[test]
fn an_anchor_is_read_as_it_is_written_and_nothing_else_is() {
    let anchor = Anchor { sequence: 42, hash: [0xAB; 32] };
    assert_eq!(anchor.to_string(), format!("42:{}", "ab".repeat(32)));
    assert_eq!(anchor.to_string().parse(), Ok(anchor));
    for text in
        ["", "42", "42:", "x:ab", &format!("-1:{}", "ab".repeat(32)), &format!("1:{}", "AB".repeat(32))]
    {
        assert!(text.parse::<Anchor>().is_err(), "{text}");
    }
}

/// No two entries are hashed as the same bytes, wherever one field ends and the next begins.
#[test]
fn a_byte_that_moves_from_one_field_to_the_next_changes_the_hash() {
    let hash = |chain: &str, body: &str| {
        Link { chain, sequence: 1, previous_hash: &NO_HASH, personal_hash: &NO_HASH, body }.hash()
    };
    assert_ne!(hash("org_1", "{}"), hash("org_1\0", "{}"));
    let shifted = format!("a\0{}", "\0".repeat(8));
    assert_ne!(hash("a", "{}"), hash(&shifted, "{}"));
    assert_ne!(hash("org_1", "ab"), hash("org_1a", "b"));
}

/// What an export says: everything but blanks between its parts.
fn content(export: &str) -> Vec<serde_json::Value> {
    export.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_byte_that_is_changed_is_found(count in 1_usize..6, place in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let sound = export("org_1", &bodies(count));
        let mut bytes = sound.clone().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let found = match export_verify(bytes.as_slice(), &[]) {
            Ok(report) => report.fault.is_some(),
            Err(_) => true,
        };
        let same = String::from_utf8(bytes).is_ok_and(|changed| content(&changed) == content(&sound));
        prop_assert!(found || same, "byte {place}");
    }

    #[test]
    fn any_lines_that_are_removed_swapped_or_repeated_are_found(
        count in 2_usize..8, one in any::<prop::sample::Index>(), two in any::<prop::sample::Index>(), what in 0..3
    ) {
        let sound = export("org_1", &bodies(count));
        let mut lines: Vec<&str> = sound.lines().collect();
        let (one, two) = (1 + one.index(count), 1 + two.index(count));
        match what {
            0 => drop(lines.remove(one)),
            1 => lines.swap(one, two),
            _ => lines.insert(two, lines[one]),
        }
        let changed = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        prop_assert_eq!(verify(&changed, &[]).fault.is_none(), changed == sound);
    }

    /// Erasing is the one thing that may be done.
    #[test]
    fn any_persons_that_are_erased_leave_the_chain_whole(count in 1_usize..8, erased in any::<u8>()) {
        let mut lines = entries("org_1", &bodies(count));
        for (number, (_, line)) in lines.iter_mut().enumerate() {
            if erased >> (number % 8) & 1 == 1 {
                (line.personal, line.personal_salt) = (None, None);
            }
        }
        let gone = lines.iter().filter(|(_, line)| line.personal.is_none()).count();
        let head = lines.last().unwrap().0;
        let report = verify(&written("org_1", 0, head, lines.into_iter().map(|(_, line)| line)), &[]);
        prop_assert_eq!((report.fault, report.erased), (None, u64::try_from(gone).unwrap()));
        prop_assert_eq!(report.head, Some(format!("{count}:{}", hex(&head.hash))));
    }
}
