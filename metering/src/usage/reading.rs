//! Reading a `usage` object out of a JSON text that streams by.

use super::{CacheWrites, Iteration, IterationKind, MAX_ITERATIONS, MAX_TOKENS, UsageReport};
use crate::json::{Action, Captured, ValueKind};

/// Longest text of a number: twice the digits of the largest believable count.
const MAX_NUMBER_BYTES: usize = 32;
/// Longest `service_tier`, `inference_geo`, `speed` or pass type; the longest known has 16 bytes.
const MAX_WORD_BYTES: usize = 64;
/// Longest model id in a pass; see [`crate::response`] for the same bound on the answer's own model.
const MAX_MODEL_BYTES: usize = 256;

/// A place in a usage object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsageNode {
    /// The object itself.
    Usage,
    CacheCreation,
    ServerToolUse,
    OutputDetails,
    Iterations,
    Iteration,
    IterationCacheCreation,
    Count(Count),
    Word(Word),
    IterationCount(Count),
    IterationKind,
    IterationModel,
}

/// A number in a usage object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Input,
    Output,
    CacheRead,
    WritesTotal,
    WritesFiveMinutes,
    WritesOneHour,
    WebSearch,
    WebFetch,
    Thinking,
}

/// A text in a usage object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    ServiceTier,
    InferenceGeo,
    Speed,
}

impl UsageReport {
    /// The usage object begins.
    pub(crate) fn begin(&mut self, kind: ValueKind) -> Action<UsageNode> {
        match kind {
            ValueKind::Object => {
                self.present = true;
                Action::Enter(UsageNode::Usage)
            }
            ValueKind::Null => Action::Skip,
            ValueKind::Array | ValueKind::String | ValueKind::Number | ValueKind::Boolean => self.refuse(),
        }
    }

    pub(crate) fn member(&mut self, parent: UsageNode, key: &str, kind: ValueKind) -> Action<UsageNode> {
        let node = match parent {
            UsageNode::Usage => match key {
                "cache_creation" => UsageNode::CacheCreation,
                "server_tool_use" => UsageNode::ServerToolUse,
                "output_tokens_details" => UsageNode::OutputDetails,
                "iterations" => UsageNode::Iterations,
                "service_tier" => UsageNode::Word(Word::ServiceTier),
                "inference_geo" => UsageNode::Word(Word::InferenceGeo),
                "speed" => UsageNode::Word(Word::Speed),
                _ => match token_count(key) {
                    Some(count) => UsageNode::Count(count),
                    None => return Action::Skip,
                },
            },
            UsageNode::CacheCreation => match lifetime(key) {
                Some(count) => UsageNode::Count(count),
                None => return Action::Skip,
            },
            UsageNode::ServerToolUse => match key {
                "web_search_requests" => UsageNode::Count(Count::WebSearch),
                "web_fetch_requests" => UsageNode::Count(Count::WebFetch),
                _ => return Action::Skip,
            },
            UsageNode::OutputDetails if key == "thinking_tokens" => UsageNode::Count(Count::Thinking),
            UsageNode::Iteration => match key {
                "type" => UsageNode::IterationKind,
                "model" => UsageNode::IterationModel,
                "cache_creation" => UsageNode::IterationCacheCreation,
                _ => match token_count(key) {
                    Some(count) => UsageNode::IterationCount(count),
                    None => return Action::Skip,
                },
            },
            UsageNode::IterationCacheCreation => match lifetime(key) {
                Some(count) => UsageNode::IterationCount(count),
                None => return Action::Skip,
            },
            _ => return Action::Skip,
        };
        self.expect(node, kind)
    }

    /// An element of `iterations` begins.
    pub(crate) fn element(&mut self, parent: UsageNode, kind: ValueKind) -> Action<UsageNode> {
        if parent != UsageNode::Iterations || kind == ValueKind::Null {
            return Action::Skip;
        }
        if kind != ValueKind::Object {
            return self.refuse();
        }
        let iterations = self.iterations.get_or_insert_default();
        if iterations.len() >= MAX_ITERATIONS {
            self.too_many_iterations = true;
            return Action::Skip;
        }
        iterations.push(Iteration::default());
        Action::Enter(UsageNode::Iteration)
    }

