//! What is said of a request before it is sent, held against what the API reported of it.

use mindweave_metering::{
    BucketSource, Encoding, EndpointKind, INPUT_ESTIMATE_BOUND, INPUT_ESTIMATE_SLACK, MeteredResponse,
    NanoUsd, PriceBook, RequestFacts, RequestScan,
};
use serde_json::Value;

use crate::figures::today;
use crate::recorded::{Exchange, exchanges};

/// The tools that the API runs itself while it answers, so that the prompt grows behind the request.
const RUN_AT_THE_API: [&str; 6] =
    ["web_search", "web_fetch", "code_execution", "advisor", "tool_search", "mcp_toolset"];

/// The facts of a recorded request; `None` where its body is not read.
fn facts(exchange: &Exchange) -> Option<RequestFacts> {
    let mut scan = RequestScan::new(exchange.endpoint.kind, Encoding::Identity)?;
    scan.feed(&exchange.request_body);
    let reading = scan.finish();
    assert_eq!(reading.fault, None, "{}", exchange.id);
    Some(reading.facts)
}

fn grows_behind_the_request(facts: &RequestFacts) -> bool {
    let runs = |kind: &str| RUN_AT_THE_API.iter().any(|tool| kind.starts_with(tool));
    !facts.mcp_servers.is_empty() || facts.tools.iter().filter_map(|tool| tool.kind.as_deref()).any(runs)
}

/// The prompt that the API reported; `None` for an answer without usage.
fn prompt(exchange: &Exchange) -> Option<u64> {
    let expected = &exchange.expected;
    let kinds = ["input_tokens", "cache_creation_5m", "cache_creation_1h", "cache_read"];
    kinds.iter().map(|kind| expected[*kind].as_u64()).sum()
}

#[test]
fn the_stated_bound_holds_for_every_recorded_prompt() {
    let (mut above, mut below, mut shares) = (0_u64, 0_u64, Vec::new());
    for exchange in exchanges() {
        let (Some(facts), Some(truth)) = (facts(&exchange), prompt(&exchange)) else { continue };
        if exchange.endpoint.kind != EndpointKind::Messages || grows_behind_the_request(&facts) {
            continue;
        }
        let estimate = facts.estimated_input_tokens.unwrap();
        let most = estimate + estimate * INPUT_ESTIMATE_BOUND / 100 + INPUT_ESTIMATE_SLACK;
        assert_eq!(facts.input_tokens_at_most(), Some(most));
        assert!(truth <= most, "{}: {truth} tokens, estimated {estimate}", exchange.id);
        *(if truth > estimate { &mut below } else { &mut above }) += 1;
        shares.push(truth * 100 / estimate);
    }
    if shares.is_empty() {
        return; // without recordings
    }
    assert!(shares.len() > 500, "only {} prompts compared", shares.len());
    // "Rarely falls below the truth", and yet is no number from the air: for most it is of the right size.
    assert!(below * 20 <= above, "{below} of {} estimates are too low", above + below);
    shares.sort_unstable();
    let median = shares[shares.len() / 2];
    let quarter = shares[shares.len() / 4];
    assert!(
        median >= 60 && quarter >= 45,
        "half of the estimates exceed the truth by far: {median} {quarter}"
    );
}

/// The tokens of the whole answer in one pass, without fees beside it: what a request can be known to cost.
fn is_plain(metered: &MeteredResponse) -> bool {
    metered.web_search_requests == 0
        && metered.passes.iter().all(|pass| pass.source == BucketSource::Message)
        && metered.items.is_empty()
}

#[test]
fn no_recorded_answer_costs_more_than_its_request_could() {
    let book = PriceBook::bundled().unwrap();
    let (mut compared, mut exact) = (0, 0);
    for exchange in exchanges().into_iter().filter(|one| one.endpoint.kind == EndpointKind::Messages) {
        let metered = exchange.metered();
        let Some(tokens) = metered.tokens.filter(|_| is_plain(&metered)) else { continue };
        let facts = facts(&exchange).unwrap();
        let bill = book.price(&metered, facts.model.as_deref(), today());
        let Some(cost) = bill.cost else { continue };
        let ceiling = book.ceiling(&facts, tokens.prompt(), tokens.output, today());
        assert!(ceiling >= Some(cost), "{}: {ceiling:?} < {cost:?}", exchange.id);
        compared += 1;
        exact += u32::from(ceiling == Some(cost));
    }
    if compared > 0 {
        // The others asked for a cache write and wrote less, or nothing.
        assert!(compared > 500 && exact > 300, "{exact} of {compared} ceilings are the bill");
    }
}

/// The same requests as if they had asked for the dearest terms: then the answer's bill under those terms is the limit.
#[test]
fn no_recorded_answer_would_cost_more_under_the_terms_that_its_request_names() {
    let book = PriceBook::bundled().unwrap();
    for exchange in exchanges().into_iter().filter(|one| one.endpoint.kind == EndpointKind::Messages) {
        let mut metered = exchange.metered();
        let Some(tokens) = metered.tokens.filter(|_| is_plain(&metered)) else { continue };
        let Ok(mut body) = serde_json::from_slice::<Value>(&exchange.request_body) else { continue };
        for (speed, geography) in [("fast", "global"), ("standard", "us"), ("fast", "us")] {
            body["speed"] = speed.into();
            body["inference_geo"] = geography.into();
            metered.speed = Some(speed.into());
            metered.inference_geo = Some(geography.into());
            let asked = Exchange { request_body: serde_json::to_vec(&body).unwrap(), ..exchange.clone() };
            let facts = facts(&asked).unwrap();
            let cost = book.price(&metered, None, today()).cost;
            let ceiling = book.ceiling(&facts, tokens.prompt(), tokens.output, today());
            assert!(cost.unwrap_or(NanoUsd(0)) <= ceiling.unwrap_or(NanoUsd(i64::MAX)), "{}", exchange.id);
            assert_eq!(cost.is_some(), ceiling.is_some(), "{} {speed} {geography}", exchange.id);
        }
    }
}
