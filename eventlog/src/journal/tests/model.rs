//! Random actions, crashes and damage, in lockstep with a model that is a few lists.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::journal::format::RecordKind;
use crate::journal::{Admission, Interrupted, Tail};

#[derive(Clone, Debug)]
enum Action {
    Admit { size: usize },
    Finish { which: usize, size: usize },
    DropTicket { which: usize },
    Event { size: usize },
    Events { sizes: Vec<usize> },
    Sync,
    Read { records: usize },
    Release,
    Restart { segment_bytes: u64 },
    Crash { damage: Damage },
}

/// What happens to the files between a crash and the next start. Places are shares of what is there, in 1/1000.
#[derive(Clone, Debug)]
enum Damage {
    None,
    /// The newest segment ends at some byte of its last records.
    Torn {
        place: u64,
        how: Tear,
    },
    /// One bit of a record is another.
    Flipped {
        record: u64,
        byte: u64,
        bit: u8,
    },
}

#[derive(Clone, Copy, Debug)]
enum Tear {
    Shorter,
    Zeroed,
    Garbage,
}

fn action() -> impl Strategy<Value = Action> {
    let damage = prop_oneof![
        2 => Just(Damage::None),
        2 => (0..1000_u64, prop_oneof![Just(Tear::Shorter), Just(Tear::Zeroed), Just(Tear::Garbage)])
            .prop_map(|(place, how)| Damage::Torn { place, how }),
        2 => (0..1000_u64, 0..1000_u64, 0..8_u8).prop_map(|(record, byte, bit)| Damage::Flipped { record, byte, bit }),
    ];
    prop_oneof![
        8 => (0..900_usize).prop_map(|size| Action::Admit { size }),
        8 => (any::<usize>(), 0..=256_usize).prop_map(|(which, size)| Action::Finish { which, size }),
        1 => any::<usize>().prop_map(|which| Action::DropTicket { which }),
        5 => (0..1500_usize).prop_map(|size| Action::Event { size }),
        3 => proptest::collection::vec(0..1500_usize, 0..25).prop_map(|sizes| Action::Events { sizes }),
        1 => Just(Action::Sync),
        4 => (1..20_usize).prop_map(|records| Action::Read { records }),
        3 => Just(Action::Release),
        1 => prop_oneof![Just(4096_u64), Just(8192), Just(16384)].prop_map(|segment_bytes| Action::Restart { segment_bytes }),
        2 => damage.prop_map(|damage| Action::Crash { damage }),
    ]
}

/// The journal under test and what it should hold.
struct Lockstep {
    dir: TempDir,
    config: JournalConfig,
    journal: Journal,
    tail: Tail,
    /// Events that the journal owes its readers, in order; released ones may be gone.
    events: Vec<(Sequence, Vec<u8>)>,
    /// Admissions whose ticket is held.
    open: Vec<(Admission, Vec<u8>)>,
    /// Admissions whose ticket was dropped.
    abandoned: BTreeMap<Sequence, Vec<u8>>,
    read_through: Sequence,
    released: Sequence,
    highest: Sequence,
    /// Makes every payload another.
    counter: u32,
}

