use std::sync::Arc;

use super::passes::{Models, Settlement};
use super::*;
use crate::certainty::CertaintyReason;
use crate::event::BucketSource;
use crate::json::{Action, Captured, Scanner, ValueKind, Visitor};
use crate::tokens::TokenCounts;

/// A document that is a usage object and nothing else.
struct Alone(UsageReport);

impl Visitor for Alone {
    type Node = UsageNode;

    fn root(&mut self, kind: ValueKind) -> Action<UsageNode> {
        self.0.begin(kind)
    }

    fn member(&mut self, parent: UsageNode, key: &str, kind: ValueKind) -> Action<UsageNode> {
        self.0.member(parent, key, kind)
    }

    fn element(&mut self, parent: UsageNode, kind: ValueKind) -> Action<UsageNode> {
        self.0.element(parent, kind)
    }

    fn captured(&mut self, node: UsageNode, value: Captured<'_>) {
        self.0.captured(node, value);
    }
}

fn report(json: &str) -> UsageReport {
    let mut alone = Alone(UsageReport::default());
    let mut scanner = Scanner::new();
    scanner.feed(json.as_bytes(), &mut alone).unwrap();
    scanner.finish(&mut alone).unwrap();
    alone.0
}

fn combined(reports: &[&str]) -> UsageReport {
    let mut usage = UsageReport::default();
    for json in reports {
        usage.overwrite(report(json));
    }
    usage
}

fn settle(usage: &UsageReport) -> Settlement {
    let model = || Some(Arc::from("claude-a"));
    usage.settle(Models { serving: model(), asked: model() }, false)
}

fn tokens(input: u64, output: u64, cache_read: u64, write_5m: u64, write_1h: u64) -> TokenCounts {
    TokenCounts { input, output, cache_read, cache_write_5m: write_5m, cache_write_1h: write_1h }
}

/// Source, model and tokens of each pass beside the message.
fn beside(settlement: &Settlement) -> Vec<(BucketSource, Option<&str>, TokenCounts)> {
    settlement.passes[1..].iter().map(|pass| (pass.source, pass.model.as_deref(), pass.tokens)).collect()
}

#[test]
fn later_figures_overwrite_and_never_add() {
    let usage = combined(&[
        r#"{"input_tokens":2479,"cache_read_input_tokens":5,"output_tokens":1}"#,
        r#"{"input_tokens":404500,"cache_read_input_tokens":null,"output_tokens":10}"#,
        r#"{"output_tokens":70}"#,
    ]);
    assert_eq!(settle(&usage).tokens, tokens(404_500, 70, 5, 0, 0));
}

#[test]
fn figures_may_fall() {
    let usage = combined(&[
        r#"{"input_tokens":10,"cache_read_input_tokens":55096,"output_tokens":1}"#,
        r#"{"input_tokens":220,"cache_read_input_tokens":0,"output_tokens":8}"#,
    ]);
    assert_eq!(settle(&usage).tokens, tokens(220, 8, 0, 0, 0));
}

#[test]
fn writes_beyond_the_split_are_five_minute_writes() {
    let usage = combined(&[
        r#"{"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}}"#,
        r#"{"cache_creation_input_tokens":1000,"output_tokens":1}"#,
    ]);
    assert_eq!(settle(&usage).tokens, tokens(0, 1, 0, 800, 200));
}

#[test]
fn one_hour_writes_are_not_five_minute_writes_and_are_counted_once() {
    let usage = combined(&[
        r#"{"cache_creation_input_tokens":200,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":200}}"#,
        r#"{"cache_creation_input_tokens":200}"#,
    ]);
    assert_eq!(settle(&usage).tokens, tokens(0, 0, 0, 0, 200));
}

#[test]
fn writes_without_a_split_are_five_minute_writes_and_a_split_needs_no_total() {
    assert_eq!(settle(&report(r#"{"cache_creation_input_tokens":7}"#)).tokens, tokens(0, 0, 0, 7, 0));
    let split = r#"{"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}"#;
    assert_eq!(settle(&report(split)).tokens, tokens(0, 0, 0, 3, 4));
}

#[test]
fn writes_that_fall_below_a_mixed_split_make_an_estimate() {
    let mixed = r#"{"cache_creation":{"ephemeral_5m_input_tokens":30,"ephemeral_1h_input_tokens":40}}"#;
    let only_1h = r#"{"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":40}}"#;
    let fallen = r#"{"cache_creation_input_tokens":10}"#;
    let none = r#"{"cache_creation_input_tokens":0}"#;
    let unclear = settle(&combined(&[mixed, fallen]));
    assert_eq!(unclear.tokens.cache_write_5m + unclear.tokens.cache_write_1h, 10);
    assert_eq!(unclear.knowledge.reason(), Some(CertaintyReason::CacheWriteSplitUnclear));
    let clear = settle(&combined(&[only_1h, fallen]));
    assert_eq!((clear.tokens, clear.knowledge.reason()), (tokens(0, 0, 0, 0, 10), None));
    let gone = settle(&combined(&[mixed, none]));
    assert_eq!((gone.tokens, gone.knowledge.reason()), (TokenCounts::default(), None));
}

#[test]
fn the_splits_of_message_iterations_win() {
    let usage = combined(&[
        r#"{"cache_creation_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":0}}"#,
        r#"{"cache_creation_input_tokens":500,"iterations":[
            {"type":"message","cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}},
            {"type":"compaction","cache_creation_input_tokens":50,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":50}},
            {"type":"message","cache_creation_input_tokens":150}
        ]}"#,
    ]);
    let settlement = settle(&usage);
    assert_eq!(settlement.tokens, tokens(0, 0, 0, 300, 200));
    assert_eq!(beside(&settlement), [(BucketSource::Compaction, Some("claude-a"), tokens(0, 0, 0, 0, 50))]);
}

#[test]
fn message_iterations_add_nothing() {
    let usage = report(
        r#"{"input_tokens":10,"output_tokens":5,"iterations":[
            {"type":"message","input_tokens":4,"output_tokens":2},{"type":"message","model":null,"input_tokens":6,"output_tokens":3}]}"#,
    );
    let settlement = settle(&usage);
    assert_eq!(settlement.passes.len(), 1);
    assert_eq!(settlement.passes[0].tokens, tokens(10, 5, 0, 0, 0));
    assert_eq!(settlement.passes[0].smallest_prompt, 4);
}

#[test]
fn compactions_and_advisors_are_billed_beside_the_message() {
    let usage = report(
        r#"{"input_tokens":220,"output_tokens":8,"iterations":[
            {"type":"compaction","input_tokens":55196,"output_tokens":125},
            {"type":"advisor_message","model":"claude-b","input_tokens":9,"output_tokens":1},
            {"type":"message","input_tokens":220,"output_tokens":8}]}"#,
    );
    let expected = [
        (BucketSource::Compaction, Some("claude-a"), tokens(55_196, 125, 0, 0, 0)),
        (BucketSource::Advisor, Some("claude-b"), tokens(9, 1, 0, 0, 0)),
    ];
    assert_eq!(beside(&settle(&usage)), expected);
}

