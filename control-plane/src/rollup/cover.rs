//! The levels that together hold every sum of a time, each as far as it reaches.

use super::level::{Level, State};

/// Which level answers for which part of `from..to` (microseconds, on whole minutes): the greatest buckets that lie inside and
/// are closed, smaller ones at both ends.
pub(crate) fn cover(state: &State, from: i64, to: i64) -> Vec<(Level, i64, i64)> {
    let mut pieces = Vec::new();
    cover_from(Level::Day, state, from, to, &mut pieces);
    pieces
}

fn cover_from(level: Level, state: &State, from: i64, to: i64, pieces: &mut Vec<(Level, i64, i64)>) {
    let (finer, closed) = match level {
        Level::Day => (Level::Hour, state.day_complete_until),
        Level::Hour => (Level::Minute, state.hour_complete_until),
        Level::Minute => {
            if from < to {
                pieces.push((level, from, to));
            }
            return;
        }
    };
    let (start, end) = (level.ceil(from), level.floor(to.min(closed)));
    if start >= end {
        return cover_from(finer, state, from, to, pieces);
    }
    cover_from(finer, state, from, start, pieces);
    pieces.push((level, start, end));
    cover_from(finer, state, end, to, pieces);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000_000;

    proptest! {
        #[test]
        fn every_minute_is_in_one_piece_of_a_level_that_has_it(
            from in 0..4_000_i64,
            length in 0..100_000_i64,
            hours in 0..1_800_i64,
            days in 0..75_i64,
        ) {
            let hour_complete_until = Level::Hour.micros() * hours;
            let day_complete_until = (Level::Day.micros() * days).min(Level::Day.floor(hour_complete_until));
            let state = State { hour_complete_until, day_complete_until, ..State::default() };
            let (from, to) = (from * MINUTE, (from + length) * MINUTE);
            let pieces = cover(&state, from, to);
            let mut at = from;
            for (level, start, end) in pieces {
                prop_assert_eq!(start, at, "a gap or an overlap");
                prop_assert!(start < end && start % level.micros() == 0 && end % level.micros() == 0);
                match level {
                    Level::Day => prop_assert!(end <= day_complete_until),
                    Level::Hour => prop_assert!(end <= hour_complete_until),
                    Level::Minute => prop_assert!(end - start < 2 * Level::Hour.micros() || end > hour_complete_until),
                }
                at = end;
            }
            prop_assert_eq!(at, to);
        }
    }
}