impl Lockstep {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config = JournalConfig { max_bytes: 1 << 20, ..small(dir.path()) };
        let (journal, _) = open(config.clone());
        let tail = journal.tail(Sequence::ZERO);
        Self {
            dir,
            config,
            journal,
            tail,
            events: Vec::new(),
            open: Vec::new(),
            abandoned: BTreeMap::new(),
            read_through: Sequence::ZERO,
            released: Sequence::ZERO,
            highest: Sequence::ZERO,
            counter: 0,
        }
    }

    fn run(&mut self, action: &Action) {
        match *action {
            Action::Events { ref sizes } => {
                let payloads: Vec<_> = sizes.iter().map(|size| self.payload(*size)).collect();
                let last = self.journal.append_events(&payloads).expect("room");
                assert_eq!(last.is_some(), !payloads.is_empty());
                // They follow each other; the space thread may have copied admissions before them.
                let newest_first = std::iter::successors(last, |sequence| Some(sequence.previous()));
                let mut placed: Vec<_> = newest_first.zip(payloads.into_iter().rev()).collect();
                while let Some((sequence, payload)) = placed.pop() {
                    self.appended(sequence, payload);
                }
            }
            Action::Admit { size } => {
                let payload = self.payload(size);
                let admission = self.journal.append_admitted([9; 16], &payload).expect("room");
                self.rises(admission.sequence());
                self.open.push((admission, payload));
            }
            Action::Finish { which, size } if !self.open.is_empty() => {
                let (admission, _) = self.open.swap_remove(which % self.open.len());
                let payload = self.payload(size);
                let sequence = self.journal.append_finished(admission, &payload).expect("room");
                self.appended(sequence, payload);
            }
            Action::DropTicket { which } if !self.open.is_empty() => {
                let (admission, payload) = self.open.swap_remove(which % self.open.len());
                self.abandoned.insert(admission.sequence(), payload);
            }
            Action::Finish { .. } | Action::DropTicket { .. } => {}
            Action::Event { size } => {
                let payload = self.payload(size);
                let sequence = self.journal.append_event(&payload).expect("room");
                self.appended(sequence, payload);
            }
            Action::Sync => eventually("all is synced", || {
                let stats = self.journal.stats();
                (stats.synced.next() == stats.next_sequence).then_some(())
            }),
            Action::Read { records } => self.read(records),
            Action::Release => {
                self.journal.release(self.read_through);
                self.released = self.read_through;
            }
            Action::Restart { segment_bytes } => {
                let config = JournalConfig { segment_bytes, ..self.config.clone() };
                self.crash(&Damage::None, &config);
            }
            Action::Crash { ref damage } => self.crash(damage, &self.config.clone()),
        }
        assert_eq!(self.journal.stats().open_admissions, u64::try_from(self.open.len()).expect("few"));
    }

    fn payload(&mut self, size: usize) -> Vec<u8> {
        self.counter += 1;
        let mut payload = self.counter.to_be_bytes().to_vec();
        payload.resize(payload.len().max(size), b'.');
        payload
    }

    fn rises(&mut self, sequence: Sequence) {
        assert!(sequence > self.highest, "numbers rise");
        self.highest = sequence;
    }

    fn appended(&mut self, sequence: Sequence, payload: Vec<u8>) {
        self.rises(sequence);
        self.events.push((sequence, payload));
    }

    fn read(&mut self, records: usize) {
        let read = self.tail.read(ReadLimits { max_records: records, max_bytes: usize::MAX });
        assert_eq!(read.gap, None);
        let owed: Vec<_> = self
            .events
            .iter()
            .filter(|(sequence, _)| *sequence > self.read_through)
            .take(records)
            .cloned()
            .collect();
        assert_eq!(read.records, owed);
        if let Some((last, _)) = owed.last() {
            self.read_through = *last;
        }
    }

    /// Ends this process, damages a copy of its files as they were, and starts the next one on them.
    fn crash(&mut self, damage: &Damage, config: &JournalConfig) {
        let dir = tempfile::tempdir().expect("a folder");
        copy_folder(self.dir.path(), dir.path());
        // A crash may hit the journal's own thread in the middle of copying an open admission, so a torn end is fine.
        let (mut on_disk, before) = stored_and_flaws(dir.path(), id_of(&self.journal));
        self.check_complete(&on_disk);
        let lost = apply(damage, &on_disk);
        on_disk.retain(|record| !lost.destroyed.contains(&record.header.sequence));

        self.config = JournalConfig { dir: dir.path().to_owned(), ..config.clone() };
        let (journal, recovery) = open(self.config.clone());
        assert!(recovery.damaged_records > 0 || !lost.in_the_middle, "{damage:?}");
        assert!(recovery.damaged_records == 0 || lost.in_the_middle || before.damaged, "{damage:?}");
        assert_eq!(recovery.missing_segments, 0);
        self.open.clear(); // tickets of the dead process
        self.abandoned.clear();
        self.check_interrupted(&on_disk, &recovery.interrupted);
        self.open = recovery.interrupted.into_iter().map(|open| (open.admission, open.payload)).collect();
        self.events = on_disk
            .into_iter()
            .filter(|record| record.header.kind.is_event())
            .map(|record| (record.header.sequence, record.payload))
            .collect();
        self.tail = journal.tail(self.read_through);
        self.journal = journal;
        self.dir = dir;
        self.journal.release(self.released);
    }

    /// Everything that the model knows is in the files, and nothing else that matters.
    fn check_complete(&self, on_disk: &[Stored]) {
        let events: BTreeMap<_, _> = on_disk
            .iter()
            .filter(|record| record.header.kind.is_event())
            .map(|record| (record.header.sequence, &record.payload))
            .collect();
        for (sequence, payload) in &self.events {
            let found = events.get(sequence);
            assert!(
                found == Some(&payload) || (found.is_none() && *sequence <= self.released),
                "event {sequence}"
            );
        }
        let known = |sequence: &Sequence| self.events.iter().any(|(event, _)| event == sequence);
        assert!(events.keys().all(known), "no event from nowhere");
        let admitted: BTreeMap<_, _> = on_disk
            .iter()
            .filter(|record| record.header.kind == RecordKind::Admitted)
            .map(|record| (record.header.admission, &record.payload))
            .collect();
        let open = self.open.iter().map(|(admission, payload)| (admission.sequence(), payload));
        for (admission, payload) in
            open.chain(self.abandoned.iter().map(|(sequence, payload)| (*sequence, payload)))
        {
            assert_eq!(admitted.get(&admission), Some(&payload), "open admission {admission}");
        }
    }

    fn check_interrupted(&self, on_disk: &[Stored], interrupted: &[Interrupted]) {
        let mut owed: BTreeMap<Sequence, &Vec<u8>> = BTreeMap::new();
        for record in on_disk {
            match record.header.kind {
                RecordKind::Admitted => drop(owed.insert(record.header.admission, &record.payload)),
                RecordKind::Finished => drop(owed.remove(&record.header.admission)),
                RecordKind::Event => {}
            }
        }
        let got: BTreeMap<_, _> =
            interrupted.iter().map(|open| (open.admission.sequence(), &open.payload)).collect();
        assert_eq!(got, owed);
    }
}

