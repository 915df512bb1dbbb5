use std::sync::Arc;

use super::*;
use crate::event::{BucketKind, BucketSource, Certainty};
use crate::metered::{MeteredItem, MeteredResponse, Pass};

fn day(text: &str) -> Timestamp {
    format!("{text}T12:00:00Z").parse().unwrap()
}

fn today() -> Timestamp {
    day("2026-11-21")
}

/// A million tokens of each kind.
const EACH: TokenCounts = TokenCounts {
    input: 1_000_000,
    output: 1_000_000,
    cache_read: 1_000_000,
    cache_write_5m: 1_000_000,
    cache_write_1h: 1_000_000,
};

fn answer(model: &str, tokens: TokenCounts) -> MeteredResponse {
    let mut metered = MeteredResponse::without_usage(None);
    metered.model = Some(model.into());
    metered.tokens = Some(tokens);
    metered.content_is_empty = false;
    metered.passes = vec![pass(BucketSource::Message, Some(model), tokens)];
    metered
}

fn pass(source: BucketSource, model: Option<&str>, tokens: TokenCounts) -> Pass {
    Pass { source, model: model.map(Arc::from), tokens, smallest_prompt: tokens.prompt() }
}

fn bill(metered: &MeteredResponse, at: Timestamp) -> Bill {
    PriceBook::bundled().unwrap().price(metered, None, at)
}

/// The bill's unit prices in micro-USD per million: input, 5m, 1h, read, output.
fn units(metered: &MeteredResponse, at: Timestamp) -> Option<[i64; 5]> {
    let bill = bill(metered, at);
    let kinds = [
        BucketKind::Input,
        BucketKind::CacheWrite5m,
        BucketKind::CacheWrite1h,
        BucketKind::CacheRead,
        BucketKind::Output,
    ];
    let unit = |kind| bill.buckets.iter().find(|line| line.kind == kind)?.unit_price_pico_usd;
    let found: Option<Vec<i64>> = kinds.into_iter().map(|kind| unit(kind).map(|price| price.0)).collect();
    found.map(|found| found.try_into().unwrap())
}

fn reason(bill: &Bill) -> Option<&str> {
    bill.certainty_reason.as_deref()
}

/// Cents of a cent per million tokens, so that the table below reads like the list: 12.50 USD is 125_000.
fn micro(row: [i64; 5]) -> [i64; 5] {
    row.map(|price| price * 100)
}

