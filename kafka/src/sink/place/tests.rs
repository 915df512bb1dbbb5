use super::*;

fn cluster(id: &str, partitions: i32) -> Cluster {
    Cluster { id: id.to_owned(), partitions, message_bytes: None, shortcomings: Vec::new() }
}

#[test]
fn a_place_is_read_back_as_it_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::choose("a1b2", &cluster("c", 12)).advanced(Sequence::new(77), Some(5));
    place.store(folder.path()).unwrap();
    let advanced = place.advanced(Sequence::new(78), None);
    advanced.store(folder.path()).unwrap();
    let read = Place::read(folder.path()).unwrap();
    assert_eq!(read, advanced);
    assert_eq!(read.position(), Some(Sequence::new(78)));
    assert!(read.is_beyond(5) && !read.is_beyond(6), "an acknowledged offset is not forgotten");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn what_cannot_be_read_is_no_place() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Place::read(folder.path()), None);
    let whole = serde_json::to_string(&Place::choose("a", &cluster("c", 1))).unwrap();
    let newer = whole.replace("\"version\":1", "\"version\":2");
    for text in ["", "{}", "null", whole.strip_suffix('}').unwrap(), &newer] {
        fs::write(folder.path().join(FILE), text).unwrap();
        assert_eq!(Place::read(folder.path()), None, "{text}");
    }
}

#[test]
fn a_place_fits_its_journal_and_cluster_for_as_long_as_the_partition_is_there() {
    let place = Place::choose("a1b2", &cluster("c", 12));
    assert!(place.fits("a1b2", &cluster("c", 12)));
    assert!(place.fits("a1b2", &cluster("c", 64)), "partitions may be added");
    assert!(!place.fits("a1b2", &cluster("c", place.partition)), "the partition is gone");
    assert!(!place.fits("other", &cluster("c", 12)));
    assert!(!place.fits("a1b2", &cluster("other", 12)));
}

#[test]
fn journals_spread_over_all_partitions() {
    let journals =
        (0..1_000_u32).map(|number| format!("{:032x}", u128::from(number) * 0x9e37_79b9_7f4a_7c15));
    let mut counts = [0_u32; 12];
    for journal in journals {
        let partition = usize::try_from(partition_of(&journal, 12)).unwrap();
        counts[partition] += 1;
    }
    assert!(counts.iter().all(|count| (40..140).contains(count)), "{counts:?}");
    assert_eq!(partition_of("x", 1), 0);
    assert_eq!(partition_of("x", 0), 0);
}
