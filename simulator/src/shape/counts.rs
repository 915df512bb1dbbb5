//! Token figures that fit the request: the prompt from its size, caches from its marks, output from the seed.

use crate::dice::Dice;
use crate::inquiry::{CacheMark, Inquiry, estimated_tokens};
use crate::message::{CacheCreation, Iteration, OutputDetails, Usage};
use crate::steering::{Steering, UsageFields};

/// The tokens of one answer, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) input: u64,
    pub(crate) cache_read: u64,
    pub(crate) write_5m: u64,
    pub(crate) write_1h: u64,
    pub(crate) output: u64,
    pub(crate) thinking: u64,
}

impl Counts {
    pub(crate) fn of(inquiry: &Inquiry<'_>, steering: &Steering, dice: &mut Dice) -> Self {
        let prompt = estimated_tokens(inquiry.body.len());
        let steered =
            [steering.input_tokens, steering.cache_read, steering.cache_write_5m, steering.cache_write_1h];
        let mut counts = if steered.iter().any(Option::is_some) {
            Self {
                input: steering.input_tokens.unwrap_or(prompt),
                cache_read: steering.cache_read.unwrap_or(0),
                write_5m: steering.cache_write_5m.unwrap_or(0),
                write_1h: steering.cache_write_1h.unwrap_or(0),
                ..Self::default()
            }
        } else {
            Self::from_prompt(prompt, inquiry.cache_mark())
        };
        let spoken = dice.between(24, 90);
        counts.output = steering.output_tokens.unwrap_or_else(|| spoken.max(tokens_of_size(steering)));
        counts
    }

    /// An established conversation: most of a cached prompt is read, a part written, the newest message neither.
    fn from_prompt(prompt: u64, mark: CacheMark) -> Self {
        let (read, written) = (prompt / 5 * 4, prompt / 20 * 3);
        let cached =
            Self { input: prompt.saturating_sub(read + written), cache_read: read, ..Self::default() };
        match mark {
            CacheMark::None => Self { input: prompt, ..Self::default() },
            CacheMark::FiveMinutes => Self { write_5m: written, ..cached },
            CacheMark::OneHour => Self { write_1h: written, ..cached },
        }
    }

    /// The usage object of these figures.
    pub(crate) fn usage(&self, fields: UsageFields) -> Usage {
        match fields {
            UsageFields::Old => {
                Usage { input_tokens: Some(self.input), output_tokens: self.output, ..Usage::default() }
            }
            UsageFields::Current => Usage {
                input_tokens: Some(self.input),
                cache_creation_input_tokens: Some(self.write_5m.saturating_add(self.write_1h)),
                cache_read_input_tokens: Some(self.cache_read),
                cache_creation: Some(self.split()),
                output_tokens: self.output,
                output_tokens_details: Some(OutputDetails { thinking_tokens: self.thinking }),
                ..Usage::default()
            },
        }
    }

    /// These figures as one entry of `usage.iterations`.
    pub(crate) fn iteration(&self, kind: &'static str, model: Option<&str>) -> Iteration {
        Iteration {
            kind,
            model: model.map(str::to_owned),
            input_tokens: self.input,
            output_tokens: self.output,
            cache_creation_input_tokens: self.write_5m.saturating_add(self.write_1h),
            cache_read_input_tokens: self.cache_read,
            cache_creation: self.split(),
        }
    }

    fn split(&self) -> CacheCreation {
        CacheCreation { ephemeral_5m_input_tokens: self.write_5m, ephemeral_1h_input_tokens: self.write_1h }
    }
}

/// About the tokens of an answer whose size was asked for: a word per delta, five bytes a token.
fn tokens_of_size(steering: &Steering) -> u64 {
    let from_events = steering.events.unwrap_or(0).saturating_mul(4) / 3;
    from_events.max(steering.response_bytes.unwrap_or(0) / 5)
}