#[test]
fn every_model_of_the_list_costs_what_the_list_says() {
    let list: [(&str, [i64; 5]); 34] = [
        ("claude-fable-5-2", [80_000, 100_000, 160_000, 2_000, 400_000]),
        ("claude-mythos-5-2", [80_000, 100_000, 160_000, 2_000, 400_000]),
        ("claude-fable-5-1", [100_000, 125_000, 200_000, 2_500, 500_000]),
        ("claude-mythos-5-1", [100_000, 125_000, 200_000, 2_500, 500_000]),
        ("claude-fable-5", [100_000, 125_000, 200_000, 10_000, 500_000]),
        ("claude-mythos-5", [100_000, 125_000, 200_000, 10_000, 500_000]),
        ("claude-opus-5-5", [40_000, 50_000, 80_000, 2_000, 200_000]),
        ("claude-opus-5", [50_000, 62_500, 100_000, 5_000, 250_000]),
        ("claude-opus-4-8", [50_000, 62_500, 100_000, 5_000, 250_000]),
        ("claude-opus-4-7", [50_000, 62_500, 100_000, 5_000, 250_000]),
        ("claude-opus-4-6", [50_000, 62_500, 100_000, 5_000, 250_000]),
        ("claude-opus-4-5-20251101", [50_000, 62_500, 100_000, 5_000, 250_000]),
        ("claude-opus-4-5", [50_000, 62_500, 100_000, 5_000, 250_000]),
        ("claude-opus-4-1-20250805", [150_000, 187_500, 300_000, 15_000, 750_000]),
        ("claude-opus-4-1", [150_000, 187_500, 300_000, 15_000, 750_000]),
        ("claude-opus-4-20250514", [150_000, 187_500, 300_000, 15_000, 750_000]),
        ("claude-opus-4-0", [150_000, 187_500, 300_000, 15_000, 750_000]),
        ("claude-sonnet-5-5", [20_000, 25_000, 40_000, 1_000, 100_000]),
        ("claude-sonnet-5", [20_000, 25_000, 40_000, 2_000, 100_000]),
        ("claude-sonnet-4-6", [30_000, 37_500, 60_000, 3_000, 150_000]),
        ("claude-sonnet-4-5-20250929", [30_000, 37_500, 60_000, 3_000, 150_000]),
        ("claude-sonnet-4-5", [30_000, 37_500, 60_000, 3_000, 150_000]),
        ("claude-sonnet-4-20250514", [30_000, 37_500, 60_000, 3_000, 150_000]),
        ("claude-sonnet-4-0", [30_000, 37_500, 60_000, 3_000, 150_000]),
        ("claude-3-7-sonnet-20250219", [30_000, 37_500, 60_000, 3_000, 150_000]),
        ("claude-3-5-sonnet-20241022", [30_000, 37_500, 60_000, 3_000, 150_000]),
        ("claude-3-5-sonnet-20240620", [30_000, 37_500, 60_000, 3_000, 150_000]),
        ("claude-haiku-5-5", [5_000, 6_250, 10_000, 500, 25_000]),
        ("claude-haiku-4-5-20251001", [10_000, 12_500, 20_000, 1_000, 50_000]),
        ("claude-haiku-4-5", [10_000, 12_500, 20_000, 1_000, 50_000]),
        ("claude-3-5-haiku-20241022", [8_000, 10_000, 16_000, 800, 40_000]),
        ("claude-3-5-haiku-latest", [8_000, 10_000, 16_000, 800, 40_000]),
        ("claude-3-haiku-20240307", [2_500, 3_000, 5_000, 300, 12_500]),
        ("claude-3-opus-20240229", [150_000, 187_500, 300_000, 15_000, 750_000]),
    ];
    for (model, row) in list {
        assert_eq!(units(&answer(model, EACH), today()), Some(micro(row)), "{model}");
    }
}

#[test]
fn batches_cost_half_and_us_inference_a_tenth_more_and_both_stack() {
    let mut metered = answer("claude-opus-5-5", EACH);
    metered.service_tier = Some("batch".into());
    assert_eq!(units(&metered, today()), Some(micro([20_000, 25_000, 40_000, 1_000, 100_000])));
    metered.inference_geo = Some("us".into());
    assert_eq!(units(&metered, today()), Some(micro([22_000, 27_500, 44_000, 1_100, 110_000])));
    metered.service_tier = Some("standard".into());
    assert_eq!(units(&metered, today()), Some(micro([44_000, 55_000, 88_000, 2_200, 220_000])));
    assert_eq!(bill(&metered, today()).certainty, Certainty::Exact);
}

#[test]
fn geography_costs_nothing_before_claude_4_6() {
    let mut metered = answer("claude-sonnet-4-5", EACH);
    let global = units(&metered, today());
    metered.inference_geo = Some("us".into());
    assert_eq!(units(&metered, today()), global);
}

#[test]
fn fast_mode_has_its_own_prices_while_it_lasts() {
    let fast = |model: &str, at| {
        let mut metered = answer(model, EACH);
        metered.speed = Some("fast".into());
        (units(&metered, at), bill(&metered, at).certainty_reason)
    };
    assert_eq!(fast("claude-fable-5-2", today()).0, Some(micro([160_000, 200_000, 320_000, 4_000, 800_000])));
    assert_eq!(fast("claude-opus-5-5", today()).0, Some(micro([80_000, 100_000, 160_000, 4_000, 400_000])));
    let twice = Some(micro([100_000, 125_000, 200_000, 10_000, 500_000]));
    assert_eq!(fast("claude-opus-5", today()).0, twice);
    assert_eq!(fast("claude-opus-4-8", day("2026-11-30")), (twice, None));
    assert_eq!(fast("claude-opus-4-8", day("2026-12-01")), (None, Some("no_fast_price".into())));
    let early = Some(micro([300_000, 375_000, 600_000, 30_000, 1_500_000]));
    assert_eq!(fast("claude-opus-4-6", day("2026-03-01")).0, early);
    let standard = Some(micro([50_000, 62_500, 100_000, 5_000, 250_000]));
    assert_eq!(fast("claude-opus-4-6", today()), (standard, None));
    assert_eq!(fast("claude-opus-4-7", today()), (None, Some("no_fast_price".into())));
    assert_eq!(fast("claude-sonnet-5", today()), (None, Some("no_fast_price".into())));
}

