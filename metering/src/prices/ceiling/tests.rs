use proptest::prelude::*;

use super::*;
use crate::event::BucketSource;
use crate::metered::{MeteredItem, MeteredResponse, Pass};
use crate::request::{RequestedMcpServer, RequestedTool};
use crate::tokens::TokenCounts;

fn book() -> PriceBook {
    PriceBook::bundled().unwrap()
}

fn at() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn asks(model: &str) -> RequestFacts {
    RequestFacts { model: Some(model.into()), models: vec![model.into()], ..RequestFacts::default() }
}

/// The ceiling of a million prompt and ten thousand output tokens, in dollars.
fn usd(facts: &RequestFacts) -> Option<String> {
    book().ceiling(facts, 1_000_000, 10_000, at()).map(|cost| cost.to_string())
}

#[test]
fn a_plain_request_costs_its_list_price() {
    assert_eq!(usd(&asks("claude-sonnet-4-5")).as_deref(), Some("3.150000000"));
    assert_eq!(usd(&asks("claude-sonnet-4-5-20250929")).as_deref(), Some("3.150000000"));
    assert_eq!(book().ceiling(&asks("claude-opus-5"), 0, 0, at()), Some(NanoUsd(0)));
}

#[test]
fn the_dearest_terms_that_are_asked_for_count() {
    let opus = || asks("claude-opus-5-5"); // 4 in, 5 for five minutes, 8 for an hour, 20 out; fast twice that
    let ephemeral = RequestFacts { cache_write: Some(CacheTtl::FiveMinutes), ..opus() };
    assert_eq!(usd(&ephemeral).as_deref(), Some("5.200000000"));
    let hour = RequestFacts { cache_write: Some(CacheTtl::OneHour), ..opus() };
    assert_eq!(usd(&hour).as_deref(), Some("8.200000000"));
    let fast = RequestFacts { speeds: vec!["fast".into()], ..hour };
    assert_eq!(usd(&fast).as_deref(), Some("16.400000000"));
    let us = RequestFacts { inference_geos: vec!["us".into()], ..fast };
    assert_eq!(usd(&us).as_deref(), Some("18.040000000"));
    let other = RequestFacts { speeds: vec!["standard".into()], inference_geos: vec!["eu".into()], ..opus() };
    assert_eq!(usd(&other).as_deref(), Some("4.200000000"));
}

#[test]
fn the_size_of_the_prompt_chooses_the_row_and_of_several_models_the_dearest_counts() {
    let haiku = asks("claude-haiku-5-5");
    let cost = |tokens| book().ceiling(&haiku, tokens, 1_000, at());
    assert_eq!(cost(100_000), Some(NanoUsd(10_000_000 + 500_000)));
    assert_eq!(cost(100_001), Some(NanoUsd(50_000_500 + 2_500_000)));
    let fallback = RequestFacts { models: vec!["claude-haiku-5-5".into(), "claude-opus-5".into()], ..haiku };
    assert_eq!(usd(&fallback), usd(&asks("claude-opus-5")));
}

#[test]
fn a_batch_costs_half_and_has_no_fast_mode() {
    let batch = RequestFacts { batch_requests: 3, ..asks("claude-sonnet-4-5") };
    assert_eq!(usd(&batch).as_deref(), Some("1.575000000"));
    let fast = RequestFacts { speeds: vec!["fast".into()], ..batch };
    assert_eq!(usd(&fast).as_deref(), Some("1.575000000"));
}

#[test]
fn tools_that_run_at_the_api_write_to_the_cache_unasked() {
    let tool = |kind: Option<&str>| RequestedTool { kind: kind.map(Into::into), ..RequestedTool::default() };
    let search = RequestFacts { tools: vec![tool(Some("web_search_20260318"))], ..asks("claude-opus-5-5") };
    assert_eq!(usd(&search).as_deref(), Some("5.200000000"));
    let connector =
        RequestFacts { mcp_servers: vec![RequestedMcpServer::default()], ..asks("claude-opus-5-5") };
    assert_eq!(usd(&connector).as_deref(), Some("5.200000000"));
    let own = RequestFacts { tools: vec![tool(None), tool(Some("custom"))], ..asks("claude-opus-5-5") };
    assert_eq!(usd(&own).as_deref(), Some("4.200000000"));
}

