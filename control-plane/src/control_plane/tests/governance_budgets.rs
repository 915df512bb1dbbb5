use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mindweave_metering::{Outcome, ProjectId, QuotaId};
use mindweave_policy::{OnError, OnStale, QuotaAction, QuotaUnit, QuotaWindow, Reserve};
use serde_json::{Value, json};

use super::usage::deliver;
use super::*;
use crate::ReservedView;
use crate::testing::{cost_of, event};

const QUOTAS: &str = "/governance/quotas";

/// An event of a project that ended so long ago.
fn spent(number: u64, project: &str, ago: SignedDuration, tokens: u64) -> mindweave_metering::UsageEvent {
    let at = Timestamp::now().saturating_sub(ago).unwrap();
    let mut event = event(number, at.as_microsecond(), tokens);
    event.project_id = ProjectId::new(project);
    event
}

fn org(server: &Server) -> String {
    let org = server.client.get("/orgs").body["data"][0]["id"].as_str().unwrap().to_owned();
    server.control_plane.snapshots().load().governance.orgs.keys().find(|id| id.as_str() == org).unwrap();
    org
}

/// Events with the organisation that the server has.
async fn deliver_as_ours(server: &Server, source: &str, mut events: Vec<mindweave_metering::UsageEvent>) {
    let id = mindweave_metering::OrgId::new(org(server));
    events.iter_mut().for_each(|event| event.org_id = id.clone());
    deliver(server, source, &events).await;
}

async fn a_budget_has_sensible_defaults_and_shows_money_both_ways() {
    let server = Server::start().await;
    let request = json!({ "name": "monthly", "unit": "cost", "window": "month", "limit_usd": "49.99" });
    let id = server.client.create(QUOTAS, &request);
    let shown = server.client.get(&format!("{QUOTAS}/{id}")).body;
    assert_eq!((&shown["limit"], &shown["limit_usd"]), (&json!(49_990_000_000_i64), &json!("49.990000000")));
    assert_eq!(shown["scope"], json!({ "org": org(&server) }));
    assert_eq!((&shown["action"], &shown["reserve"]), (&json!("block"), &json!("expected")));
    assert_eq!((&shown["on_unknown_price"], &shown["on_stale"]), (&json!("deny"), &json!("open")));
    assert_eq!((&shown["thresholds"], &shown["models"]), (&json!([50, 80, 100]), &json!([])));
    let state = &shown["state"];
    assert_eq!((&state["used"], &state["used_usd"]), (&json!(0), &json!("0.000000000")));
    assert_eq!(
        (&state["remaining"], &state["remaining_usd"]),
        (&json!(49_990_000_000_i64), &json!("49.990000000"))
    );
    assert_eq!(
        (&state["reserved"], &state["percent"]),
        (&Value::Null, &json!(0)),
        "no proxy in this process"
    );
    assert_eq!(state["over_thresholds"], json!([]));
    let quota = server.control_plane.snapshots().load().governance.quotas[0].clone();
    assert_eq!((quota.id.as_str(), quota.unit, quota.window), (&*id, QuotaUnit::Cost, QuotaWindow::Month));
    assert_eq!((quota.action, quota.reserve), (QuotaAction::Block, Reserve::Expected));
    assert_eq!((quota.on_unknown_price, quota.on_stale), (OnError::Deny, OnStale::Open));
    assert_eq!(server.client.get(QUOTAS).body["data"][0]["id"], id.as_str());
    assert_eq!(server.client.delete(&format!("{QUOTAS}/{id}")).status, 204);
    assert!(server.control_plane.snapshots().load().governance.quotas.is_empty());
}

async fn a_new_budget_knows_what_was_used_before_it_was_made_and_counts_on() {
    let server = Server::start().await;
    let project = server.project("web");
    let soon = SignedDuration::ZERO;
    let mut denied = spent(3, &project, soon, 1_000_000);
    denied.outcome = Outcome::Denied;
    let other = spent(4, "prj_other", soon, 500);
    deliver_as_ours(
        &server,
        "a",
        vec![spent(1, &project, soon, 100), spent(2, &project, soon, 23), denied, other],
    )
    .await;
    let scope = json!({ "project": project });
    let quota = |name: &str, unit: &str, limit: i64| {
        let body = json!({ "name": name, "scope": scope, "unit": unit, "window": "month", "limit": limit });
        server.client.post(QUOTAS, &body).body
    };
    let used = |quota: &Value| {
        let path = format!("{QUOTAS}/{}", quota["id"].as_str().unwrap());
        server.client.get(&path).body["state"]["used"].as_i64().unwrap()
    };
    let (requests, tokens, cost) =
        (quota("r", "requests", 10), quota("t", "tokens", 150), quota("c", "cost", 1_000_000));
    assert_eq!((used(&requests), used(&tokens), used(&cost)), (2, 123, cost_of(123).0));
    assert_eq!(tokens["state"]["used"], 123, "the answer to the creation knows it already");
    deliver_as_ours(&server, "b", vec![spent(5, &project, soon, 37)]).await;
    assert_eq!((used(&requests), used(&tokens), used(&cost)), (3, 160, cost_of(160).0));
    let state =
        server.client.get(&format!("{QUOTAS}/{}", tokens["id"].as_str().unwrap())).body["state"].clone();
    assert_eq!(
        (&state["remaining"], &state["percent"]),
        (&json!(-10), &json!(106)),
        "debt is shown, not clipped"
    );
    assert_eq!((&state["over_thresholds"], &state["subject"]), (&json!([50, 80, 100]), &json!(project)));
    let raised = server
        .client
        .patch(&format!("{QUOTAS}/{}", tokens["id"].as_str().unwrap()), &json!({ "limit": 320 }));
    assert_eq!((&raised.body["state"]["used"], &raised.body["state"]["percent"]), (&json!(160), &json!(50)));
    assert_eq!(raised.body["state"]["over_thresholds"], json!([50]));
}

