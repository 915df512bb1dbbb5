//! Two organisations with everything in both: nobody of one sees, changes, sums or hears anything of the other.

use mindweave_eventlog::{Journal, JournalConfig, ReadLimits, Sequence};
use mindweave_metering::{
    Effect, OrgId, PolicyId, PriceBook, ProjectId, VerdictKind, VerdictMode, VerdictRecord,
};
use serde_json::{Value, json};

use super::people::{At, org, person, person_with, project, team};
use super::usage::deliver;
use super::*;
use crate::EventIntake;
use crate::testing::event;

const ROLES: [&str; 5] = ["owner", "admin", "developer", "billing", "auditor"];
/// Refuses everything, with a reason of its own.
const REGO: &str = "package acme.rules\n\nimport rego.v1\n\ndeny contains {\"reason\": \"of_the_other\", \"message\": \"no\"} if input.request.model\n";

/// An organisation with one of everything. Its name is in everything that it has.
pub(super) struct Tenant {
    name: &'static str,
    pub(super) org: String,
    team: String,
    pub(super) project: String,
    policy: String,
    limit: String,
    quota: String,
}

pub(super) async fn tenant(server: &Server, name: &'static str) -> Tenant {
    let org = org(server, name).await;
    let team = team(server, &org, name).await;
    let project = project(server, &org, Some(&team), name).await;
    let create = |path: &str, body: &Value| server.client.create(path, body);
    let policy = json!({ "org_id": org, "name": format!("{name} policy"), "rego": REGO, "mode": "shadow" });
    let policy = create("/governance/policies", &policy);
    let limit = json!({
        "org_id": org, "name": format!("{name} limit"), "metric": "requests_per_minute", "limit": 5, "scope": { "user": "*" },
    });
    let limit = create("/governance/limits", &limit);
    let quota = json!({
        "org_id": org, "name": format!("{name} quota"), "unit": "requests", "window": "month", "limit": 9, "scope": { "org": org },
    });
    let quota = create("/governance/quotas", &quota);
    Tenant { name, org, team, project, policy, limit, quota }
}

/// Books an event of a tenant that is refused and spoken against.
pub(super) async fn use_it(server: &Server, tenant: &Tenant, number: u64) {
    let mut used = event(number, clock::now().as_microsecond(), number);
    (used.org_id, used.project_id) = (OrgId::new(&*tenant.org), ProjectId::new(&*tenant.project));
    used.metadata.insert("whose".into(), tenant.name.into());
    used.decision.effect = Effect::Deny;
    used.decision.shadow = vec![format!("{}_reason", tenant.name).into()];
    used.decision.verdicts = vec![VerdictRecord {
        policy_id: PolicyId::new(&*tenant.policy),
        version: 1,
        mode: VerdictMode::Shadow,
        kind: VerdictKind::Deny,
        reason: format!("{}_reason", tenant.name).into(),
        message: tenant.name.into(),
    }];
    deliver(server, tenant.name, &[used]).await;
}

/// What would be changed of the other one.
fn changes(other: &Tenant) -> Vec<(&'static str, String, Option<Value>)> {
    let Tenant { policy, limit, quota, project, org, team, .. } = other;
    vec![
        ("PATCH", format!("/governance/policies/{policy}"), Some(json!({ "mode": "off" }))),
        ("DELETE", format!("/governance/policies/{policy}"), None),
        ("POST", format!("/governance/policies/{policy}/restore"), Some(json!({ "version": 1 }))),
        ("PATCH", format!("/governance/limits/{limit}"), Some(json!({ "limit": 1 }))),
        ("DELETE", format!("/governance/limits/{limit}"), None),
        ("PATCH", format!("/governance/quotas/{quota}"), Some(json!({ "limit": 1 }))),
        ("DELETE", format!("/governance/quotas/{quota}"), None),
        ("POST", "/governance/policies".into(), Some(json!({ "org_id": org, "name": "n", "rego": REGO }))),
        (
            "POST",
            "/governance/limits".into(),
            Some(json!({ "org_id": org, "name": "n", "metric": "requests_per_minute", "limit": 1 })),
        ),
        (
            "POST",
            "/governance/quotas".into(),
            Some(json!({ "org_id": org, "name": "n", "unit": "requests", "window": "day", "limit": 1 })),
        ),
        (
            "POST",
            "/governance/limits".into(),
            Some(
                json!({ "name": "p", "metric": "requests_per_minute", "limit": 1, "scope": { "project": project } }),
            ),
        ),
        (
            "POST",
            "/governance/limits".into(),
            Some(
                json!({ "name": "t", "metric": "requests_per_minute", "limit": 1, "scope": { "team": team } }),
            ),
        ),
        (
            "POST",
            "/governance/limits".into(),
            Some(
                json!({ "name": "o", "metric": "requests_per_minute", "limit": 1, "scope": { "org": org } }),
            ),
        ),
        ("POST", "/proxies/tokens".into(), Some(json!({ "name": "n", "scopes": ["watch"] }))),
        (
            "POST",
            "/v1/track".into(),
            Some(json!({ "project_id": project, "model": "m", "input_tokens": 1, "output_tokens": 1 })),
        ),
    ]
}

