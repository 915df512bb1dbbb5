//! What decides about the figures of a budget, as one number: by it a proxy tells figures of a budget from those of the same
//! budget before an edit, which may have been in another unit.

use crate::governance::QuotaSpec;

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): the same in every process and build. Nobody gains anything by
/// a collision.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl QuotaSpec {
    /// A number that changes when the budget counts something else: another unit, window, subject, other models, or in another
    /// time zone (`zone` is its IANA name). Never 0.
    pub fn definition(&self, zone: &str) -> u64 {
        let Self { org_id, scope, unit, window, models, .. } = self;
        let text = serde_json::to_vec(&(org_id, scope, unit, window, models, zone));
        let text = text.unwrap_or_default(); // texts and names always serialise
        text.iter().fold(BASIS, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(PRIME)).max(1)
    }
}
