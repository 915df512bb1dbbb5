//! Every recorded exchange is metered to the token, to the billable bucket and to the nano-dollar, however its bytes
//! are cut and compressed.

use std::collections::BTreeMap;
use std::io::Write;

use jiff::Timestamp;
use mindweave_metering::{BucketKind, Certainty, MeteredResponse, PriceBook, ToolKind};
use serde_json::Value;

use crate::recorded::{Exchange, exchanges};

/// When the replayed traffic happens.
pub(crate) fn today() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn count(figure: &Value) -> Option<u64> {
    assert!(figure.is_null() || figure.is_u64(), "{figure} is no count");
    figure.as_u64()
}

#[test]
fn every_recording_is_metered_to_the_token() {
    for exchange in exchanges() {
        let Exchange { id, expected, extra, .. } = &exchange;
        let metered = exchange.metered();
        assert_eq!(metered.model.as_deref(), expected["model"].as_str(), "model of {id}");
        let tokens = metered.tokens;
        assert_eq!(tokens.map(|t| t.input), count(&expected["input_tokens"]), "input of {id}");
        assert_eq!(tokens.map(|t| t.output), count(&expected["output_tokens"]), "output of {id}");
        assert_eq!(tokens.map(|t| t.cache_read), count(&expected["cache_read"]), "reads of {id}");
        assert_eq!(tokens.map(|t| t.cache_write_5m), count(&expected["cache_creation_5m"]), "5m of {id}");
        assert_eq!(tokens.map(|t| t.cache_write_1h), count(&expected["cache_creation_1h"]), "1h of {id}");
        assert_eq!(metered.web_search_requests, count(&expected["web_search_requests"]).unwrap_or(0), "{id}");
        assert_eq!(metered.web_fetch_requests, count(&extra["web_fetch_requests"]).unwrap_or(0), "{id}");
        assert_eq!(metered.thinking_tokens, count(&extra["thinking_tokens"]).unwrap_or(0), "{id}");
        assert_eq!(metered.stop_reason.as_deref(), expected["stop_reason"].as_str(), "stop reason of {id}");
        assert_eq!(metered.streamed, expected["streamed"] == true, "streamed of {id}");
        let names: Vec<&str> = metered.tool_calls.iter().map(|call| &*call.name).collect();
        assert_eq!(Value::from(names), expected["tool_names"], "tools of {id}");
        assert_eq!(metered.error_type.as_deref(), extra["error_type"].as_str(), "error type of {id}");
    }
}

#[test]
fn every_recordings_terms_and_mcp_calls_are_seen() {
    for exchange in exchanges() {
        let Exchange { id, extra, .. } = &exchange;
        if exchange.kind != "messages" && exchange.kind != "messages_stream" {
            continue;
        }
        let metered = exchange.metered();
        assert_eq!(metered.service_tier.as_deref(), extra["service_tier"].as_str(), "tier of {id}");
        assert_eq!(metered.inference_geo.as_deref(), extra["inference_geo"].as_str(), "geography of {id}");
        assert_eq!(metered.speed.as_deref(), extra["speed"].as_str(), "speed of {id}");
        let mcp: Vec<Vec<&str>> = metered
            .tool_calls
            .iter()
            .filter(|call| call.kind == ToolKind::Mcp)
            .map(|call| vec![call.server.as_deref().unwrap(), &*call.name])
            .collect();
        assert_eq!(serde_json::to_value(mcp).unwrap(), extra["mcp_tools"], "MCP calls of {id}");
    }
}

#[test]
fn every_recording_says_how_well_it_is_known() {
    for exchange in exchanges() {
        let metered = exchange.metered();
        let expected = match exchange.kind.as_str() {
            "legacy_complete" | "other" => Certainty::Unknown,
            _ => Certainty::Exact,
        };
        assert_eq!(metered.certainty(), expected, "{}: {:?}", exchange.id, metered.certainty_reason);
    }
}

#[test]
fn every_cut_of_every_recording_gives_the_same_figures() {
    for exchange in exchanges() {
        let whole = exchange.metered();
        let encoding = exchange.content_encoding.as_deref();
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        for limit in [1, 7, 300, 9_000] {
            let cut = exchange.meter(&exchange.body, encoding, || random(&mut seed, limit));
            assert_eq!(cut, whole, "{} in pieces of up to {limit}", exchange.id);
        }
    }
}

