//! How long answers have been lately: what `reserve: expected` and output token limits expect of the next one.
//!
//! Per project and model, the running mean of output tokens and the running mean of their distance from it (as TCP estimates
//! round trips, RFC 6298). The expectation is the mean and three times that distance: for the skewed sizes that answers have, about
//! the 95th percentile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

/// What is expected of a model that a project has not used yet: longer than nine of ten answers, far below the largest.
pub(crate) const FIRST_EXPECTED_OUTPUT: u64 = 2_048;

/// Share of the newest answer in the means: one in 2^4, so that about the last thirty answers matter.
const DECAY_SHIFT: u32 = 4;

/// Fractional bits of the means: without them, small changes would be lost in rounding.
const FRACTION_BITS: u32 = 6;

/// Models told apart per project. Names come from clients; those beyond share one entry.
const MAX_MODELS: usize = 32;

/// The sizes of one project's answers, by the model that was asked for.
#[derive(Debug, Default)]
pub(crate) struct ProjectSizes {
    models: RwLock<Vec<(Arc<str>, Arc<ModelSizes>)>>,
    others: Arc<ModelSizes>,
}

/// The sizes of one model's answers: mean and distance as two 32-bit fixed-point numbers, 0 before the first answer.
#[derive(Debug, Default)]
pub(crate) struct ModelSizes(AtomicU64);

impl ProjectSizes {
    /// The entry of this model.
    pub(crate) fn of(&self, model: &str) -> Arc<ModelSizes> {
        if let Some(found) = find(&self.models.read(), model) {
            return found;
        }
        let mut models = self.models.write();
        if let Some(found) = find(&models, model) {
            return found;
        }
        if models.len() >= MAX_MODELS {
            return Arc::clone(&self.others);
        }
        let sizes = Arc::new(ModelSizes::default());
        models.push((model.into(), Arc::clone(&sizes)));
        sizes
    }
}

impl ModelSizes {
    /// Output tokens to expect of the next answer.
    pub(crate) fn expected(&self) -> u64 {
        match self.0.load(Ordering::Relaxed) {
            0 => FIRST_EXPECTED_OUTPUT,
            packed => {
                let (mean, distance) = unpack(packed);
                mean.saturating_add(distance.saturating_mul(3)).div_ceil(1 << FRACTION_BITS)
            }
        }
    }

    /// Takes an answer into account; those without output say nothing about length.
    pub(crate) fn record(&self, output_tokens: u64) {
        if output_tokens == 0 {
            return;
        }
        let size = output_tokens.min(u64::from(u32::MAX) >> FRACTION_BITS) << FRACTION_BITS;
        let learn = |packed: u64| {
            if packed == 0 {
                return Some(pack(size, size / 2)); // RFC 6298, 2.2
            }
            let (mean, distance) = unpack(packed);
            let distance = step(distance, mean.abs_diff(size));
            Some(pack(step(mean, size), distance))
        };
        let _previous = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, learn);
    }
}

fn find(models: &[(Arc<str>, Arc<ModelSizes>)], model: &str) -> Option<Arc<ModelSizes>> {
    models.iter().find(|(name, _)| &**name == model).map(|(_, sizes)| Arc::clone(sizes))
}

/// Moves a mean a sixteenth of the way to a new value.
fn step(mean: u64, value: u64) -> u64 {
    if value >= mean {
        mean.saturating_add((value - mean) >> DECAY_SHIFT)
    } else {
        mean.saturating_sub((mean - value) >> DECAY_SHIFT)
    }
}

fn pack(mean: u64, distance: u64) -> u64 {
    (mean << 32) | distance.min(u64::from(u32::MAX))
}

fn unpack(packed: u64) -> (u64, u64) {
    (packed >> 32, packed & u64::from(u32::MAX))
}
