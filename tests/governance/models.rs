//! Requests that several models may serve, batches of several models, and endpoints that do not say what they used.

use serde_json::{Value, json};

use crate::harness::governed::{Call, MODEL, await_settled, await_used, json_of};
use crate::harness::http::Message;
use crate::harness::ledger::Ledger;
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

const HAIKU: &str = "claude-haiku-4-5";
const BATCHES: &str = "/v1/messages/batches";

fn reason(answer: &Message) -> Option<String> {
    answer.header("mindweave-reason")
}

/// A batch of one item for each of these models.
fn batch(models: &[&str], max_tokens: u64) -> Value {
    let params = |model: &&str| json!({ "model": model, "max_tokens": max_tokens, "messages": [{ "role": "user", "content": "Say hello." }] });
    let item = |(place, model)| json!({ "custom_id": format!("item-{place}"), "params": params(model) });
    json!({ "requests": models.iter().enumerate().map(item).collect::<Vec<_>>() })
}

fn opus_budget(ledger: &Ledger, project: &str, name: &str, limit: u64) -> String {
    ledger.create(
        "/governance/quotas",
        &json!({ "name": name, "scope": { "project": project }, "unit": "tokens", "window": "month", "limit": limit,
                 "models": ["claude-opus-*"] }),
    )
}

#[test]
fn a_spent_budget_of_one_model_cannot_be_passed_through_a_fallback_or_a_mixed_batch() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("mixed");
    let opus = opus_budget(&ledger, &project, "opus", 4_000);
    let call = Call::new(&server, &key);
    let spent = call.clone().field("max_tokens", 5).simulate("input_tokens=5000; output_tokens=5").send();
    assert_eq!(spent.status(), 200);
    await_used(&ledger, &opus, 5_005);
    let haiku = call.clone().field("model", HAIKU);
    assert_eq!(haiku.send().status(), 200);
    let refused = [
        haiku.clone().field("fallbacks", json!([{ "model": MODEL }])),
        haiku.field("fallbacks", "default"),
        call.clone().post(BATCHES, batch(&[HAIKU, MODEL, HAIKU], 10)),
    ];
    for call in refused {
        let answer = call.send();
        assert_eq!(
            (answer.status(), reason(&answer).as_deref()),
            (429, Some("budget_exhausted")),
            "{call:?}"
        );
    }
    assert_eq!(call.post(BATCHES, batch(&[HAIKU, HAIKU], 10)).send().status(), 200);
}

#[test]
fn results_of_several_models_count_for_each_models_budgets_and_so_do_budgets_made_later() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("results");
    let before = opus_budget(&ledger, &project, "before", 1_000_000);
    let haiku = json!({ "name": "haiku", "scope": { "project": project }, "unit": "cost", "window": "month",
                        "limit_usd": "100", "models": [HAIKU] });
    let haiku = ledger.create("/governance/quotas", &haiku);
    let all = json!({ "name": "all", "scope": { "project": project }, "unit": "cost", "window": "month", "limit_usd": "100" });
    let all = ledger.create("/governance/quotas", &all);
    let call = Call::new(&server, &key).simulate("input_tokens=100; output_tokens=50");
    let created = call.clone().post(BATCHES, batch(&[MODEL, HAIKU, MODEL], 50)).send();
    assert_eq!(created.status(), 200);
    let id = json_of(&created)["id"].as_str().expect("a batch has an id").to_owned();
    call.clone().get(&format!("{BATCHES}/{id}")).send();
    assert_eq!(call.get(&format!("{BATCHES}/{id}/results")).send().status(), 200);
    let events = await_settled(&ledger, &project, 3);
    let download = events.iter().find(|event| !event["batch"].is_null()).expect("the items are booked");
    let (mut of_haiku, mut tokens) = (0, 0);
    for item in download["batch"]["items"].as_array().expect("items") {
        let lines = item["buckets"].as_array().expect("a bill");
        let pico: i64 = lines.iter().filter_map(|line| line["amount_pico_usd"].as_i64()).sum();
        let used =
            item["input_tokens"].as_i64().expect("tokens") + item["output_tokens"].as_i64().expect("tokens");
        match lines[0]["model"].as_str().expect("a model") {
            model if model.starts_with(HAIKU) => of_haiku += pico / 1_000, // whole nano-dollars at these prices
            _ => tokens += used,
        }
    }
    assert!(of_haiku > 0 && tokens > 0, "{download:#}");
    await_used(&ledger, &before, tokens);
    await_used(&ledger, &haiku, of_haiku);
    await_used(&ledger, &all, download["cost_nano_usd"].as_i64().expect("a cost"));
    let after = opus_budget(&ledger, &project, "after", 1_000_000);
    assert_eq!(ledger.get(&format!("/governance/quotas/{after}"))["state"]["used"], tokens);
}

