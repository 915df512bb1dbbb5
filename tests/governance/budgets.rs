//! Budgets: reserve, refuse, settle, start anew.

use std::time::Duration;

use serde_json::json;

use crate::harness::governed::{
    Call, INPUT_NANO, OUTPUT_NANO, await_settled, await_used, cost_of, count, error_message, json_of, storm,
};
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

/// What a call steered with `input_tokens=1000; output_tokens=100` costs.
const CALL_NANO: i64 = 1_000 * INPUT_NANO + 100 * OUTPUT_NANO;
const CALL: &str = "input_tokens=1000; output_tokens=100";

#[test]
fn a_budget_of_requests_lets_exactly_so_many_through_however_many_come_at_once() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("checkout-bot");
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "ten calls", "scope": { "project": project }, "unit": "requests", "window": "day", "limit": 10 }),
    );
    let answers = storm(&Call::new(&server, &key), 16, 3);
    assert_eq!((count(&answers, 200), count(&answers, 429)), (10, 38));
    await_settled(&ledger, &project, 48);
    let state = await_used(&ledger, &quota, 10);
    assert_eq!(state["remaining"], 0, "{state:#}");
    let upstream = server_requests(&simulator);
    assert_eq!(upstream, 10, "a refused call never reaches the API");
}

#[test]
fn another_project_has_its_own_budget_and_a_star_gives_each_key_one() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (first, first_key) = ledger.project_with_key("first");
    let (_, second_key) = ledger.project_with_key("second");
    ledger.post(
        "/governance/quotas",
        &json!({ "name": "first", "scope": { "project": first }, "unit": "requests", "window": "day", "limit": 2 }),
    );
    ledger.post(
        "/governance/quotas",
        &json!({ "name": "each key", "scope": { "key": "*" }, "unit": "requests", "window": "day", "limit": 4 }),
    );
    assert_eq!(count(&storm(&Call::new(&server, &first_key), 2, 5), 200), 2);
    assert_eq!(count(&storm(&Call::new(&server, &second_key), 2, 5), 200), 4);
}

#[test]
fn a_spent_cost_budget_says_what_was_spent_and_when_it_starts_anew() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let org = ledger.get("/orgs")["data"][0]["id"].as_str().expect("an org").to_owned();
    ledger.patch(&format!("/orgs/{org}"), &json!({ "name": "Acme" }));
    let (project, key) = ledger.project_with_key("checkout-bot");
    let quota = ledger.post(
        "/governance/quotas",
        &json!({ "name": "month", "scope": { "project": project }, "unit": "cost", "window": "month", "limit_usd": "0.0075" }),
    );
    assert_eq!(quota["limit"], CALL_NANO, "{quota:#}");
    let call = Call::new(&server, &key).simulate(CALL).field("max_tokens", 100);
    assert_eq!(call.send().status(), 200);
    let refused = call.send();
    assert_eq!(refused.status(), 429, "{refused:?}");
    let message = error_message(&refused);
    assert!(message.contains("checkout-bot") && message.contains("monthly budget"), "{message}");
    assert!(message.contains("$0.0075") && message.contains("Acme"), "{message}");
    let resets = ledger.get(&format!("/governance/quotas/{}", quota["id"].as_str().expect("an id")))["state"]
        ["resets_at"]
        .as_str()
        .expect("a budget says when it starts anew")
        .to_owned();
    assert!(message.contains(&resets), "{message} and {resets}");
    let body = json_of(&refused);
    assert_eq!(body["error"]["type"], "rate_limit_error", "{body:#}");
    assert_eq!(body["error"]["details"]["error_code"], "enforced_spend_limit_reached", "{body:#}");
    assert_eq!(refused.header("x-should-retry").as_deref(), Some("false"));
    assert_eq!(refused.header("mindweave-reason").as_deref(), Some("budget_exhausted"));
    assert_eq!(refused.header("retry-after"), None, "waiting does not help");
}

#[test]
fn what_a_budget_counts_is_what_the_ledger_sums_to_the_nano_dollar() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("mixed");
    let scope = json!({ "project": project });
    let quota = |name: &str, unit: &str, window: &str| {
        ledger.create(
            "/governance/quotas",
            &json!({ "name": name, "scope": scope, "unit": unit, "window": window, "limit": 1_000_000_000_000_i64 }),
        )
    };
    let (cost, tokens, requests) = (
        quota("cost", "cost", "month"),
        quota("tokens", "tokens", "week"),
        quota("requests", "requests", "day"),
    );
    let call = Call::new(&server, &key);
    let steerings = [
        "input_tokens=1234; output_tokens=57; cache_read=5000; cache_write_5m=300; cache_write_1h=70",
        "shape=thinking",
        "shape=web_search; searches=2",
        "status=529",
        "status=400",
        "shape=refusal",
        "cut=reset; cut_after_events=3",
    ];
    for steering in steerings {
        storm(&call.clone().simulate(steering), 4, 1);
        storm(&call.clone().simulate(steering).field("stream", true), 4, 1);
    }
    let open =
        call.simulate("chunk_delay_ms=50; events=200").field("stream", true).field("max_tokens", 4_000);
    for _ in 0..5 {
        drop(open.open().answered()); // the client goes away in the middle
    }
    // A new one, made when there is use already, starts with it.
    let late = quota("late", "cost", "day");
    let events = await_settled(&ledger, &project, steerings.len() * 8 + 5);
    let sum = |field: &str| events.iter().filter_map(|event| event[field].as_i64()).sum::<i64>();
    await_used(&ledger, &cost, cost_of(&ledger, &project));
    await_used(&ledger, &late, cost_of(&ledger, &project));
    let fields = [
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
    ];
    await_used(&ledger, &tokens, fields.into_iter().map(sum).sum());
    await_used(&ledger, &requests, i64::try_from(events.len()).expect("few"));
    let state = ledger.get(&format!("/governance/quotas/{cost}"))["state"].clone();
    assert_eq!(state["reserved"], 0, "nothing is held when nothing is open: {state:#}");
}

