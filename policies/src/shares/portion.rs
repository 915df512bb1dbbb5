//! A part of a whole, without rounding.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// So many of so many pieces. What arrives from elsewhere is made sound: never more than the whole, never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Pieces", into = "Pieces")]
pub struct Portion {
    part: NonZeroU32,
    of: NonZeroU32,
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
        Self(portion.part(), portion.of())
    }
}

impl Portion {
    /// All of it.
    pub const WHOLE: Self = Self { part: NonZeroU32::MIN, of: NonZeroU32::MIN };

    /// `part` of `of` pieces: at least one, at most all.
    pub fn new(part: u32, of: u32) -> Self {
        let of = NonZeroU32::new(of).unwrap_or(NonZeroU32::MIN);
        let part = NonZeroU32::new(part).unwrap_or(NonZeroU32::MIN);
        Self { part: part.min(of), of }
    }

    /// One of so many equal portions.
    pub fn one_of(proxies: u32) -> Self {
        Self::new(1, proxies)
    }

    /// How many pieces it has.
    pub fn part(self) -> u32 {
        self.part.get()
    }

    /// Of how many.
    pub fn of(self) -> u32 {
        self.of.get()
    }

    /// Whether it is all.
    pub fn is_whole(self) -> bool {
        self.part == self.of
    }

    /// What it is of so many units, rounded down.
    pub fn of_units(self, units: u64) -> u64 {
        let product = u128::from(units).saturating_mul(self.part().into());
        u64::try_from(product.checked_div(self.of().into()).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// Whether it is more than another.
    pub fn is_more_than(self, other: Self) -> bool {
        self.times(other.of) > other.times(self.of)
    }

    /// Whether it is the same amount as another, in whatever pieces.
    pub fn is_as_much_as(self, other: Self) -> bool {
        self.times(other.of) == other.times(self.of)
    }

    /// The larger of two.
    pub fn larger(self, other: Self) -> Self {
        if other.is_more_than(self) { other } else { self }
    }

    fn times(self, factor: NonZeroU32) -> u64 {
        u64::from(self.part()).saturating_mul(factor.get().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_compare_by_amount_and_what_is_no_portion_becomes_one() {
        assert!(Portion::new(2, 3).is_more_than(Portion::new(3, 5)));
        assert!(Portion::new(2, 4).is_as_much_as(Portion::one_of(2)));
        assert_eq!(Portion::new(1, 3).larger(Portion::new(1, 2)), Portion::one_of(2));
        assert_eq!(Portion::new(7, 5), Portion::new(5, 5));
        let read = |text| serde_json::from_str::<Portion>(text).unwrap();
        assert_eq!(read("[0,0]"), Portion::WHOLE);
        assert_eq!(read("[0,9]"), Portion::one_of(9));
        assert_eq!(serde_json::to_string(&Portion::new(58, 60)).unwrap(), "[58,60]");
        assert_eq!(Portion::new(29, 30).of_units(10), 9);
        assert_eq!(Portion::WHOLE.of_units(u64::MAX), u64::MAX);
    }
}