#[test]
fn a_price_applies_from_the_start_of_its_day() {
    let read = |at: &str| {
        let at = at.parse().unwrap();
        units(&answer("claude-sonnet-5-5", EACH), at).map(|row| row[3])
    };
    assert_eq!(read("2026-09-27T23:59:59.999999Z"), None);
    assert_eq!(read("2026-09-28T00:00:00Z"), Some(200_000));
    assert_eq!(read("2026-10-06T23:59:59.999999Z"), Some(200_000));
    assert_eq!(read("2026-10-07T00:00:00Z"), Some(100_000));
    let too_early = bill(&answer("claude-sonnet-5-5", EACH), day("2026-01-01"));
    assert_eq!((too_early.cost, reason(&too_early)), (None, Some("no_price_at_this_time")));
}

#[test]
fn the_size_of_the_prompt_chooses_the_row_for_every_token() {
    let sized = |prompt: u64| {
        let tokens =
            TokenCounts { input: prompt - 60_000, cache_read: 50_000, cache_write_5m: 10_000, ..EACH };
        answer("claude-haiku-5-5", TokenCounts { cache_write_1h: 0, output: 1_000, ..tokens })
    };
    let small = bill(&sized(100_000), today());
    // 40 000 at 0.10, 50 000 at 0.01, 10 000 at 0.125, 1 000 at 0.50, per million.
    assert_eq!(small.cost, Some(crate::NanoUsd(4_000_000 + 500_000 + 1_250_000 + 500_000)));
    let large = bill(&sized(100_001), today());
    assert_eq!(large.cost, Some(crate::NanoUsd(20_000_500 + 2_500_000 + 6_250_000 + 2_500_000)));
    assert_eq!((small.certainty, large.certainty), (Certainty::Exact, Certainty::Exact));
}

#[test]
fn several_passes_make_a_tier_uncertain_only_where_it_matters() {
    let tokens = TokenCounts { input: 150_000, ..TokenCounts::default() };
    let mut metered = answer("claude-haiku-5-5", tokens);
    metered.passes[0].smallest_prompt = 70_000;
    assert_eq!(reason(&bill(&metered, today())), Some("price_tier_unclear"));
    metered.passes[0].smallest_prompt = 120_000;
    assert_eq!(bill(&metered, today()).certainty, Certainty::Exact);
    let half = TokenCounts { input: 60_000, ..TokenCounts::default() };
    let mut metered = answer("claude-haiku-5-5", half);
    metered.passes.push(pass(BucketSource::Compaction, Some("claude-haiku-5-5"), half));
    assert_eq!(reason(&bill(&metered, today())), Some("price_tier_unclear"));
    let mut flat = answer("claude-haiku-4-5", tokens);
    flat.passes[0].smallest_prompt = 1;
    assert_eq!(bill(&flat, today()).certainty, Certainty::Exact);
}

#[test]
fn an_unknown_model_keeps_its_tokens_and_has_no_cost() {
    for model in [
        "claude-9",
        "claude-mythos-preview",
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-opus-4-1-20250805-v1:0",
        "claude-sonnet-4-5@20250929",
        "claude-opus-5-5-20990101",
        "",
    ] {
        let bill = bill(&answer(model, EACH), today());
        assert_eq!((bill.cost, bill.certainty), (None, Certainty::Unknown), "{model}");
        assert_eq!(reason(&bill), Some("unknown_model"));
        assert_eq!(bill.buckets.len(), 5);
        assert!(bill.buckets.iter().all(|line| line.amount_pico_usd.is_none() && line.quantity == 1_000_000));
    }
}

#[test]
fn web_searches_cost_a_cent_each_whatever_the_tier() {
    let mut metered = answer("claude-sonnet-4-5", TokenCounts::default());
    metered.web_search_requests = 3;
    metered.web_fetch_requests = 9;
    metered.service_tier = Some("batch".into());
    metered.inference_geo = Some("us".into());
    let bill = bill(&metered, today());
    assert_eq!(bill.cost, Some(crate::NanoUsd(30_000_000)));
    assert_eq!(bill.buckets.len(), 1);
}