    pub(crate) fn captured(&mut self, node: UsageNode, value: Captured<'_>) {
        match node {
            UsageNode::Count(count) => match plausible(value) {
                Some(figure) => *self.count_mut(count) = Some(figure),
                None => self.implausible = true,
            },
            UsageNode::IterationCount(count) => match (plausible(value), self.iteration_mut()) {
                (Some(figure), Some(iteration)) => iteration.set(count, figure),
                _ => self.implausible = true,
            },
            UsageNode::Word(word) => {
                let text = value.text().map(|text| text.as_ref().into());
                match word {
                    Word::ServiceTier => self.service_tier = text,
                    Word::InferenceGeo => self.inference_geo = text,
                    Word::Speed => self.speed = text,
                }
            }
            UsageNode::IterationKind => {
                let kind = value.text().map_or(IterationKind::Other, |text| match text.as_ref() {
                    "message" => IterationKind::Message,
                    "compaction" => IterationKind::Compaction,
                    "advisor_message" => IterationKind::Advisor,
                    "fallback_message" => IterationKind::Fallback,
                    _ => IterationKind::Other,
                });
                if let Some(iteration) = self.iteration_mut() {
                    iteration.kind = kind;
                }
            }
            UsageNode::IterationModel => {
                let model = value.text().map(|text| text.as_ref().into());
                if let Some(iteration) = self.iteration_mut() {
                    iteration.model = model;
                }
            }
            UsageNode::Usage
            | UsageNode::CacheCreation
            | UsageNode::ServerToolUse
            | UsageNode::OutputDetails
            | UsageNode::Iterations
            | UsageNode::Iteration
            | UsageNode::IterationCacheCreation => {}
        }
    }

    /// What to do with a value of this kind at this place: null says nothing, a wrong kind of value is noted.
    fn expect(&mut self, node: UsageNode, kind: ValueKind) -> Action<UsageNode> {
        match (node, kind) {
            (_, ValueKind::Null) => Action::Skip,
            (UsageNode::Count(_) | UsageNode::IterationCount(_), ValueKind::Number) => {
                Action::Capture(node, MAX_NUMBER_BYTES)
            }
            (UsageNode::Word(_) | UsageNode::IterationKind, ValueKind::String) => {
                Action::Capture(node, MAX_WORD_BYTES)
            }
            (UsageNode::IterationModel, ValueKind::String) => Action::Capture(node, MAX_MODEL_BYTES),
            (UsageNode::Iterations, ValueKind::Array) => {
                self.iterations = Some(Vec::new()); // a repeated key starts over
                Action::Enter(node)
            }
            (
                UsageNode::CacheCreation
                | UsageNode::ServerToolUse
                | UsageNode::OutputDetails
                | UsageNode::IterationCacheCreation,
                ValueKind::Object,
            ) => Action::Enter(node),
            _ => self.refuse(),
        }
    }

    fn refuse(&mut self) -> Action<UsageNode> {
        self.implausible = true;
        Action::Skip
    }

    fn iteration_mut(&mut self) -> Option<&mut Iteration> {
        self.iterations.as_mut()?.last_mut()
    }

    fn count_mut(&mut self, count: Count) -> &mut Option<u64> {
        match count {
            Count::Input => &mut self.input,
            Count::Output => &mut self.output,
            Count::CacheRead => &mut self.cache_read,
            Count::WritesTotal => &mut self.writes.total,
            Count::WritesFiveMinutes => &mut self.writes.five_minutes,
            Count::WritesOneHour => &mut self.writes.one_hour,
            Count::WebSearch => &mut self.web_search,
            Count::WebFetch => &mut self.web_fetch,
            Count::Thinking => &mut self.thinking,
        }
    }
}

impl Iteration {
    fn set(&mut self, count: Count, figure: u64) {
        let CacheWrites { total, five_minutes, one_hour } = &mut self.writes;
        match count {
            Count::Input => self.input = figure,
            Count::Output => self.output = figure,
            Count::CacheRead => self.cache_read = figure,
            Count::WritesTotal => *total = Some(figure),
            Count::WritesFiveMinutes => *five_minutes = Some(figure),
            Count::WritesOneHour => *one_hour = Some(figure),
            Count::WebSearch | Count::WebFetch | Count::Thinking => {}
        }
    }
}

fn token_count(key: &str) -> Option<Count> {
    match key {
        "input_tokens" => Some(Count::Input),
        "output_tokens" => Some(Count::Output),
        "cache_read_input_tokens" => Some(Count::CacheRead),
        "cache_creation_input_tokens" => Some(Count::WritesTotal),
        _ => None,
    }
}

fn lifetime(key: &str) -> Option<Count> {
    match key {
        "ephemeral_5m_input_tokens" => Some(Count::WritesFiveMinutes),
        "ephemeral_1h_input_tokens" => Some(Count::WritesOneHour),
        _ => None,
    }
}

/// A number that can be a token count. `12.0` is one: some serialisers write integers so.
fn plausible(value: Captured<'_>) -> Option<u64> {
    let figure = value.unsigned().or_else(|| {
        let text = std::str::from_utf8(value.raw).ok().filter(|_| !value.cut)?;
        let (whole, fraction) = text.split_once('.')?;
        fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok())?
    })?;
    (figure <= MAX_TOKENS).then_some(figure)
}
