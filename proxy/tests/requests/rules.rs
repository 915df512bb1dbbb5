//! Refusals of limits and budgets, to the letter.

use std::sync::Arc;

use mindweave_metering::{Effect, NanoUsd, Outcome, VerdictKind};
use mindweave_policy::{LimitMetric, OnError, QuotaAction, QuotaSpec, QuotaUnit};
use serde_json::json;
use tokio::sync::Notify;

use crate::governed::{
    FORBIDS_A_MODEL, body_for, budget, budgets, limit, message, policies, policy, post, post_on_virtual_key,
    reasons, whole,
};
use crate::proxy::TestProxy;
use crate::wire::{Kind, Message, Step, Upstream, call, open, send};

const MODEL: &str = "claude-sonnet-4-6";

fn header_names(answer: &Message) -> Vec<String> {
    answer.names()
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back_and_only_our_own_keys_see_our_figures() {
    let upstream = Upstream::answering(message(10, 5)).await;
    let proxy = TestProxy::governed(upstream.address, limit(LimitMetric::RequestsPerMinute, 2)).await;
    for _ in 0..2 {
        assert_eq!(call(proxy.address, post(&body_for(MODEL, 1))).await.status(), 200);
    }
    let own = call(proxy.address, post(&body_for(MODEL, 1))).await;
    let (line, _, body) = whole(&own);
    assert_eq!(line, "HTTP/1.1 429 Too Many Requests");
    assert_eq!(
        header_names(&own),
        ["content-type", "mindweave-reason", "x-should-retry", "retry-after", "content-length"]
    );
    assert_eq!(own.header("mindweave-reason").as_deref(), Some("rate_limited_requests"));
    assert_eq!(own.header("x-should-retry").as_deref(), Some("true"));
    let wait: u64 = own.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("rate_limit_error")));
    assert_eq!(body["error"].get("details"), None);
    let told = body["error"]["message"].as_str().unwrap();
    assert!(told.contains("checkout-bot") && told.contains('2'), "{told}");

    let virtual_key = call(proxy.address, post_on_virtual_key(&body_for(MODEL, 1))).await;
    assert_eq!(virtual_key.status(), 429);
    assert_eq!(virtual_key.header("anthropic-ratelimit-requests-limit").as_deref(), Some("2"));
    assert_eq!(virtual_key.header("anthropic-ratelimit-requests-remaining").as_deref(), Some("0"));
    let reset = virtual_key.header("anthropic-ratelimit-requests-reset").unwrap();
    reset.parse::<jiff::Timestamp>().expect("RFC 3339");

    let events = proxy.events(4).await;
    for event in &events[2..] {
        assert_eq!(
            (event.outcome, event.status, event.cost_nano_usd),
            (Outcome::Denied, 429, Some(NanoUsd(0)))
        );
        assert_eq!((event.decision.effect, reasons(event)), (Effect::Deny, vec!["rate_limited_requests"]));
        assert_eq!(event.decision.refused_by.as_deref(), Some("lim_1"));
    }
    assert_eq!(proxy.record_count(), 2 * 2 + 2, "refused requests leave one record each");
}

#[tokio::test]
async fn answers_of_the_api_never_get_figures_of_ours() {
    let upstream = Upstream::answering(message(10, 5)).await;
    let proxy = TestProxy::governed(upstream.address, limit(LimitMetric::RequestsPerMinute, 1_000)).await;
    let answer = call(proxy.address, post_on_virtual_key(&body_for(MODEL, 1))).await;
    assert_eq!(answer.names(), ["Content-Type", "request-id", "Content-Length"]);
}

#[tokio::test]
async fn tokens_per_minute_are_charged_as_they_were_used() {
    let upstream = Upstream::answering(message(900, 5)).await;
    let proxy = TestProxy::governed(upstream.address, limit(LimitMetric::InputTokensPerMinute, 1_000)).await;
    assert_eq!(call(proxy.address, post(&body_for(MODEL, 1))).await.status(), 200);
    assert_eq!(call(proxy.address, post(&body_for(MODEL, 1))).await.status(), 200, "its estimate still fits");
    let answer = call(proxy.address, post(&body_for(MODEL, 1))).await;
    assert_eq!(answer.header("mindweave-reason").as_deref(), Some("rate_limited_input_tokens"));
    assert_eq!(answer.status(), 429);
}