#[test]
fn a_refusal_is_free_only_while_it_has_no_content() {
    let mut metered = answer("claude-opus-5", EACH);
    metered.stop_reason = Some("refusal".into());
    assert!(bill(&metered, today()).cost > Some(crate::NanoUsd(0)));
    metered.content_is_empty = true;
    let free = bill(&metered, today());
    assert_eq!((free.cost, free.certainty), (Some(crate::NanoUsd(0)), Certainty::Exact));
    assert!(free.buckets.is_empty());
    metered.stop_reason = Some("max_tokens".into()); // a cache pre-warm has no content either
    assert!(bill(&metered, today()).cost > Some(crate::NanoUsd(0)));
}

#[test]
fn terms_that_we_do_not_know_make_an_estimate_at_list_price() {
    type Change = fn(&mut MeteredResponse);
    let change: [(&str, Change); 4] = [
        ("priority_tier_list_price", |one| one.service_tier = Some("priority".into())),
        ("unknown_service_tier", |one| one.service_tier = Some("flex".into())),
        ("unknown_inference_geo", |one| one.inference_geo = Some("eu".into())),
        ("unknown_speed", |one| one.speed = Some("warp".into())),
    ];
    let exact = bill(&answer("claude-opus-5", EACH), today());
    for (expected, change) in change {
        let mut metered = answer("claude-opus-5", EACH);
        change(&mut metered);
        let bill = bill(&metered, today());
        assert_eq!((bill.certainty, reason(&bill)), (Certainty::Estimated, Some(expected)));
        assert_eq!(bill.cost, exact.cost);
    }
}

#[test]
fn passes_are_billed_at_their_own_models() {
    let few = TokenCounts { input: 10, output: 1, ..TokenCounts::default() };
    let mut metered = answer("claude-sonnet-5", few);
    metered.speed = Some("standard".into());
    metered.passes.push(pass(BucketSource::Advisor, Some("claude-opus-4-8"), few));
    metered.passes.push(pass(BucketSource::Compaction, None, few));
    metered.passes.push(pass(BucketSource::Compaction, None, few));
    let book = PriceBook::bundled().unwrap();
    let bill = book.price(&metered, Some("claude-haiku-4-5"), today());
    assert_eq!(
        bill.cost,
        Some(crate::NanoUsd(20 + 10 + 50 + 25 + 2 * (10 + 5))).map(|nano| crate::NanoUsd(nano.0 * 1_000))
    );
    assert_eq!(bill.buckets.len(), 6, "the two compactions share their lines");
    let compaction = bill.buckets.iter().find(|line| line.source == BucketSource::Compaction).unwrap();
    assert_eq!((&*compaction.model, compaction.quantity), ("claude-haiku-4-5", 20));
}

#[test]
fn an_advisor_that_is_not_named_has_no_price() {
    let few = TokenCounts { input: 10, ..TokenCounts::default() };
    let mut metered = answer("claude-sonnet-5", few);
    metered.passes.push(pass(BucketSource::Advisor, None, few));
    let bill = PriceBook::bundled().unwrap().price(&metered, Some("claude-sonnet-5"), today());
    assert_eq!((bill.cost, reason(&bill)), (None, Some("unknown_model")));
}

#[test]
fn batch_items_are_billed_at_batch_rates_and_merged_by_unit_price() {
    let item = |id: &str, model: &str, input: u64| {
        let tokens = TokenCounts { input, ..TokenCounts::default() };
        MeteredItem { custom_id: id.into(), answer: answer(model, tokens) }
    };
    let items = vec![
        item("a", "claude-haiku-4-5", 3),
        item("b", "claude-haiku-4-5", 4),
        item("c", "claude-haiku-5-5", 100_000),
        item("d", "claude-haiku-5-5", 100_001),
    ];
    let metered = MeteredResponse::of_batch(items, None);
    assert_eq!(metered.tokens.unwrap().input, 200_008);
    let bill = bill(&metered, today());
    let lines: Vec<(u64, i64)> =
        bill.buckets.iter().map(|line| (line.quantity, line.unit_price_pico_usd.unwrap().0)).collect();
    assert_eq!(lines, [(7, 500_000), (100_000, 50_000), (100_001, 250_000)]);
    assert_eq!(bill.items.len(), 4);
    let of_items: i64 =
        bill.items.iter().flat_map(|item| &item.buckets).map(|line| line.amount_pico_usd.unwrap().0).sum();
    assert_eq!(bill.cost, Some(PicoUsd(of_items).round_to_nano()));
}

