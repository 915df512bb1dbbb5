//! Where reading a partition begins.
//!
//! The ledger says how far it is, in the same transaction as the events: that is the truth, whatever offset Kafka has for the
//! group. The partition may not have it any more, or not yet.

use mindweave_eventlog::Sequence;

/// The offsets that a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The first one that is left.
    pub(super) first: i64,
    /// The one that the next message gets.
    pub(super) end: i64,
}

/// What is wrong with the ledger's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Kafka has deleted messages that the ledger does not have.
    Expired {
        /// How many offsets are gone.
        missed: u64,
    },
    /// The partition is shorter than what the ledger has of it: the topic was made anew. Everything in it is read; the ledger
    /// knows the events that it has.
    Replaced,
}

/// Where to begin, and what is wrong about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) offset: i64,
    pub(super) fault: Option<Fault>,
}

/// The offset after which a position stands: sequences are offsets plus one, so that none of them is zero.
pub(super) fn next_offset(position: Sequence) -> i64 {
    i64::try_from(position.get()).unwrap_or(i64::MAX)
}

/// The sequence of the message at this offset.
pub(super) fn sequence(offset: i64) -> Sequence {
    Sequence::new(u64::try_from(offset).unwrap_or(0).saturating_add(1))
}

/// Where to go on after what the ledger has.
pub(super) fn start(position: Option<Sequence>, held: Held) -> Start {
    let Some(position) = position else {
        // What was deleted before there was a ledger is nobody's loss.
        return Start { offset: held.first, fault: None };
    };
    let next = next_offset(position);
    if next > held.end {
        Start { offset: held.first, fault: Some(Fault::Replaced) }
    } else if next < held.first {
        let missed = held.first.abs_diff(next);
        Start { offset: held.first, fault: Some(Fault::Expired { missed }) }
    } else {
        Start { offset: next, fault: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ledger_that_has_nothing_begins_with_what_is_left() {
        assert_eq!(start(None, Held { first: 40, end: 90 }), Start { offset: 40, fault: None });
    }

    #[test]
    fn the_message_after_the_position_comes_first_and_the_end_is_a_good_position() {
        let held = Held { first: 40, end: 90 };
        for offset in 39..90 {
            let begun = start(Some(sequence(offset)), held);
            assert_eq!(begun, Start { offset: offset + 1, fault: None });
        }
    }

    #[test]
    fn a_position_outside_of_the_partition_is_never_silent() {
        let held = Held { first: 40, end: 90 };
        let expired = Some(Fault::Expired { missed: 1 });
        assert_eq!(start(Some(sequence(38)), held), Start { offset: 40, fault: expired });
        let replaced = Some(Fault::Replaced);
        assert_eq!(start(Some(sequence(90)), held), Start { offset: 40, fault: replaced });
    }

    proptest! {
        #[test]
        fn reading_begins_within_the_partition_and_skips_nothing_without_a_word(
            position in proptest::option::of(0..200_u64), first in 0..100_i64, length in 0..100_i64,
        ) {
            let held = Held { first, end: first + length };
            let position = position.map(Sequence::new);
            let begun = start(position, held);
            prop_assert!((held.first..=held.end).contains(&begun.offset));
            if let (Some(position), None) = (position, begun.fault) {
                prop_assert_eq!(begun.offset, next_offset(position));
            }
            if let Some(Fault::Expired { missed }) = begun.fault {
                prop_assert_eq!(next_offset(position.unwrap()) + i64::try_from(missed).unwrap(), begun.offset);
            }
        }
    }
}