#[test]
fn a_declined_hop_is_billed_at_its_own_model_only_when_it_produced_output() {
    let usage = report(
        r#"{"input_tokens":30,"output_tokens":9,"iterations":[
            {"type":"message","model":"claude-a","input_tokens":10,"output_tokens":0},
            {"type":"message","model":"claude-b","input_tokens":20,"output_tokens":4},
            {"type":"fallback_message","model":"claude-c","input_tokens":30,"output_tokens":9}]}"#,
    );
    let settlement = settle(&usage);
    assert_eq!(settlement.model.as_deref(), Some("claude-c"));
    assert_eq!(settlement.passes[0].model.as_deref(), Some("claude-c"));
    assert_eq!(settlement.passes[0].tokens, tokens(30, 9, 0, 0, 0));
    assert_eq!(beside(&settlement), [(BucketSource::FallbackHop, Some("claude-b"), tokens(20, 4, 0, 0, 0))]);
}

#[test]
fn after_a_fallback_iterations_of_the_serving_model_are_inside_the_top_level() {
    let usage = report(
        r#"{"input_tokens":50,"output_tokens":9,"iterations":[
            {"type":"message","input_tokens":10,"output_tokens":2},
            {"type":"fallback_message","model":"claude-c-20260101","input_tokens":30,"output_tokens":5},
            {"type":"message","model":"claude-c","input_tokens":20,"output_tokens":4}]}"#,
    );
    let hop = (BucketSource::FallbackHop, Some("claude-a"), tokens(10, 2, 0, 0, 0));
    assert_eq!(beside(&settle(&usage)), [hop]);
}

#[test]
fn numbers_that_are_no_token_counts_make_the_figures_unknown() {
    for figure in ["-1", "1.5", "1e3", "10000000001", "99999999999999999999999", "\"7\"", "true", "[]", "{}"]
    {
        let usage = report(&format!(r#"{{"input_tokens":{figure},"output_tokens":3}}"#));
        let settlement = settle(&usage);
        assert_eq!(settlement.knowledge.reason(), Some(CertaintyReason::UsageImplausible), "{figure}");
        assert_eq!(settlement.tokens, tokens(0, 3, 0, 0, 0), "{figure}");
    }
    assert_eq!(settle(&report(r#"{"input_tokens":12.0}"#)).tokens.input, 12);
    assert_eq!(settle(&report(r#"{"input_tokens":12.0}"#)).knowledge.reason(), None);
}

#[test]
fn nulls_and_unknown_fields_say_nothing() {
    let usage = report(
        r#"{"input_tokens":1,"output_tokens":null,"cache_creation":null,"server_tool_use":null,"iterations":null,
            "service_tier":null,"new_thing":{"input_tokens":99},"output_tokens_details":{"thinking_tokens":null,"x":[1]},
            "cache_creation_input_tokens":null}"#,
    );
    let settlement = settle(&usage);
    assert_eq!((settlement.tokens, settlement.knowledge.reason()), (tokens(1, 0, 0, 0, 0), None));
    assert!(!report("null").is_present());
}

#[test]
fn a_kind_of_pass_that_we_do_not_know_makes_an_estimate() {
    let usage = report(r#"{"input_tokens":1,"iterations":[{"type":"oracle","input_tokens":5}]}"#);
    let settlement = settle(&usage);
    assert_eq!(settlement.passes.len(), 1);
    assert_eq!(settlement.knowledge.reason(), Some(CertaintyReason::UnknownIteration));
}

#[test]
fn passes_are_kept_only_up_to_a_bound() {
    let entries = vec![r#"{"type":"message"}"#; MAX_ITERATIONS + 1].join(",");
    let usage = report(&format!(r#"{{"input_tokens":1,"iterations":[{entries}]}}"#));
    assert_eq!(usage.iterations.as_ref().unwrap().len(), MAX_ITERATIONS);
    assert_eq!(settle(&usage).knowledge.reason(), Some(CertaintyReason::TooManyIterations));
}