#[test]
fn a_cost_that_no_number_holds_is_unknown_instead_of_wrong() {
    let mut metered = answer("claude-opus-5", TokenCounts { input: u64::MAX, ..TokenCounts::default() });
    assert_eq!(reason(&bill(&metered, today())), Some("cost_overflow"));
    let half = TokenCounts { input: 1_000_000_000_000, ..TokenCounts::default() };
    metered.passes = vec![pass(BucketSource::Message, Some("claude-opus-5"), half); 2];
    let bill = bill(&metered, today());
    assert_eq!((bill.cost, reason(&bill)), (None, Some("cost_overflow")));
}

#[test]
fn a_book_with_faults_is_refused_and_names_them_all() {
    let row = |changes: &str| {
        format!(
            r#"{{ from = "2026-01-02", input = "1", cache_write_5m = "1", cache_write_1h = "1", cache_read = "1", output = "1"{changes} }}"#
        )
    };
    let book = format!(
        r#"
        version = " "
        [multipliers]
        batch = "1/0"
        inference_geo_us = "11/10"
        [fees]
        web_search_per_1000 = "ten"
        [[models]]
        id = "a"
        aliases = ["a"]
        source = ""
        retrieved = "yesterday"
        standard = [{}, {}]
        fast = [{}]
        [[models]]
        id = "b"
        source = "s"
        retrieved = "2026-01-01"
        standard = [{}]
        "#,
        row(""),
        row(""),
        row(r#", until = "2026-01-01""#),
        row("").replace(r#"output = "1""#, r#"output = "0.000001""#),
    );
    let Err(PriceBookError::Faults(faults)) = PriceBook::parse(&book) else { panic!("it was taken") };
    let places: Vec<&str> = faults.iter().map(|fault| fault.place.as_str()).collect();
    for place in [
        "version",
        "multipliers.batch",
        "fees.web_search_per_1000",
        "a",
        "a.source",
        "a.retrieved",
        "a.standard[1].from",
        "a.fast[0].until",
        "b",
    ] {
        assert!(places.contains(&place), "{place} is missing in {places:?}");
    }
}

#[test]
fn a_price_is_a_decimal_and_never_a_float() {
    let book = BUNDLED.replacen(r#"input = "8""#, "input = 8.0", 1);
    assert!(matches!(PriceBook::parse(&book), Err(PriceBookError::Syntax(_))));
    for wrong in ["", "1.2345678", "-1", "1e3", "0", "1_000", "20001", ".5", "99999999999999999999"] {
        let book = BUNDLED.replacen(r#"input = "8""#, &format!(r#"input = "{wrong}""#), 1);
        assert!(matches!(PriceBook::parse(&book), Err(PriceBookError::Faults(_))), "{wrong:?} was taken");
    }
    let typo = BUNDLED.replacen("cache_read", "cache_reads", 1);
    assert!(matches!(PriceBook::parse(&typo), Err(PriceBookError::Syntax(_))));
}

#[test]
fn list_prices_serve_estimates_before_a_request() {
    let book = PriceBook::bundled().unwrap();
    let output = |model, prompt| book.list_price(model, TokenKind::Output, prompt, today());
    assert_eq!(output("claude-opus-5-5", 1), Some(PicoUsd(20_000_000)));
    assert_eq!(output("claude-haiku-5-5", 100_000), Some(PicoUsd(500_000)));
    assert_eq!(output("claude-haiku-5-5", 100_001), Some(PicoUsd(2_500_000)));
    assert_eq!(output("claude-9", 1), None);
    assert!(book.knows("claude-opus-4-0") && !book.knows("claude-9"));
    assert_eq!(&**book.version(), "2026-11-21");
}