#[test]
fn every_content_encoding_of_every_recording_gives_the_same_figures() {
    for exchange in exchanges() {
        let plain = exchange.plain();
        let whole = exchange.meter(&plain, None, || usize::MAX);
        assert_eq!(whole, exchange.metered(), "{} undone", exchange.id);
        let mut seed = 0xD1B5_4A32_D192_ED03_u64;
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let coded = encode(encoding, &plain);
            let metered = exchange.meter(&coded, Some(encoding), || random(&mut seed, 500));
            assert_eq!(metered, whole, "{} as {encoding}", exchange.id);
        }
    }
}

#[test]
fn every_recording_is_priced_to_the_nano_dollar() {
    let book = PriceBook::bundled().unwrap();
    let mut priced = 0;
    for exchange in exchanges() {
        let metered = exchange.metered();
        let bill = book.price(&metered, exchange.requested_model.as_deref(), today());
        let id = &exchange.id;
        match straightforward_pico(&exchange) {
            Some(pico) => {
                let nano = round_half_even(pico);
                assert_eq!(bill.cost.map(|cost| u128::try_from(cost.0).unwrap()), Some(nano), "cost of {id}");
                assert_eq!(bill.certainty, Certainty::Exact, "{id}: {:?}", bill.certainty_reason);
                priced += 1;
            }
            None => assert_eq!((bill.cost, bill.certainty), (None, Certainty::Unknown), "{id}"),
        }
        let of_lines: Option<i64> =
            bill.buckets.iter().map(|line| line.amount_pico_usd.map(|amount| amount.0)).sum();
        if let Some(cost) = bill.cost {
            let sum = u128::try_from(of_lines.unwrap()).unwrap();
            assert_eq!(u128::try_from(cost.0).unwrap(), round_half_even(sum), "{id}");
        }
        assert!(bill.buckets.iter().all(|line| line.quantity > 0), "{id} has a line of nothing");
    }
    assert!(priced == 0 || priced > 650, "only {priced} recordings were priced");
}

#[test]
fn every_billable_bucket_of_the_recordings_is_a_line_of_the_bill() {
    let book = PriceBook::bundled().unwrap();
    for exchange in exchanges() {
        let Some(billable) = exchange.extra["billable"].as_array() else { continue };
        let bill = book.price(&exchange.metered(), None, today());
        let mut lines: BTreeMap<(String, String, &str), u64> = BTreeMap::new();
        for line in &bill.buckets {
            let source = serde_json::to_value(line.source).unwrap().as_str().unwrap().to_owned();
            let kind = match line.kind {
                BucketKind::Input => "input_tokens",
                BucketKind::Output => "output_tokens",
                BucketKind::CacheRead => "cache_read",
                BucketKind::CacheWrite5m => "cache_creation_5m",
                BucketKind::CacheWrite1h => "cache_creation_1h",
                BucketKind::WebSearch => continue,
            };
            assert!(lines.insert((source, line.model.to_string(), kind), line.quantity).is_none());
        }
        let mut expected = BTreeMap::new();
        for entry in billable {
            let source = entry["type"].as_str().unwrap().trim_end_matches("_message").to_owned();
            let model = entry["model"].as_str().unwrap().to_owned();
            for kind in
                ["input_tokens", "output_tokens", "cache_read", "cache_creation_5m", "cache_creation_1h"]
            {
                let quantity = entry[kind].as_u64().unwrap();
                if quantity > 0 {
                    *expected.entry((source.clone(), model.clone(), kind)).or_insert(0) += quantity;
                }
            }
        }
        assert_eq!(lines, expected, "bill of {}", exchange.id);
    }
}

#[test]
fn batch_items_are_metered_and_billed_one_by_one() {
    let book = PriceBook::bundled().unwrap();
    for exchange in exchanges() {
        let Some(results) = exchange.extra["batch_results"].as_array() else { continue };
        let metered = exchange.metered();
        let bill = book.price(&metered, None, today());
        let succeeded: Vec<&Value> = results.iter().filter(|item| item["type"] == "succeeded").collect();
        assert_eq!(bill.items.len(), succeeded.len());
        for ((item, answer), expected) in bill.items.iter().zip(&metered.items).zip(succeeded) {
            assert_eq!(Some(&*item.custom_id), expected["custom_id"].as_str());
            assert_eq!(Some(item.input_tokens), expected["input_tokens"].as_u64());
            assert_eq!(Some(item.output_tokens), expected["output_tokens"].as_u64());
            assert_eq!(answer.answer.stop_reason.as_deref(), expected["stop_reason"].as_str());
            assert_eq!(answer.answer.model.as_deref(), expected["model"].as_str());
            let (_, rates) = rates_of(expected["model"].as_str().unwrap());
            let of_item: i64 = item.buckets.iter().map(|line| line.amount_pico_usd.unwrap().0).sum();
            let pico = item.input_tokens * rates[0] / 2 + item.output_tokens * rates[4] / 2;
            assert_eq!(u64::try_from(of_item).unwrap(), pico);
        }
    }
}

