//! Simulated time: a moment drawn from the seed instead of the machine's clock, so that repeated answers are equal.

use crate::dice::Dice;

/// The simulated day, in the two spellings that headers and bodies use.
const DATE: &str = "2026-11-21";
const NEXT_DATE: &str = "2026-11-22";
const SECONDS_IN_DAY: u64 = 86_400;

/// A second of the simulated day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Draws a moment; the last minutes of the day are left out so that short spans stay inside it.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self(dice.below(SECONDS_IN_DAY - 3_600))
    }

    pub(crate) fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds).min(SECONDS_IN_DAY - 1))
    }

    /// `2026-11-21T12:34:56Z`, the form of rate-limit resets.
    pub(crate) fn rfc3339(self) -> String {
        format!("{DATE}T{}Z", self.time())
    }

    /// `2026-11-21T12:34:56.000000+00:00`, the form of batch objects.
    pub(crate) fn with_offset(self) -> String {
        format!("{DATE}T{}.000000+00:00", self.time())
    }

    /// The same a day later: when batches expire.
    pub(crate) fn next_day_with_offset(self) -> String {
        format!("{NEXT_DATE}T{}.000000+00:00", self.time())
    }

    /// `2026-11-21T12:34:56.000000Z`, the form of file metadata.
    pub(crate) fn with_micros(self) -> String {
        format!("{DATE}T{}.000000Z", self.time())
    }

    /// `Sat, 21 Nov 2026 12:34:56 GMT`, the form of the `date` header.
    pub(crate) fn http_date(self) -> String {
        format!("Sat, 21 Nov 2026 {} GMT", self.time())
    }

    fn time(self) -> String {
        format!("{:02}:{:02}:{:02}", self.0 / 3_600, self.0 / 60 % 60, self.0 % 60)
    }
}