#[test]
fn an_open_stream_holds_its_share_and_gives_it_back_when_its_client_goes() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("streams");
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "one at a time", "scope": { "project": project }, "unit": "tokens", "window": "month",
                 "limit": 20_000, "reserve": "max" }),
    );
    let call = Call::new(&server, &key).field("stream", true).field("max_tokens", 15_000);
    let open = call.clone().simulate("chunk_delay_ms=100; events=1000").open().answered();
    let refused = call.send();
    assert_eq!(refused.status(), 429, "the first holds most of it: {refused:?}");
    let reserved = ledger.get(&format!("/governance/quotas/{quota}"))["state"]["reserved"].as_i64();
    assert!(reserved >= Some(15_000), "{reserved:?}");
    drop(open);
    crate::harness::eventually("what the gone client held is free again", || {
        (call.clone().simulate("output_tokens=5").send().status() == 200).then_some(())
    });
}

#[test]
fn a_budget_that_only_warns_lets_everything_through_and_says_so_on_events() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("warned");
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "soft", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 2, "action": "warn" }),
    );
    assert_eq!(count(&storm(&Call::new(&server, &key), 1, 5), 200), 5);
    let events = await_settled(&ledger, &project, 5);
    let warned = |event: &&serde_json::Value| event["decision"].to_string().contains(&quota);
    assert_eq!(events.iter().filter(warned).count(), 3, "{events:#?}");
}

#[test]
fn a_model_filter_counts_only_its_models() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("filtered");
    ledger.post(
        "/governance/quotas",
        &json!({ "name": "opus", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 1,
                 "models": ["claude-opus-*"] }),
    );
    let opus = Call::new(&server, &key);
    let haiku = opus.clone().field("model", "claude-haiku-4-5");
    assert_eq!(count(&storm(&haiku, 2, 3), 200), 6);
    assert_eq!(count(&storm(&opus, 2, 2), 200), 1);
    assert_eq!(haiku.send().status(), 200);
}

#[test]
fn a_model_without_a_known_price_does_not_lead_around_a_cost_budget() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("unpriced");
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "cost", "scope": { "project": project }, "unit": "cost", "window": "month", "limit_usd": "100" }),
    );
    let call = Call::new(&server, &key).field("model", "claude-from-the-future-9");
    let refused = call.send();
    assert_eq!(refused.header("mindweave-reason").as_deref(), Some("budget_price_unknown"), "{refused:?}");
    assert!(error_message(&refused).contains("claude-from-the-future-9"));
    ledger.patch(&format!("/governance/quotas/{quota}"), &json!({ "on_unknown_price": "allow" }));
    let reason = call.send().header("mindweave-reason");
    assert_eq!(reason, None, "it reaches the API, which may know the model");
}

#[test]
fn a_raised_limit_is_in_force_when_the_api_says_so_and_a_deleted_budget_is_gone() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("raised");
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "few", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 1 }),
    );
    let call = Call::new(&server, &key);
    assert_eq!((call.send().status(), call.send().status()), (200, 429));
    ledger.patch(&format!("/governance/quotas/{quota}"), &json!({ "limit": 2 }));
    assert_eq!((call.send().status(), call.send().status()), (200, 429));
    ledger.delete(&format!("/governance/quotas/{quota}"));
    assert_eq!(call.send().status(), 200);
}

#[test]
fn a_budget_of_a_minute_starts_anew_with_the_minute() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("minutes");
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "minute", "scope": { "project": project }, "unit": "cost", "window": "minute", "limit": CALL_NANO }),
    );
    let call = Call::new(&server, &key).simulate(CALL).field("max_tokens", 100);
    // Spend it, then ask every quarter of a second: the first success must lie behind the end of the window.
    let state = loop {
        call.send();
        if call.send().status() == 429 {
            break ledger.get(&format!("/governance/quotas/{quota}"))["state"].clone();
        }
    };
    let resets: jiff::Timestamp =
        state["resets_at"].as_str().and_then(|at| at.parse().ok()).unwrap_or_else(|| panic!("{state:#}"));
    let give_up = resets + Duration::from_secs(20);
    loop {
        let status = call.send().status();
        let now = jiff::Timestamp::now();
        if status == 200 {
            assert!(now >= resets, "{now} is before {resets}");
            return;
        }
        assert!(now < give_up, "still refused at {now}, {resets} is past");
        std::thread::sleep(Duration::from_millis(250)); // the pause between two looks
    }
}

/// How many calls reached the simulated API.
fn server_requests(simulator: &Simulator) -> usize {
    let url = format!("{}/_simulator/requests?last=1000", simulator.url());
    let text =
        ureq::get(&url).call().expect("the simulator answers").body_mut().read_to_string().expect("text");
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let list = list.as_array().cloned().or_else(|| list["requests"].as_array().cloned()).expect("a list");
    list.len()
}