#[test]
fn a_batch_must_fit_into_what_is_left_with_all_its_items() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("batches");
    ledger.post(
        "/governance/quotas",
        &json!({ "name": "a dollar", "scope": { "project": project }, "unit": "cost", "window": "month",
                 "limit_usd": "1", "reserve": "max" }),
    );
    let call = Call::new(&server, &key);
    // At half price: 12.5 dollars a million output tokens, so 0.8 dollars in sixteen items and 100 in two thousand.
    assert_eq!(call.clone().post(BATCHES, batch(&[MODEL; 16], 4_000)).send().status(), 200);
    let refused = call.clone().post(BATCHES, batch(&vec![MODEL; 2_000], 4_000)).send();
    assert_eq!(
        (refused.status(), reason(&refused).as_deref()),
        (429, Some("budget_exhausted")),
        "{refused:?}"
    );
    let spent = call.clone().field("max_tokens", 5).simulate("input_tokens=300000; output_tokens=5").send();
    assert_eq!(spent.status(), 200);
    let refused = call.post(BATCHES, batch(&[HAIKU], 1)).send();
    assert_eq!(
        (refused.status(), reason(&refused).as_deref()),
        (429, Some("budget_exhausted")),
        "{refused:?}"
    );
}

#[test]
fn chat_completions_pass_no_blocking_budget_unless_told_to_and_then_reserve_the_longest_answer() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("chats");
    let quota = json!({ "name": "a dollar", "scope": { "project": project }, "unit": "cost", "window": "month",
                        "limit_usd": "1", "reserve": "max" });
    let quota = ledger.create("/governance/quotas", &quota);
    let body = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "Say hello." }] });
    let chat = Call::new(&server, &key).post("/v1/chat/completions", body);
    let refused = chat.send();
    assert_eq!(
        (refused.status(), reason(&refused).as_deref()),
        (403, Some("budget_use_unknown")),
        "{refused:?}"
    );
    ledger.patch(&format!("/governance/quotas/{quota}"), &json!({ "on_unknown_price": "allow" }));
    let refused = chat.send();
    assert_eq!(
        (refused.status(), reason(&refused).as_deref()),
        (429, Some("budget_exhausted")),
        "3.20 dollars"
    );
    assert_eq!(reason(&chat.field("max_completion_tokens", 100).send()), None);
}

#[test]
fn a_budget_begins_with_what_is_used_already() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("late");
    let call = Call::new(&server, &key);
    for _ in 0..3 {
        assert_eq!(call.send().status(), 200);
    }
    await_settled(&ledger, &project, 3);
    for round in 0..6 {
        let window = if round % 2 == 0 { "day" } else { "month" };
        let quota = json!({ "name": format!("late {round}"), "scope": { "project": project }, "unit": "requests",
                            "window": window, "limit": 3 });
        let quota = ledger.create("/governance/quotas", &quota);
        assert_eq!(reason(&call.send()).as_deref(), Some("budget_exhausted"), "round {round}");
        let other = if round % 2 == 0 { "month" } else { "week" };
        ledger.patch(&format!("/governance/quotas/{quota}"), &json!({ "window": other }));
        assert_eq!(reason(&call.send()).as_deref(), Some("budget_exhausted"), "edited in round {round}");
        ledger.delete(&format!("/governance/quotas/{quota}"));
    }
}