/// What would be looked at, by an id of the other one: it is not there.
fn looks(other: &Tenant) -> Vec<(&'static str, String, Option<Value>)> {
    let Tenant { policy, limit, quota, project, .. } = other;
    let paths = [
        format!("/governance/policies/{policy}"),
        format!("/governance/policies/{policy}/versions"),
        format!("/governance/policies/{policy}/versions/1"),
        format!("/governance/policies/{policy}/diff"),
        format!("/governance/limits/{limit}"),
        format!("/governance/quotas/{quota}"),
        format!("/governance/quotas/{quota}/usage"),
        format!("/v1/usage/live?project_id={project}"),
    ];
    let mut looks: Vec<_> = paths.into_iter().map(|path| ("GET", path, None)).collect();
    looks.push(("POST", format!("/governance/policies/{policy}/replay"), Some(json!({}))));
    looks
}

/// What lists and sums: answered, with nothing of the other one, also when it is asked for by name.
fn lists(other: &Tenant) -> Vec<String> {
    let Tenant { project, policy, .. } = other;
    let name = other.name;
    vec![
        "/governance/policies".into(),
        "/governance/limits".into(),
        "/governance/quotas".into(),
        "/governance/audit".into(),
        format!("/governance/audit?project_id={project}"),
        format!("/governance/audit?policy={policy}"),
        format!("/governance/audit?policy={name}%20policy"),
        "/governance/shadow".into(),
        format!("/governance/shadow?project_id={project}"),
        "/v1/usage/events".into(),
        "/v1/usage/events?order=asc&flagged=true".into(),
        format!("/v1/usage/events?project_id={project}"),
        "/v1/usage/events?request_id=req_2".into(),
        "/v1/usage/summary".into(),
        format!("/v1/usage/summary?project_id={project}"),
        "/analytics/usage?interval=day&group_by=project,model,team,user,key".into(),
        format!("/analytics/usage?interval=minute&project_id={project}&group_by=project"),
    ]
}

fn names_other(answer: &Answer, other: &Tenant) -> bool {
    let text = answer.body.to_string();
    let Tenant { name, org, team, project, policy, limit, quota } = other;
    [name, &**org, team, project, policy, limit, quota].iter().any(|id| text.contains(*id))
}

/// The summary of today, and of yesterday, in which what has just happened may lie.
fn since_yesterday() -> String {
    let yesterday = clock::now() - jiff::SignedDuration::from_hours(24);
    format!("/v1/usage/summary?from={yesterday}")
}

fn shown(server: &Server, tenant: &Tenant) -> Vec<Value> {
    let Tenant { policy, limit, quota, .. } = tenant;
    let paths = [
        format!("/governance/policies/{policy}"),
        format!("/governance/limits/{limit}"),
        format!("/governance/quotas/{quota}"),
    ];
    paths.iter().map(|path| server.client.get(path).body).collect()
}

/// A server that takes events of other producers, and the journal that they come into.
pub(super) async fn start() -> (Server, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(JournalConfig::new(folder.path().join("events"))).unwrap();
    let prices = Arc::new(PriceBook::bundled().unwrap());
    let events = EventIntake { journal: journal.clone(), prices };
    let config = ControlPlaneConfig { events: Some(events), ..config(folder.path(), "11") };
    let control_plane = ControlPlane::start(config).await.unwrap();
    let client = Client::new(control_plane.local_addr());
    (Server { control_plane, client, folder }, journal)
}

