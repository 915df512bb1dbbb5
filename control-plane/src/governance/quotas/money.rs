//! Dollars as people write them, to whole nano-dollars: exactly, or not at all.

/// Decimal places of a nano-dollar.
const PLACES: usize = 9;

/// The nano-dollars of a decimal like `50`, `49.99` or `0.000000001`. `None` for anything else: signs, exponents, more than
/// nine places, and what does not fit.
pub(super) fn nano_of(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > PLACES {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = format!("{fraction:0<PLACES$}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use mindweave_metering::NanoUsd;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_to_the_nano_dollar_and_everything_else_is_refused() {
        for (text, nano) in [
            ("50", 50_000_000_000),
            ("50.00", 50_000_000_000),
            ("49.99", 49_990_000_000),
            ("0.000000001", 1),
            ("007.5", 7_500_000_000),
            ("9223372036.854775807", i64::MAX),
        ] {
            assert_eq!(nano_of(text), Some(nano), "{text}");
        }
        for text in [
            "",
            ".",
            "5.",
            ".5",
            "-5",
            "+5",
            "5e3",
            "1,000",
            "$5",
            " 5",
            "0.0000000001",
            "9223372036.854775808",
            "5.0.0",
        ] {
            assert_eq!(nano_of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_an_answer_shows_can_be_sent_back(nano in 0..=i64::MAX) {
            prop_assert_eq!(nano_of(&NanoUsd(nano).to_string()), Some(nano));
        }
    }
}