#[test]
fn what_has_no_known_price_has_no_ceiling() {
    assert_eq!(usd(&asks("claude-9")), None);
    assert_eq!(usd(&RequestFacts::default()), None, "no model at all");
    let partly = RequestFacts { models: vec!["claude-opus-5".into(), "claude-9".into()], ..asks("") };
    assert_eq!(usd(&partly), None);
    let no_fast = RequestFacts { speeds: vec!["fast".into()], ..asks("claude-sonnet-4-5") };
    assert_eq!(usd(&no_fast), None);
    let fast_as_standard = RequestFacts { speeds: vec!["fast".into()], ..asks("claude-opus-4-6") };
    assert_eq!(usd(&fast_as_standard).as_deref(), Some("5.250000000"));
    let many = RequestFacts { models: vec!["claude-opus-5".into(); MAX_DISTINCT_VALUES], ..asks("") };
    assert_eq!(usd(&many), None, "the list may have been cut");
    assert_eq!(book().ceiling(&asks("claude-opus-5"), u64::MAX, 0, at()), None, "no number holds it");
    let before_it_came: Timestamp = "2026-09-01T00:00:00Z".parse().unwrap();
    assert_eq!(book().ceiling(&asks("claude-opus-5-5"), 1, 1, before_it_came), None);
}

#[test]
fn a_fraction_of_a_nano_dollar_is_rounded_up() {
    let read = RequestFacts { batch_requests: 1, ..asks("claude-3-haiku-20240307") }; // 0.125 in, 0.625 out
    assert_eq!(book().ceiling(&read, 1, 0, at()), Some(NanoUsd(125)));
    assert_eq!(round_up(PicoUsd(1)), Some(NanoUsd(1)));
    assert_eq!(round_up(PicoUsd(1_000)), Some(NanoUsd(1)));
    assert_eq!(round_up(PicoUsd(i64::MAX)), None);
}

fn a_model() -> impl Strategy<Value = String> {
    let mut names: Vec<String> = book().by_name.keys().map(ToString::to_string).collect();
    names.sort_unstable();
    proptest::sample::select(names)
}

fn some_tokens() -> impl Strategy<Value = TokenCounts> {
    [0_u64..200_000, 0..200_000, 0..200_000, 0..200_000, 0..200_000].prop_map(
        |[input, output, cache_read, cache_write_5m, cache_write_1h]| TokenCounts {
            input,
            output,
            cache_read,
            cache_write_5m,
            cache_write_1h,
        },
    )
}

fn answer(model: &str, tokens: TokenCounts) -> MeteredResponse {
    let mut metered = MeteredResponse::without_usage(None);
    metered.model = Some(model.into());
    metered.tokens = Some(tokens);
    metered.content_is_empty = false;
    let pass = Pass {
        source: BucketSource::Message,
        model: Some(model.into()),
        tokens,
        smallest_prompt: tokens.prompt(),
    };
    metered.passes = vec![pass];
    metered
}

proptest! {
    /// Whatever of the asked terms the API grants, the bill is within the ceiling.
    #[test]
    fn no_bill_exceeds_the_ceiling_of_its_request(
        model in a_model(),
        tokens in some_tokens(),
        ttl in proptest::sample::select(vec![None, Some(CacheTtl::FiveMinutes), Some(CacheTtl::OneHour)]),
        asked_fast: bool, got_fast: bool, asked_us: bool, got_us: bool, batch: bool,
    ) {
        let tokens = TokenCounts {
            cache_write_5m: if ttl.is_some() { tokens.cache_write_5m } else { 0 },
            cache_write_1h: if ttl == Some(CacheTtl::OneHour) { tokens.cache_write_1h } else { 0 },
            ..tokens
        };
        let list = |on: bool, what: &str| if on { vec![what.into()] } else { Vec::new() };
        let facts = RequestFacts {
            cache_write: ttl,
            speeds: list(asked_fast, "fast"),
            inference_geos: list(asked_us, "us"),
            batch_requests: u64::from(batch),
            ..asks(&model)
        };
        let mut metered = answer(&model, tokens);
        metered.speed = (asked_fast && got_fast && !batch).then(|| "fast".into());
        metered.inference_geo = (asked_us && got_us).then(|| "us".into());
        if batch {
            let item = MeteredItem { custom_id: "a".into(), answer: metered };
            metered = MeteredResponse::without_usage(None);
            metered.items = vec![item];
        }
        let cost = book().price(&metered, None, at()).cost;
        match book().ceiling(&facts, tokens.prompt(), tokens.output, at()) {
            Some(ceiling) => prop_assert!(cost.is_some_and(|cost| cost <= ceiling), "{cost:?} > {ceiling}"),
            None => prop_assert!(asked_fast || cost.is_none(), "{model}"),
        }
    }

    #[test]
    fn more_tokens_never_cost_less(
        model in a_model(), input in 0_u64..1_000_000, output in 0_u64..100_000, more in 0_u64..10_000,
    ) {
        let (book, facts) = (book(), asks(&model));
        let cost = |input, output| book.ceiling(&facts, input, output, at());
        prop_assert!(cost(input, output) <= cost(input.saturating_add(more), output));
        prop_assert!(cost(input, output) <= cost(input, output.saturating_add(more)));
    }
}