async fn nobody_of_an_organisation_sees_or_changes_anything_of_another() {
    let (server, journal) = start().await;
    let (own, other) = (tenant(&server, "ours").await, tenant(&server, "theirs").await);
    use_it(&server, &own, 1).await;
    use_it(&server, &other, 2).await;
    let before = shown(&server, &other);
    let mut callers = Vec::new();
    for role in ROLES {
        for at in [At::Org, At::Team(&own.team), At::Project(&own.project)] {
            callers.push((format!("{role} {at:?}"), person(&server, &own.org, at, role).await));
        }
    }
    callers.push(("nobody".into(), person_with(&server, &[], &["*"]).await));
    for (who, token) in &callers {
        for (method, path, body) in changes(&other) {
            let answer = server.client.call_as(token, method, &path, body.as_ref());
            assert!([400, 403, 404, 422].contains(&answer.status), "{who}: {method} {path}: {}", answer.body);
        }
        for (method, path, body) in looks(&other) {
            let answer = server.client.call_as(token, method, &path, body.as_ref());
            assert_eq!(answer.status, 404, "{who}: {method} {path}: {}", answer.body);
        }
        for path in lists(&other) {
            let answer = server.client.get_as(token, &path);
            assert_eq!(answer.status, 200, "{who}: {path}: {}", answer.body);
            assert!(!names_other(&answer, &other), "{who}: {path}: {}", answer.body);
        }
        let asked = json!({ "principal": { "project_id": other.project }, "request": { "model": "m" } });
        let answer = server.client.call_as(token, "POST", "/governance/evaluate", Some(&asked));
        assert_eq!((answer.status, answer.refused()), (422, vec!["principal.project_id"]), "{who}");
    }
    assert_eq!(shown(&server, &other), before, "somebody changed something");
    let taken = journal.tail(Sequence::ZERO).read(ReadLimits { max_records: 10, max_bytes: 1 << 20 });
    assert!(taken.records.is_empty(), "an event was delivered for the other one");
    for path in ["/governance/policies", "/governance/limits", "/governance/quotas"] {
        assert_eq!(
            server.client.get(path).body["data"].as_array().unwrap().len(),
            2,
            "{path}: nothing was made"
        );
    }
}

