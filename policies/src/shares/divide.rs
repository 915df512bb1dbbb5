//! Dividing one limit by what each proxy asks for.

/// Of an equal portion, one part in this many stays with a proxy that asks for nothing, so that it can begin at once. With three
/// proxies, one that has all the traffic gets 96.7 %.
const FLOOR: u32 = 20;

/// Divides `pieces` among proxies by demand: all of them are given out, everybody gets at least one and at least the floor, and what
/// is above the floors is proportional to demand, to within a piece. Without any demand it is divided evenly. There must be a piece
/// for each.
pub(super) fn divide(pieces: u32, demands: &[u64]) -> Vec<u32> {
    let proxies = u32::try_from(demands.len()).unwrap_or(u32::MAX).max(1);
    let floor = pieces.checked_div(proxies.saturating_mul(FLOOR)).unwrap_or(0).max(1);
    let rest = pieces.saturating_sub(floor.saturating_mul(proxies));
    let even = demands.iter().all(|demand| *demand == 0);
    let weight = |demand: u64| if even { 1 } else { u128::from(demand) };
    let total = demands.iter().map(|demand| weight(*demand)).fold(0, u128::saturating_add).max(1);
    let mut given = 0_u32;
    let mut parts: Vec<u32> = Vec::with_capacity(demands.len());
    let mut remainders: Vec<(u128, usize)> = Vec::with_capacity(demands.len());
    for (place, demand) in demands.iter().enumerate() {
        let product = weight(*demand).saturating_mul(rest.into());
        let part = u32::try_from(product.checked_div(total).unwrap_or(0)).unwrap_or(rest);
        given = given.saturating_add(part);
        parts.push(floor.saturating_add(part));
        remainders.push((product.checked_rem(total).unwrap_or(0), place));
    }
    // What rounding left over: fewer pieces than proxies, to those that it cost most.
    remainders.sort_unstable_by(|(a, first), (b, second)| b.cmp(a).then(first.cmp(second)));
    let left = usize::try_from(rest.saturating_sub(given)).unwrap_or(0);
    for (_, place) in remainders.into_iter().take(left) {
        if let Some(part) = parts.get_mut(place) {
            *part = part.saturating_add(1);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_has_all_the_traffic_gets_nearly_all_and_the_others_a_floor() {
        assert_eq!(divide(6_000, &[500, 0, 0]), [5_800, 100, 100]);
        assert_eq!(divide(10, &[0, 7, 0]), [1, 8, 1], "no floor is less than a request");
        assert_eq!(divide(3, &[0, u64::MAX, u64::MAX]), [1, 1, 1]);
        assert_eq!(divide(9, &[0, 0, 0]), [3, 3, 3], "nobody asks");
        assert_eq!(divide(12, &[10, 20, 0]), [4, 7, 1]);
    }

    proptest! {
        #[test]
        fn all_is_given_out_nobody_starves_and_more_demand_never_gets_less(
            demands in prop::collection::vec(prop_oneof![Just(0_u64), 1_u64..2_000, any::<u64>()], 1..40),
            extra in 0_u32..2_000_000,
        ) {
            let proxies = u32::try_from(demands.len()).unwrap();
            let pieces = proxies.saturating_add(extra);
            let parts = divide(pieces, &demands);
            prop_assert_eq!(parts.iter().copied().map(u64::from).sum::<u64>(), u64::from(pieces));
            let floor = (pieces / (proxies * FLOOR)).max(1);
            prop_assert!(parts.iter().all(|part| *part >= floor));
            for (demand, part) in demands.iter().zip(&parts) {
                for (other, others_part) in demands.iter().zip(&parts) {
                    prop_assert!(demand < other || part.saturating_add(1) >= *others_part);
                }
            }
        }

        #[test]
        fn above_the_floor_it_is_proportional(demands in prop::collection::vec(0_u64..1_000_000, 2..10)) {
            let pieces = 1 << 20;
            let total = demands.iter().sum::<u64>();
            prop_assume!(total > 0);
            let proxies = u64::try_from(demands.len()).unwrap();
            let floor = u64::from(pieces) / (proxies * u64::from(FLOOR));
            for (demand, part) in demands.iter().zip(divide(pieces, &demands)) {
                let ideal = floor + (u64::from(pieces) - floor * proxies) * demand / total;
                prop_assert!(u64::from(part).abs_diff(ideal) <= 1, "{part} for {ideal}");
            }
        }
    }
}
