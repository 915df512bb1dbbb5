//! Money as integers. No float touches it anywhere.
//!
//! Prices are pico-USD (10^-12 dollar) per token, which is the same number as micro-USD per million tokens, so every
//! list price is exact. Amounts are summed exactly in pico-USD and rounded once, half to even, to nano-USD.

#![warn(clippy::arithmetic_side_effects)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// Pico-USD in one nano-USD.
const PICO_PER_NANO: i64 = 1_000;
/// Nano-USD in one dollar.
const NANO_PER_USD: u64 = 1_000_000_000;

/// An exact amount or a unit price in pico-USD; holds up to about nine million dollars, and says so when that is not enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PicoUsd(pub i64);

impl PicoUsd {
    /// Adds, or `None` on overflow.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// This unit price times a quantity, or `None` on overflow.
    #[must_use]
    pub fn checked_mul(self, quantity: u64) -> Option<Self> {
        self.0.checked_mul(i64::try_from(quantity).ok()?).map(Self)
    }

    /// Rounds to nano-USD, half to even, so that rounding has no drift over many events.
    #[must_use]
    pub fn round_to_nano(self) -> NanoUsd {
        let floor = self.0.div_euclid(PICO_PER_NANO);
        let rest = self.0.rem_euclid(PICO_PER_NANO);
        let half = PICO_PER_NANO / 2;
        let up = rest > half || (rest == half && floor.rem_euclid(2) == 1);
        NanoUsd(if up { floor.saturating_add(1) } else { floor }) // cannot saturate: |floor| <= i64::MAX / 1000
    }
}

/// A rounded amount in nano-USD (10^-9 dollar): what a ledger row holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub i64);

impl fmt::Display for NanoUsd {
    /// Dollars as a decimal with all nine places, for example `0.001234500`: never in exponent form, never rounded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:09}", magnitude / NANO_PER_USD, magnitude % NANO_PER_USD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_the_even_neighbour() {
        for (pico, nano) in [(500, 0), (501, 1), (1_500, 2), (2_500, 2), (-500, 0), (-1_500, -2), (-501, -1)]
        {
            assert_eq!(PicoUsd(pico).round_to_nano(), NanoUsd(nano), "{pico} pico-USD");
        }
    }

    #[test]
    fn an_amount_that_cannot_be_held_is_refused_instead_of_wrapping() {
        assert_eq!(PicoUsd(i64::MAX).checked_mul(2), None);
        assert_eq!(PicoUsd(1).checked_mul(u64::MAX), None);
        assert_eq!(PicoUsd(i64::MAX).checked_add(PicoUsd(1)), None);
    }

    #[test]
    fn dollars_are_shown_with_nine_places() {
        assert_eq!(NanoUsd(1_234_500).to_string(), "0.001234500");
        assert_eq!(NanoUsd(-12_000_000_001).to_string(), "-12.000000001");
        assert_eq!(NanoUsd(i64::MIN).to_string(), "-9223372036.854775808");
    }
}
