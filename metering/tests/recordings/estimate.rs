//! The stated error bound of estimated output, derived again from the recorded streams.

use mindweave_metering::{
    CertaintyReason, OUTPUT_ESTIMATE_BOUND, OUTPUT_ESTIMATE_SLACK, Outcome, ResponseHead, ResponseTap,
};

use crate::recorded::exchanges;

/// Each stream is cut before its final report, estimated, and compared with what that report says.
#[test]
fn the_stated_bound_holds_for_every_recorded_stream() {
    let mut errors: Vec<(u64, u64, String)> = Vec::new();
    for exchange in exchanges().into_iter().filter(|one| one.kind == "messages_stream") {
        let truth = exchange.expected["output_tokens"].as_u64().unwrap();
        let mut tap = ResponseTap::new(&ResponseHead {
            endpoint: &exchange.endpoint,
            status: 200,
            content_type: Some("text/event-stream"),
            content_encoding: None,
        });
        let body = exchange.plain();
        let cut = String::from_utf8(body).unwrap();
        let end = cut.find("event: message_delta").unwrap();
        tap.feed(&cut.as_bytes()[..end]);
        let metered = tap.finish(Outcome::ClientGone);
        assert_eq!(metered.certainty_reason, Some(CertaintyReason::OutputEstimated));
        let estimate = metered.tokens.unwrap().output;
        let error = estimate.abs_diff(truth);
        let allowed = truth * OUTPUT_ESTIMATE_BOUND / 100 + OUTPUT_ESTIMATE_SLACK;
        assert!(error <= allowed, "{}: {estimate} for {truth} tokens", exchange.id);
        errors.push((error * 1_000 / truth.max(1), truth, exchange.id));
    }
    let Some(middle) = errors.len().checked_div(2).filter(|_| !errors.is_empty()) else { return };
    errors.sort();
    println!("median error {} per mille of {} streams", errors[middle].0, errors.len());
    assert!(errors[middle].0 <= 250, "half of the estimates should be within a quarter");
}

#[test]
fn the_reason_in_an_event_states_the_bound() {
    let stated = format!("within_{OUTPUT_ESTIMATE_BOUND}_percent_plus_{OUTPUT_ESTIMATE_SLACK}_tokens");
    assert!(CertaintyReason::OutputEstimated.as_str().ends_with(&stated));
}