async fn a_budget_for_each_project_shows_every_subject_on_its_own_page_of_usage() {
    let server = Server::start().await;
    let soon = SignedDuration::ZERO;
    let events = (1..=7).map(|number| spent(number, &format!("prj_{number}"), soon, number)).collect();
    deliver_as_ours(&server, "a", events).await;
    let body = json!({ "name": "each", "scope": { "project": "*" }, "unit": "tokens", "window": "month", "limit": 6 });
    let id = server.client.create(QUOTAS, &body);
    let path = format!("{QUOTAS}/{id}");
    assert_eq!(server.client.get(&path).body["state"], Value::Null);
    let subjects = server.client.pages(&format!("{path}/usage"), 2, || {});
    let used: Vec<_> = subjects
        .iter()
        .map(|state| (state["subject"].as_str().unwrap(), state["used"].as_i64().unwrap()))
        .collect();
    let wanted: Vec<_> = (1..=7).map(|number| (format!("prj_{number}"), number)).collect();
    assert_eq!(used, wanted.iter().map(|(name, used)| (&**name, *used)).collect::<Vec<_>>());
    assert_eq!((&subjects[6]["remaining"], &subjects[6]["percent"]), (&json!(-1), &json!(116)));
    assert_eq!(server.client.get(&format!("{QUOTAS}/quo_none/usage")).status, 404);
    let foreign = server.client.get(&format!("{path}/usage?limit=1")).body["next_cursor"].clone();
    let elsewhere = format!("{QUOTAS}?cursor={}", foreign.as_str().unwrap());
    assert_eq!(server.client.get(&elsewhere).code(), "invalid_cursor");
}

struct Held;

impl ReservedView for Held {
    fn reserved(&self, _: &QuotaId, subject: &str) -> i64 {
        if subject.starts_with("prj_") { 40 } else { 0 }
    }
}

async fn what_open_requests_hold_is_shown_and_counts_as_gone() {
    let server = Server::start().await;
    server.control_plane.show_reserved(Arc::new(Held));
    let project = server.project("web");
    let body = json!({ "name": "t", "scope": { "project": project }, "unit": "tokens", "window": "hour", "limit": 100 });
    let state = server.client.post(QUOTAS, &body).body["state"].clone();
    assert_eq!(
        (&state["used"], &state["reserved"], &state["remaining"]),
        (&json!(0), &json!(40), &json!(60))
    );
}

async fn windows_begin_in_the_time_zone_of_the_organisation_and_move_with_it() {
    let server = Server::start().await;
    let org_path = format!("/orgs/{}", org(&server));
    assert_eq!(server.client.get(&org_path).body["time_zone"], "UTC");
    let body = json!({ "name": "daily", "unit": "requests", "window": "day", "limit": 5 });
    let id = server.client.create(QUOTAS, &body);
    let bounds = |server: &Server| {
        let quota = server.client.get(&format!("{QUOTAS}/{id}")).body;
        let at = |field: &str| quota["state"][field].as_str().unwrap().parse::<Timestamp>().unwrap();
        (at("window_start"), at("resets_at"), quota["time_zone"].as_str().unwrap().to_owned())
    };
    for zone in ["UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati"] {
        let changed = server.client.patch(&org_path, &json!({ "time_zone": zone }));
        assert_eq!((changed.status, &changed.body["time_zone"]), (200, &json!(zone)));
        let (start, end, shown) = bounds(&server);
        assert_eq!(shown, zone);
        let local = |at: Timestamp| at.in_tz(zone).unwrap().time();
        assert_eq!(
            (local(start), local(end)),
            (jiff::civil::Time::midnight(), jiff::civil::Time::midnight())
        );
        let now = Timestamp::now();
        assert!(start <= now && now < end, "{zone}: {start} {end}");
        let governance = server.control_plane.snapshots().load().governance.clone();
        assert_eq!(&*governance.orgs.values().next().unwrap().time_zone, zone);
    }
    let named = server.client.patch(&org_path, &json!({ "name": "Acme" })).body;
    assert_eq!((&named["name"], &named["time_zone"]), (&json!("Acme"), &json!("Pacific/Kiritimati")));
    for zone in [json!("Mars/Olympus"), json!(""), json!(1), Value::Null, json!("Europe/Berlin; DROP")] {
        let answer = server.client.patch(&org_path, &json!({ "time_zone": zone }));
        assert_eq!((answer.status, answer.refused()), (422, vec!["time_zone"]), "{zone}");
    }
    assert_eq!(server.client.patch("/orgs/org_none", &json!({ "name": "x" })).status, 404);
}