async fn each_sees_and_sums_what_is_theirs_and_who_runs_the_installation_everything() {
    let (server, _) = start().await;
    let (own, other) = (tenant(&server, "ours").await, tenant(&server, "theirs").await);
    use_it(&server, &own, 1).await;
    use_it(&server, &other, 2).await;
    let second = project(&server, &own.org, None, "ours too").await;
    for at in [At::Org, At::Team(&own.team), At::Project(&own.project)] {
        let token = person(&server, &own.org, at, "auditor").await;
        let get = |path: &str| server.client.get_as(&token, path).body;
        let events = get("/v1/usage/events");
        assert_eq!(events["data"].as_array().unwrap().len(), 1, "{at:?}");
        assert_eq!(events["data"][0]["project_id"], json!(own.project));
        assert_eq!(get(&since_yesterday())["requests"], 1, "{at:?}");
        assert_eq!(get("/governance/audit")["data"].as_array().unwrap().len(), 1, "{at:?}");
        assert_eq!(get("/governance/shadow")["data"][0]["policy"], "ours policy", "{at:?}");
        let sums = get("/analytics/usage?interval=day&group_by=project");
        assert_eq!(sums["data"][0]["project_id"], json!(own.project), "{at:?}");
        assert_eq!(sums["data"].as_array().unwrap().len(), 1, "{at:?}");
        // What stands on the whole organisation is for who sees all of it.
        let limits = get("/governance/limits")["data"].as_array().unwrap().len();
        assert_eq!(limits, usize::from(matches!(at, At::Org)), "{at:?}");
    }
    // Of two projects each is walked by itself.
    let (token, mut more) = (person(&server, &own.org, At::Org, "billing").await, Vec::new());
    for number in 10..16 {
        let mut used = event(number, clock::now().as_microsecond(), number);
        used.org_id = OrgId::new(&*own.org);
        used.project_id = ProjectId::new(if number % 2 == 0 { &*second } else { &*own.project });
        more.push(used);
    }
    deliver(&server, "more", &more).await;
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.client.get_as(&token, &format!("/v1/usage/events?limit=2{cursor}")).body;
        listed.extend(
            page["data"].as_array().unwrap().iter().map(|event| event["input_tokens"].as_u64().unwrap()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, [15, 14, 13, 12, 11, 10, 1]);
    assert_eq!(server.client.get(&since_yesterday()).body["requests"], 8);
}

async fn whoever_leads_a_team_or_a_project_governs_it_and_nothing_beside() {
    let (server, _) = start().await;
    let own = tenant(&server, "ours").await;
    let elsewhere = project(&server, &own.org, None, "elsewhere").await;
    let limit = |name: &str, scope: Value| json!({ "name": name, "scope": scope, "metric": "requests_per_minute", "limit": 3 });
    for (at, scope) in [
        (At::Team(&own.team), json!({ "team": own.team })),
        (At::Team(&own.team), json!({ "project": own.project })),
        (At::Project(&own.project), json!({ "project": own.project })),
    ] {
        let token = person(&server, &own.org, at, "admin").await;
        let call = |method: &str, path: &str, body: Option<&Value>| {
            server.client.call_as(&token, method, path, body)
        };
        let made = call("POST", "/governance/limits", Some(&limit("own", scope.clone())));
        assert_eq!(made.status, 201, "{at:?} {scope}: {}", made.body);
        let path = format!("/governance/limits/{}", made.body["id"].as_str().unwrap());
        assert_eq!(
            call("GET", "/governance/limits", None).body["data"].as_array().unwrap().len(),
            1,
            "{at:?}"
        );
        let changed = call("PATCH", &path, Some(&json!({ "limit": 4 })));
        assert_eq!((changed.status, &changed.body["limit"]), (200, &json!(4)), "{at:?}: {}", changed.body);
        for wider in [json!({ "org": own.org }), json!({ "project": elsewhere }), json!({ "user": "*" })] {
            let moved = call("PATCH", &path, Some(&json!({ "scope": wider })));
            assert!([403, 404].contains(&moved.status), "{at:?} {wider}: {}", moved.body);
            let made = call("POST", "/governance/limits", Some(&limit("wide", wider.clone())));
            assert!([403, 404].contains(&made.status), "{at:?} {wider}: {}", made.body);
        }
        let policy = json!({ "name": "own", "rego": REGO, "mode": "shadow", "scope": scope });
        let policy = call("POST", "/governance/policies", Some(&policy));
        assert_eq!(policy.status, 201, "{at:?}: {}", policy.body);
        let policy = format!("/governance/policies/{}", policy.body["id"].as_str().unwrap());
        for path in [&path, &policy] {
            let deleted = call("DELETE", path, None);
            assert_eq!(deleted.status, 204, "{at:?}: {}", deleted.body);
        }
        let whole = call("GET", &format!("/governance/quotas/{}", own.quota), None);
        assert_eq!(whole.status, 404, "{at:?}: {}", whole.body);
    }
    let developer = person(&server, &own.org, At::Org, "developer").await;
    let refused =
        server.client.call_as(&developer, "DELETE", &format!("/governance/limits/{}", own.limit), None);
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    let reader = person_with(&server, &[(&own.org, At::Org, "owner")], &["governance:read"]).await;
    let refused =
        server.client.call_as(&reader, "DELETE", &format!("/governance/limits/{}", own.limit), None);
    assert_eq!((refused.status, refused.code()), (403, "scope_missing"));
}

async fn policies_of_one_organisation_never_judge_requests_of_another() {
    let (server, _) = start().await;
    let (own, other) = (tenant(&server, "ours").await, tenant(&server, "theirs").await);
    // Teams are what keys carry: the same text in both.
    let everywhere =
        json!({ "org_id": other.org, "name": "same", "rego": REGO, "scope": { "team": "team_same" } });
    server.client.create("/governance/policies", &everywhere);
    let ask = |tenant: &Tenant, token: Option<&str>| {
        let principal = json!({ "project_id": tenant.project, "team_id": "team_same", "user_id": "usr_1" });
        let asked = json!({ "principal": principal, "request": { "model": "claude-opus-5" } });
        let answer = match token {
            Some(token) => server.client.call_as(token, "POST", "/governance/evaluate", Some(&asked)),
            None => server.client.post("/governance/evaluate", &asked),
        };
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    };
    let theirs = ask(&other, None);
    assert_eq!(theirs.body["allowed"], false);
    assert!(names_other(&theirs, &other));
    let token = person(&server, &own.org, At::Org, "developer").await;
    let ours = ask(&own, Some(&token));
    assert_eq!(ours.body["allowed"], true);
    assert!(!names_other(&ours, &other), "{}", ours.body);
    assert_eq!(ours.body["budgets"][0]["name"], "ours quota");
    assert_eq!(ours.body["limits"][0]["name"], "ours limit");
    // Who sees one project is not told what the whole organisation has left, also not by a draft.
    let narrow = person(&server, &own.org, At::Project(&own.project), "developer").await;
    let ours = ask(&own, Some(&narrow));
    assert_eq!((&ours.body["budgets"], &ours.body["input"]["usage"]), (&json!([]), &Value::Null));
    let draft = json!({ "rego": REGO, "id": other.policy });
    let asked = json!({ "principal": { "project_id": own.project }, "request": {}, "policy": draft });
    let refused = server.client.call_as(&token, "POST", "/governance/evaluate", Some(&asked));
    assert_eq!((refused.status, refused.refused()), (422, vec!["policy.id"]), "{}", refused.body);
}

async fn names_are_taken_in_their_own_organisation_only_and_every_change_is_in_its_log() {
    let (server, _) = start().await;
    let (own, other) = (tenant(&server, "ours").await, tenant(&server, "theirs").await);
    let token = person(&server, &own.org, At::Org, "admin").await;
    let limit = |name: &str| json!({ "name": name, "metric": "requests_per_minute", "limit": 1 });
    let same = server.client.call_as(&token, "POST", "/governance/limits", Some(&limit("theirs limit")));
    assert_eq!((same.status, &same.body["org_id"]), (201, &json!(own.org)), "{}", same.body);
    let taken = server.client.call_as(&token, "POST", "/governance/limits", Some(&limit("ours limit")));
    assert_eq!((taken.status, taken.code()), (409, "name_taken"));
    let path = format!("/governance/limits/{}", own.limit);
    let tag = server.client.get_as(&token, &path).header("etag").to_owned();
    let headers = [
        ("authorization", format!("Bearer {token}")),
        ("content-type", "application/json".into()),
        ("if-match", tag),
    ];
    let changed = server.client.call_with("PATCH", &path, &headers, Some(br#"{"limit": 7}"#));
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.header("etag"), server.client.get_as(&token, &path).header("etag"));
    let stale = server.client.call_with("PATCH", &path, &headers, Some(br#"{"limit": 8}"#));
    assert_eq!((stale.status, stale.code()), (412, "precondition_failed"));
    let logged: Vec<(String, String, String)> = crate::db::sql::query_as(
        "SELECT chain, action, body FROM audit_log WHERE target_kind IN ('limit', 'policy', 'quota') ORDER BY chain, sequence",
    )
    .fetch_all(server.control_plane.db.readers())
    .await
    .unwrap();
    let of = |org: &str| {
        let own = logged.iter().filter(|(chain, ..)| chain == org);
        own.map(|(_, action, _)| action.as_str()).collect::<Vec<_>>()
    };
    let made = ["policy.created", "limit.created", "quota.created"];
    assert_eq!(of(&other.org), made);
    assert_eq!(of(&own.org), [&made[..], &["limit.created", "limit.updated"]].concat());
    let updated = logged.iter().find(|(_, action, _)| action == "limit.updated").unwrap();
    let body: Value = serde_json::from_str(&updated.2).unwrap();
    assert_eq!((&body["before"]["limit"], &body["after"]["limit"]), (&json!(5), &json!(7)), "{body}");
    let policy = logged.iter().find(|(_, action, _)| action == "policy.created").unwrap();
    assert!(!policy.2.contains("package acme") && policy.2.contains("rego_sha256"), "{}", policy.2);
}

on_every_engine!(
    nobody_of_an_organisation_sees_or_changes_anything_of_another,
    each_sees_and_sums_what_is_theirs_and_who_runs_the_installation_everything,
    whoever_leads_a_team_or_a_project_governs_it_and_nothing_beside,
    policies_of_one_organisation_never_judge_requests_of_another,
    names_are_taken_in_their_own_organisation_only_and_every_change_is_in_its_log,
);
