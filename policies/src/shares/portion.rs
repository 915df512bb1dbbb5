//! A part of a whole, without rounding.

use serde::{Deserialize, Serialize};

/// So many of so many pieces. What arrives from elsewhere is made sound: never more than the whole, never of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Pieces", into = "Pieces")]
pub struct Portion {
    part: u32,
    of: u32,
}

/// The form in which a portion travels: `[part, of]`.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Pieces(u32, u32);

impl From<Pieces> for Portion {
    fn from(Pieces(part, of): Pieces) -> Self {
        Self::new(part, of)
    }
}

impl From<Portion> for Pieces {
    fn from(portion: Portion) -> Self {
        Self(portion.part, portion.of)
    }
}

impl Portion {
    /// All of it.
    pub const WHOLE: Self = Self { part: 1, of: 1 };

    /// `part` of `of` pieces: at least one, at most all.
    pub fn new(part: u32, of: u32) -> Self {
        let of = of.max(1);
        Self { part: part.clamp(1, of), of }
    }

    /// One of so many equal portions.
    pub fn one_of(proxies: u32) -> Self {
        Self::new(1, proxies)
    }

    /// How many pieces it has.
    pub fn part(self) -> u32 {
        self.part
    }

    /// Of how many.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether it is all.
    pub fn is_whole(self) -> bool {
        self.part == self.of
    }

    /// What it is of so many units, rounded down.
    pub fn of_units(self, units: u64) -> u64 {
        let product = u128::from(units).saturating_mul(self.part.into());
        u64::try_from(product.checked_div(self.of.into()).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// Whether it is more than another.
    pub fn is_more_than(self, other: Self) -> bool {
        u64::from(self.part).saturating_mul(other.of.into())
            > u64::from(other.part).saturating_mul(self.of.into())
    }

    /// The larger of two.
    pub fn larger(self, other: Self) -> Self {
        if other.is_more_than(self) { other } else { self }
    }
}