async fn budgets_that_cannot_be_meant_are_refused_field_by_field() {
    let server = Server::start().await;
    let with = |changes: Value| {
        let mut quota = json!({ "name": "q", "unit": "cost", "window": "day", "limit": 1 });
        quota.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        quota
    };
    let usd = |limit: Value| json!({ "name": "q", "unit": "cost", "window": "day", "limit_usd": limit });
    let cases = [
        (json!({}), vec!["name", "unit", "window", "limit"]),
        (with(json!({ "limit": 0 })), vec!["limit"]),
        (with(json!({ "limit": 0.5 })), vec!["limit"]),
        (with(json!({ "limit_usd": "1" })), vec!["limit_usd"]),
        (usd(json!(0.1)), vec!["limit_usd"]),
        (usd(json!("0")), vec!["limit_usd"]),
        (usd(json!("-1")), vec!["limit_usd"]),
        (usd(json!("1e3")), vec!["limit_usd"]),
        (usd(json!("0.0000000001")), vec!["limit_usd"]),
        (json!({ "name": "q", "unit": "tokens", "window": "day", "limit_usd": "1" }), vec!["limit_usd"]),
        (with(json!({ "window": "year", "unit": "euros" })), vec!["unit", "window"]),
        (with(json!({ "action": "ask", "reserve": "none" })), vec!["action", "reserve"]),
        (
            with(json!({ "on_stale": "maybe", "on_unknown_price": "guess" })),
            vec!["on_unknown_price", "on_stale"],
        ),
        (with(json!({ "thresholds": [0] })), vec!["thresholds"]),
        (with(json!({ "thresholds": ["80%"] })), vec!["thresholds"]),
        (with(json!({ "thresholds": 80 })), vec!["thresholds"]),
        (with(json!({ "scope": { "project": "prj_none" } })), vec!["scope"]),
        (with(json!({ "models": ["*-opus"] })), vec!["models"]),
        (with(json!({ "models": ["Claude-Opus-4-5"] })), vec!["models"]),
        (with(json!({ "models": [" claude-opus-4-5"] })), vec!["models"]),
        (with(json!({ "burst": 3 })), vec!["burst"]),
    ];
    for (body, fields) in cases {
        let answer = server.client.post(QUOTAS, &body);
        assert_eq!((answer.status, answer.code()), (422, "invalid_field"), "{body}");
        assert_eq!(answer.refused(), fields, "{body}");
    }
    assert_eq!(server.client.get(QUOTAS).body["data"], json!([]), "nothing was made");
    server.client.create(QUOTAS, &with(json!({ "thresholds": [100, 50, 50] })));
    assert_eq!(server.client.get(QUOTAS).body["data"][0]["thresholds"], json!([50, 100]));
    let again = server.client.post(QUOTAS, &with(json!({})));
    assert_eq!((again.status, again.code()), (409, "name_taken"));
}

async fn a_change_of_the_unit_needs_a_limit_in_the_new_unit() {
    let server = Server::start().await;
    let body = json!({ "name": "q", "unit": "cost", "window": "day", "limit_usd": "5", "action": "warn" });
    let path = format!("{QUOTAS}/{}", server.client.create(QUOTAS, &body));
    let refused = server.client.patch(&path, &json!({ "unit": "tokens" }));
    assert_eq!((refused.status, refused.refused()), (422, vec!["unit"]));
    let changed = server.client.patch(&path, &json!({ "unit": "tokens", "limit": 9, "reserve": "max" })).body;
    assert_eq!(
        (&changed["unit"], &changed["limit"], &changed["limit_usd"]),
        (&json!("tokens"), &json!(9), &Value::Null)
    );
    assert_eq!((&changed["action"], &changed["reserve"]), (&json!("warn"), &json!("max")));
    let cleared = server.client.patch(&path, &json!({ "action": null, "thresholds": null })).body;
    assert_eq!((&cleared["action"], &cleared["thresholds"]), (&json!("block"), &json!([50, 80, 100])));
    assert_eq!(cleared["reserve"], "max");
}

on_every_engine!(
    a_budget_has_sensible_defaults_and_shows_money_both_ways,
    a_new_budget_knows_what_was_used_before_it_was_made_and_counts_on,
    a_budget_for_each_project_shows_every_subject_on_its_own_page_of_usage,
    what_open_requests_hold_is_shown_and_counts_as_gone,
    windows_begin_in_the_time_zone_of_the_organisation_and_move_with_it,
    budgets_that_cannot_be_meant_are_refused_field_by_field,
    a_change_of_the_unit_needs_a_limit_in_the_new_unit,
);
