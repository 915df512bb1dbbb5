use super::*;

/// CRC32C bit by bit, as RFC 3720 defines it: shares nothing with the library.
fn crc32c_of(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().flat_map(|part| part.iter()) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}

const ID: JournalId = JournalId(*b"0123456789abcdef");

#[test]
fn a_segment_header_has_the_specified_bytes() {
    let header = SegmentHeader { journal: ID, number: 0x0102, bytes: 0x0304, floor: Sequence::new(0x0506) };
    let mut expected = Vec::new();
    expected.extend(b"MWJRNSEG\x01\0\0\0");
    expected.extend([0; 4]);
    expected.extend(ID.0);
    expected.extend(b"\x02\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\0\0\x06\x05\0\0\0\0\0\0");
    expected.extend([0; 8]);
    let crc = crc32c_of(&[&expected[..12], &expected[16..]]).to_le_bytes();
    expected[12..16].copy_from_slice(&crc);
    assert_eq!(header.encode().as_slice(), expected);
    assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
}

#[test]
fn a_record_header_has_the_specified_bytes() {
    let header = RecordHeader {
        kind: RecordKind::Finished,
        payload_len: 5,
        payload_crc: crc32c_of(&[b"hello"]),
        sequence: Sequence::new(0x0A0B),
        admission: Sequence::new(0x0C),
        key: *b"kkkkkkkkkkkkkkkk",
    };
    let mut expected = Vec::new();
    expected.extend(b"MWr1");
    expected.extend([0; 4]);
    expected.extend(b"\x02\0\0\0\x05\0\0\0");
    expected.extend(crc32c_of(&[b"hello"]).to_le_bytes());
    expected.extend([0; 4]);
    expected.extend(b"\x0B\x0A\0\0\0\0\0\0\x0C\0\0\0\0\0\0\0kkkkkkkkkkkkkkkk");
    let crc = crc32c_of(&[&ID.0, &expected[8..]]).to_le_bytes();
    expected[4..8].copy_from_slice(&crc);
    assert_eq!(header.encode(ID.seed()).as_slice(), expected);
    assert_eq!(RecordHeader::decode(&header.encode(ID.seed()), ID.seed()), Some(header));
    assert!(header.fits_payload(b"hello"));
    assert_eq!(header.record_bytes(), 64);
}

#[test]
fn a_header_with_any_bit_flipped_is_none() {
    let record = RecordHeader {
        kind: RecordKind::Event,
        payload_len: 9,
        payload_crc: 1,
        sequence: Sequence::new(2),
        admission: Sequence::new(2),
        key: [0; 16],
    };
    let segment = SegmentHeader { journal: ID, number: 1, bytes: 4096, floor: Sequence::new(1) };
    for bit in 0..RECORD_HEADER_LEN * 8 {
        let mut bytes = record.encode(ID.seed());
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(RecordHeader::decode(&bytes, ID.seed()), None, "bit {bit}");
    }
    for bit in 0..SegmentHeader::LEN * 8 {
        let mut bytes = segment.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadSegmentHeader::Damaged), "bit {bit}");
    }
}

#[test]
fn a_record_of_another_journal_is_none() {
    let record = RecordHeader {
        kind: RecordKind::Admitted,
        payload_len: 0,
        payload_crc: 0,
        sequence: Sequence::new(1),
        admission: Sequence::new(1),
        key: [0; 16],
    };
    assert_eq!(RecordHeader::decode(&record.encode(ID.seed()), JournalId([0; 16]).seed()), None);
}