#[tokio::test]
async fn requests_at_the_same_time_are_limited_until_one_of_them_ends() {
    let gate = Arc::new(Notify::new());
    let opened = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfir";
    let mut upstream = Upstream::start(vec![send(opened), Step::Await(Arc::clone(&gate)), send("st!")]).await;
    let proxy = TestProxy::governed(upstream.address, limit(LimitMetric::ConcurrentRequests, 1)).await;
    let get = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut first = open(proxy.address, get).await;
    upstream.request().await;
    let refused = call(proxy.address, get).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.header("mindweave-reason").as_deref(), Some("concurrency_limited"));
    assert_eq!(refused.header("x-should-retry").as_deref(), Some("true"));
    assert!(refused.header("retry-after").is_some());
    gate.notify_one();
    assert_eq!(first.message(Kind::Response).await.unwrap().body, b"first!");
    gate.notify_one();
    assert_eq!(call(proxy.address, get).await.status(), 200);
}

#[tokio::test]
async fn an_exhausted_budget_says_whose_it_is_when_it_begins_anew_and_whom_to_ask() {
    let mut upstream = Upstream::answering(message(1_000, 50)).await;
    let proxy =
        TestProxy::governed(upstream.address, budgets(vec![budget(QuotaUnit::Cost, 5_000_000)])).await;
    assert_eq!(call(proxy.address, post(&body_for(MODEL, 50))).await.status(), 200);
    upstream.request().await;
    assert_eq!(proxy.budget_usage(), (3_750_000, 0), "1 000 tokens at $3 and 50 at $15 per million");
    let answer = call(proxy.address, post_on_virtual_key(&body_for(MODEL, 1_000))).await;
    let (line, _, body) = whole(&answer);
    assert_eq!(line, "HTTP/1.1 429 Too Many Requests");
    assert_eq!(answer.header("mindweave-reason").as_deref(), Some("budget_exhausted"));
    assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"));
    assert_eq!(answer.header("retry-after"), None, "waiting a month is no advice");
    assert_eq!(body["error"]["type"], "rate_limit_error");
    assert_eq!(body["error"]["details"], json!({"error_code": "enforced_spend_limit_reached"}));
    let told = body["error"]["message"].as_str().unwrap();
    for part in ["checkout-bot", "monthly", "Acme", "T00:00:00Z"] {
        assert!(told.contains(part), "{part} is not in {told:?}");
    }
    assert!(upstream.is_untouched());
    let event = proxy.events(2).await.remove(1);
    assert_eq!(event.decision.refused_by.as_deref(), Some("quo_1"));
    assert_eq!(event.requested_model.as_deref(), Some(MODEL));
    assert_eq!(proxy.budget_usage(), (3_750_000, 0), "a refused request costs nothing");
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_by_a_cost_budget_unless_that_says_otherwise() {
    for (on_unknown_price, status) in [(OnError::Deny, 403), (OnError::Allow, 200)] {
        let upstream = Upstream::answering(message(10, 5)).await;
        let quota = QuotaSpec { on_unknown_price, ..budget(QuotaUnit::Cost, 1_000_000_000) };
        let proxy = TestProxy::governed(upstream.address, budgets(vec![quota])).await;
        let answer = call(proxy.address, post(&body_for("some-new-model", 5))).await;
        assert_eq!(answer.status(), status);
        if status == 403 {
            assert_eq!(answer.header("mindweave-reason").as_deref(), Some("budget_price_unknown"));
            assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"));
            assert_eq!(whole(&answer).2["error"]["type"], "permission_error");
        }
    }
}

#[tokio::test]
async fn a_body_that_can_be_read_in_two_ways_is_refused_where_a_budget_counts_it() {
    let mut upstream = Upstream::answering(message(10, 5)).await;
    let proxy =
        TestProxy::governed(upstream.address, budgets(vec![budget(QuotaUnit::Tokens, 1_000_000)])).await;
    let answer = call(proxy.address, post(r#"{"model":"a","model":"b","max_tokens":1}"#)).await;
    assert_eq!(answer.header("mindweave-reason").as_deref(), Some("request_field_duplicate"));
    assert!(upstream.is_untouched());
    assert_eq!(proxy.budget_usage(), (0, 0));
}

#[tokio::test]
async fn a_budget_that_only_warns_lets_requests_pass_and_their_events_say_so() {
    let upstream = Upstream::answering(message(100, 5)).await;
    let quota = QuotaSpec { action: QuotaAction::Warn, ..budget(QuotaUnit::Tokens, 50) };
    let proxy = TestProxy::governed(upstream.address, budgets(vec![quota])).await;
    for _ in 0..2 {
        assert_eq!(call(proxy.address, post(&body_for(MODEL, 5))).await.status(), 200);
    }
    let event = proxy.events(2).await.remove(1);
    let [verdict] = event.decision.verdicts.as_slice() else { panic!("{:?}", event.decision) };
    assert_eq!((verdict.policy_id.as_str(), verdict.kind), ("quo_1", VerdictKind::Warn));
    assert_eq!(&*verdict.reason, "budget_over");
    assert_eq!(event.decision.effect, Effect::Allow);
}

#[tokio::test]
async fn policies_come_before_limits_which_then_count_nothing() {
    let upstream = Upstream::answering(message(10, 5)).await;
    let mut governance = limit(LimitMetric::RequestsPerMinute, 1);
    governance.policies = policies(&[policy(FORBIDS_A_MODEL)]).policies;
    let proxy = TestProxy::governed(upstream.address, governance).await;
    for _ in 0..3 {
        assert_eq!(call(proxy.address, post(&body_for("forbidden", 1))).await.status(), 403);
    }
    assert_eq!(call(proxy.address, post(&body_for(MODEL, 1))).await.status(), 200);
    assert_eq!(call(proxy.address, post(&body_for(MODEL, 1))).await.status(), 429);
}

#[tokio::test]
async fn policies_see_how_much_of_a_budget_is_used() {
    const HALF: &str = r#"package half
deny contains {"reason": "half_used", "message": "Half of it is used."} if input.usage.monthly.used > 500"#;
    let upstream = Upstream::answering(message(600, 5)).await;
    let mut governance = budgets(vec![budget(QuotaUnit::Tokens, 1_000_000)]);
    governance.policies = policies(&[policy(HALF)]).policies;
    let proxy = TestProxy::governed(upstream.address, governance).await;
    assert_eq!(call(proxy.address, post(&body_for(MODEL, 1))).await.status(), 200);
    assert_eq!(call(proxy.address, post(&body_for(MODEL, 1))).await.status(), 403);
}

#[tokio::test]
async fn a_batch_must_fit_into_what_is_left_of_a_budget_and_holds_none_of_it() {
    let item = |number: usize| {
        let params = body_for(MODEL, 1_000);
        format!(r#"{{"custom_id":"item-{number}","params":{params}}}"#)
    };
    let batch = |items: usize| {
        let items: Vec<String> = (0..items).map(item).collect();
        let body = format!(r#"{{"requests":[{}]}}"#, items.join(","));
        post(&body).replace("/v1/messages", "/v1/messages/batches")
    };
    let mut upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
    let proxy = TestProxy::governed(upstream.address, budgets(vec![budget(QuotaUnit::Tokens, 10_000)])).await;
    let refused = call(proxy.address, batch(10)).await;
    assert_eq!(refused.header("mindweave-reason").as_deref(), Some("budget_exhausted"));
    assert!(upstream.is_untouched());
    assert_eq!(call(proxy.address, batch(2)).await.status(), 200);
    assert_eq!(proxy.budget_usage(), (0, 0), "its results are charged when they are there");
}