/// What damage takes.
#[derive(Default)]
struct Lost {
    destroyed: Vec<Sequence>,
    /// Whether a record follows, so that it cannot be a torn tail.
    in_the_middle: bool,
}

fn apply(damage: &Damage, on_disk: &[Stored]) -> Lost {
    let pick = |share: u64, of: usize| usize::try_from(share).expect("small") * of / 1000;
    match *damage {
        Damage::None => Lost::default(),
        Damage::Torn { place, how } => {
            let Some(last) = on_disk.last() else { return Lost::default() };
            let newest: Vec<_> = on_disk.iter().filter(|record| record.path == last.path).collect();
            let tail = newest.get(newest.len().saturating_sub(3)..).expect("in range");
            let (from, to) = (tail.first().expect("not empty").offset, last.end());
            let cut = from + (to - from) * place / 1000;
            tear(last, cut, how);
            let hit = |record: &&&Stored| cut < record.offset + 56 + u64::from(record.header.payload_len);
            Lost {
                destroyed: newest.iter().filter(hit).map(|r| r.header.sequence).collect(),
                in_the_middle: false,
            }
        }
        Damage::Flipped { record, byte, bit } => {
            if on_disk.is_empty() {
                return Lost::default();
            }
            let index = pick(record, on_disk.len());
            let victim = &on_disk[index];
            let length = 56 + usize::try_from(victim.header.payload_len).expect("small");
            let at = victim.offset + u64::try_from(pick(byte, length)).expect("small");
            let file = File::options().read(true).write(true).open(&victim.path).expect("the segment");
            let mut value = [0];
            file.read_exact_at(&mut value, at).expect("inside");
            file.write_all_at(&[value[0] ^ (1 << bit)], at).expect("written");
            Lost { destroyed: vec![victim.header.sequence], in_the_middle: index + 1 < on_disk.len() }
        }
    }
}

fn tear(last: &Stored, cut: u64, how: Tear) {
    let file = File::options().write(true).open(&last.path).expect("the segment");
    let rest = usize::try_from(last.end() - cut).expect("small");
    match how {
        Tear::Shorter => file.set_len(cut).expect("cut"),
        Tear::Zeroed => file.write_all_at(&vec![0; rest], cut).expect("written"),
        Tear::Garbage => file.write_all_at(&vec![0xEE; rest], cut).expect("written"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_does_what_a_list_would_do(actions in proptest::collection::vec(action(), 1..80)) {
        let mut lockstep = Lockstep::new();
        for action in &actions {
            lockstep.run(action);
        }
        lockstep.crash(&Damage::None, &lockstep.config.clone());
        lockstep.read(usize::MAX);
    }
}