/// The cost in pico-USD, worked out from the expected figures alone; `None` where it cannot be known.
fn straightforward_pico(exchange: &Exchange) -> Option<u128> {
    if matches!(exchange.kind.as_str(), "legacy_complete" | "other") {
        return None;
    }
    let expected = &exchange.expected;
    let Some(model) = expected["model"].as_str() else { return Some(0) }; // free
    if model == "claude-2.1" {
        return None; // older than the price book
    }
    let searches = u128::from(expected["web_search_requests"].as_u64().unwrap());
    let mut pico = searches * 10_000_000_000;
    let top_level = [expected.clone()];
    let passes = exchange.extra["billable"].as_array().map_or(top_level.as_slice(), Vec::as_slice);
    for pass in passes {
        let (_, rates) = rates_of(pass["model"].as_str().unwrap_or(model));
        let kinds = ["input_tokens", "cache_creation_5m", "cache_creation_1h", "cache_read", "output_tokens"];
        for (kind, rate) in kinds.iter().zip(rates) {
            pico += u128::from(pass[*kind].as_u64().unwrap()) * u128::from(rate);
        }
    }
    Some(if exchange.kind == "batch_results" { pico / 2 } else { pico })
}

/// Micro-USD per million tokens of input, 5m write, 1h write, read and output, typed in by hand.
fn rates_of(model: &str) -> (&'static str, [u64; 5]) {
    const TABLE: [(&str, [u64; 5]); 10] = [
        ("claude-fable-5", [10_000_000, 12_500_000, 20_000_000, 1_000_000, 50_000_000]),
        ("claude-opus-4-1", [15_000_000, 18_750_000, 30_000_000, 1_500_000, 75_000_000]),
        ("claude-opus-", [5_000_000, 6_250_000, 10_000_000, 500_000, 25_000_000]),
        ("claude-sonnet-5", [2_000_000, 2_500_000, 4_000_000, 200_000, 10_000_000]),
        ("claude-sonnet-4", [3_000_000, 3_750_000, 6_000_000, 300_000, 15_000_000]),
        ("claude-haiku-4-5", [1_000_000, 1_250_000, 2_000_000, 100_000, 5_000_000]),
        ("claude-3-5-haiku", [800_000, 1_000_000, 1_600_000, 80_000, 4_000_000]),
        ("claude-3-haiku", [250_000, 300_000, 500_000, 30_000, 1_250_000]),
        ("claude-3-opus", [15_000_000, 18_750_000, 30_000_000, 1_500_000, 75_000_000]),
        ("claude-3-", [3_000_000, 3_750_000, 6_000_000, 300_000, 15_000_000]),
    ];
    *TABLE
        .iter()
        .find(|(prefix, _)| model.starts_with(prefix))
        .unwrap_or_else(|| panic!("no price of {model}"))
}

fn round_half_even(pico: u128) -> u128 {
    let (nano, rest) = (pico / 1_000, pico % 1_000);
    nano + u128::from(rest > 500 || (rest == 500 && nano % 2 == 1))
}

/// A number from 1 to `limit` (xorshift: the same on every run).
fn random(seed: &mut u64, limit: u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed % limit).unwrap() + 1
}

/// Compresses a body as servers do: with a flush behind every event.
fn encode(encoding: &str, plain: &[u8]) -> Vec<u8> {
    fn write(encoder: &mut impl Write, plain: &[u8]) {
        for event in plain.split_inclusive(|&byte| byte == b'\n') {
            encoder.write_all(event).unwrap();
            if event == b"\n" {
                encoder.flush().unwrap();
            }
        }
    }
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            write(&mut encoder, plain);
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            write(&mut encoder, plain);
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4_096, 1, 16);
            write(&mut encoder, plain);
            encoder.into_inner()
        }
        "zstd" => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            write(&mut encoder, plain);
            encoder.finish().unwrap()
        }
        _ => panic!("{encoding} is not an encoding of this test"),
    }
}

#[test]
fn a_response_that_is_only_known_to_be_free_costs_zero() {
    let bill = PriceBook::bundled().unwrap().price(&MeteredResponse::without_usage(None), None, today());
    assert_eq!(bill.cost.map(|cost| cost.0), Some(0));
    assert_eq!(bill.certainty, Certainty::Exact);
    assert!(bill.buckets.is_empty());
}
