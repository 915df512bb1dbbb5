//! Months of the calendar, in UTC.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A month of the calendar, by its first day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month(Date);

impl Month {
    /// The month that holds this moment.
    pub(super) fn of(at: Timestamp) -> Self {
        Self(at.to_zoned(TimeZone::UTC).date().first_of_month())
    }

    /// Reads `2026-10`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let digits =
            |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return None;
        }
        Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok().map(Self)
    }

    /// The month before it. The first of all months is its own.
    pub(super) fn before(self) -> Self {
        Self(self.0.checked_sub(1.month()).unwrap_or(self.0))
    }

    /// Its first moment, and that of the month after it.
    pub(super) fn bounds(self) -> (Timestamp, Timestamp) {
        let start =
            |date: Date| date.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |start| start.timestamp());
        (start(self.0), self.0.checked_add(1.month()).map_or(Timestamp::MAX, start))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_month_ends_where_the_next_one_begins() {
        let december = Month::parse("2026-12").unwrap();
        let (from, to) = december.bounds();
        assert_eq!(from.to_string(), "2026-12-01T00:00:00Z");
        assert_eq!(to.to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(Month::of(to).before(), december);
        assert_eq!(december.before().to_string(), "2026-11");
        for wrong in ["2026", "2026-13", "2026-00", "2026-1", "+026-01", "2026-01-01", "", "-", "20261-1"] {
            assert_eq!(Month::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_its_month(seconds in -60_000_000_000_i64..200_000_000_000) {
            let at = Timestamp::from_second(seconds).unwrap();
            let month = Month::of(at);
            let (from, to) = month.bounds();
            prop_assert!(from <= at && at < to);
            prop_assert_eq!(Month::parse(&month.to_string()), Some(month));
        }

        #[test]
        fn no_text_makes_the_reader_fail(text in "\\PC{0,12}") {
            if let Some(month) = Month::parse(&text) {
                prop_assert_eq!(month.to_string(), text);
            }
        }
    }
}
