use serde_json::json;

use super::*;

/// Every operation of the API.
const OPERATIONS: &[(&str, &str)] = &[
    ("GET", "/projects"),
    ("POST", "/projects"),
    ("GET", "/projects/prj_1"),
    ("GET", "/projects/prj_1/upstream"),
    ("PUT", "/projects/prj_1/upstream"),
    ("DELETE", "/projects/prj_1/upstream"),
    ("GET", "/projects/prj_1/keys"),
    ("POST", "/projects/prj_1/keys"),
    ("GET", "/projects/prj_1/keys/key_1"),
    ("PATCH", "/projects/prj_1/keys/key_1"),
    ("DELETE", "/projects/prj_1/keys/key_1"),
    ("GET", "/projects/prj_1/credentials"),
    ("POST", "/projects/prj_1/credentials"),
    ("GET", "/projects/prj_1/credentials/cred_1"),
    ("PATCH", "/projects/prj_1/credentials/cred_1"),
    ("DELETE", "/projects/prj_1/credentials/cred_1"),
    ("GET", "/v1/usage/events"),
    ("GET", "/v1/usage/live"),
    ("GET", "/v1/usage/summary"),
    ("GET", "/analytics/usage"),
    ("GET", "/orgs"),
    ("GET", "/orgs/org_1"),
    ("PATCH", "/orgs/org_1"),
    ("GET", "/governance/policies"),
    ("POST", "/governance/policies"),
    ("GET", "/governance/policies/bundled"),
    ("GET", "/governance/policies/bundled/max_tokens_cap"),
    ("GET", "/governance/policies/pol_1"),
    ("PATCH", "/governance/policies/pol_1"),
    ("DELETE", "/governance/policies/pol_1"),
    ("GET", "/governance/policies/pol_1/versions"),
    ("GET", "/governance/policies/pol_1/versions/1"),
    ("GET", "/governance/policies/pol_1/diff"),
    ("POST", "/governance/policies/pol_1/restore"),
    ("POST", "/governance/policies/pol_1/replay"),
    ("GET", "/governance/limits"),
    ("POST", "/governance/limits"),
    ("GET", "/governance/limits/lim_1"),
    ("PATCH", "/governance/limits/lim_1"),
    ("DELETE", "/governance/limits/lim_1"),
    ("GET", "/governance/quotas"),
    ("POST", "/governance/quotas"),
    ("GET", "/governance/quotas/quo_1"),
    ("PATCH", "/governance/quotas/quo_1"),
    ("DELETE", "/governance/quotas/quo_1"),
    ("GET", "/governance/quotas/quo_1/usage"),
    ("POST", "/governance/evaluate"),
    ("GET", "/governance/audit"),
    ("GET", "/governance/shadow"),
    ("GET", "/no/such/path"),
];

fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["status"], status);
    assert!(answer.body["title"].is_string() && answer.body["detail"].is_string());
}

async fn no_operation_answers_without_the_admin_token() {
    let server = Server::start().await;
    let with = |value: &str| vec![("authorization", value.to_owned())];
    let wrong_tokens = [
        vec![],
        with("Bearer wrong"),
        with("Bearer "),
        with(TOKEN),
        with(&format!("Basic {TOKEN}")),
        with(&format!("Bearer {TOKEN}x")),
        with(&format!("Bearer {}", TOKEN.trim_start_matches('t'))),
    ];
    for &(method, path) in OPERATIONS {
        for headers in &wrong_tokens {
            let answer = server.client.call_with(method, path, headers, None);
            assert_problem(&answer, 401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
            assert!(!answer.body.to_string().contains(TOKEN));
        }
    }
    assert_eq!(server.client.get("/projects").body["data"].as_array().unwrap().len(), 1, "nothing was made");
}

async fn every_operation_passes_the_token_check_with_the_admin_token() {
    let server = Server::start().await;
    for (method, path) in OPERATIONS.iter().copied().filter(|(_, path)| *path != "/v1/usage/live") {
        assert_ne!(server.client.call(method, path, None).status, 401, "{method} {path}");
    }
    let lower_case = [("authorization", format!("bearer {TOKEN}"))];
    assert_eq!(server.client.call_with("GET", "/projects", &lower_case, None).status, 200);
}

async fn health_needs_no_token() {
    let server = Server::start().await;
    let answer = server.client.call_with("GET", "/v1/health", &[], None);
    assert_eq!((answer.status, &answer.body["status"]), (200, &"ok".into()));
}

async fn an_empty_admin_token_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = ControlPlaneConfig { admin_token: Secret::new(" ".into()), ..config(folder.path(), "11") };
    assert!(matches!(ControlPlane::start(config).await, Err(StartError::EmptyAdminToken)));
}

async fn unknown_paths_and_methods_are_problems() {
    let server = Server::start().await;
    assert_problem(&server.client.get("/no/such/path"), 404, "not_found");
    assert_problem(&server.client.get("/projects/prj_none"), 404, "not_found");
    assert_problem(&server.client.get("/projects/prj_none/keys"), 404, "not_found");
    let body = json!({ "name": "x" });
    assert_problem(&server.client.post("/projects/prj_none/keys", &body), 404, "not_found");
    let upstream = json!({ "api_key": "sk-ant-api03-x" });
    assert_problem(&server.client.put("/projects/prj_none/upstream", &upstream), 404, "not_found");
    assert_problem(&server.client.post("/projects/prj_none/credentials", &upstream), 404, "not_found");
    let wrong_method = server.client.delete("/projects");
    assert_problem(&wrong_method, 405, "method_not_allowed");
    assert!(wrong_method.header("allow").contains("POST"), "{:?}", wrong_method.headers);
}

async fn bodies_that_are_not_json_are_refused() {
    let server = Server::start().await;
    let token = ("authorization", format!("Bearer {TOKEN}"));
    for content_type in ["application/x-www-form-urlencoded", "text/plain", "application/jsonp"] {
        let headers = [token.clone(), ("content-type", content_type.to_owned())];
        let answer = server.client.call_with("POST", "/projects", &headers, Some(br#"{"name":"x"}"#));
        assert_problem(&answer, 415, "unsupported_media_type");
    }
    let untyped = server.client.call_with("POST", "/projects", std::slice::from_ref(&token), Some(b"{}"));
    assert_problem(&untyped, 415, "unsupported_media_type");
    for text in ["", "{", "[1]", "\"x\"", "{\"name\":\"x\"} x"] {
        assert_problem(&server.client.call("POST", "/projects", Some(text.as_bytes())), 400, "invalid_json");
    }
    let large = json!({ "name": "x".repeat(100_000) });
    assert_problem(&server.client.post("/projects", &large), 413, "body_too_large");
    let charset = [token, ("content-type", "application/json; charset=utf-8".to_owned())];
    assert_eq!(server.client.call_with("POST", "/projects", &charset, Some(br#"{"name":"x"}"#)).status, 201);
}

async fn refused_fields_are_all_named_and_their_values_are_not_repeated() {
    let server = Server::start().await;
    let project = server.project("web");
    let keys = format!("/projects/{project}/keys");
    let upstream = format!("/projects/{project}/upstream");
    let cases = [
        ("POST", "/projects", json!({}), vec!["name"]),
        ("POST", "/projects", json!({ "name": null }), vec!["name"]),
        ("POST", "/projects", json!({ "name": "" }), vec!["name"]),
        ("POST", "/projects", json!({ "name": "  " }), vec!["name"]),
        ("POST", "/projects", json!({ "name": "a\nb" }), vec!["name"]),
        ("POST", "/projects", json!({ "name": "x".repeat(201) }), vec!["name"]),
        ("POST", "/projects", json!({ "name": 5, "colour": "SECRET" }), vec!["name", "colour"]),
        ("POST", &keys, json!({ "name": "k", "expires_at": "SECRET" }), vec!["expires_at"]),
        ("POST", &keys, json!({ "name": "k", "expires_at": "2020-01-01T00:00:00Z" }), vec!["expires_at"]),
        ("POST", &keys, json!({ "name": "k", "labels": { "a": 1 } }), vec!["labels"]),
        ("POST", &keys, json!({ "name": "k", "labels": "SECRET" }), vec!["labels"]),
        ("POST", &keys, json!({ "api_key": "SECRET" }), vec!["name", "api_key"]),
        ("PUT", &upstream, json!({ "api_key": "SECRET with blanks" }), vec!["api_key"]),
        ("PUT", &upstream, json!({ "api_key": "SECRET\n" }), vec!["api_key"]),
        ("PUT", &upstream, json!({ "api_key": "mw_SECRET" }), vec!["api_key"]),
        ("PUT", &upstream, json!({ "key": "SECRET" }), vec!["api_key", "key"]),
    ];
    for (method, path, body, fields) in cases {
        let answer = server.client.call(method, path, Some(body.to_string().as_bytes()));
        assert_problem(&answer, 422, "invalid_field");
        let named: Vec<_> = answer.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| fault["field"].as_str().unwrap())
            .collect();
        assert_eq!(named, fields, "{body}");
        assert!(!answer.body.to_string().contains("SECRET"), "{}", answer.body);
    }
}

async fn a_body_of_nothing_but_faults_is_answered_in_short() {
    let server = Server::start().await;
    let many = |prefix: &str| -> serde_json::Map<_, _> {
        (0..20_000).map(|number| (format!("{prefix}{number}"), json!(1))).collect()
    };
    let bodies = [
        json!(many("f")),
        json!({ "principal": many("p") }),
        json!({ "principal": { "labels": many("l") } }),
    ];
    for body in bodies {
        let answer = server.client.post("/governance/evaluate", &body);
        assert_problem(&answer, 422, "invalid_field");
        let errors = answer.body["errors"].as_array().unwrap().len();
        assert!((1..=100).contains(&errors), "{errors}");
    }
}

async fn refused_parameters_are_named() {
    let server = Server::start().await;
    let cases = [
        ("/v1/usage/events?projct_id=x", "projct_id"),
        ("/v1/usage/events?limit=0", "limit"),
        ("/v1/usage/events?limit=1001", "limit"),
        ("/v1/usage/events?from=yesterday", "from"),
        ("/v1/usage/events?order=up", "order"),
        ("/v1/usage/events?outcome=fine", "outcome"),
        ("/v1/usage/events?event_id=7", "event_id"),
        ("/v1/usage/events?model=a&model=b", "model"),
        ("/analytics/usage?interval=week", "interval"),
        ("/analytics/usage?group_by=colour", "group_by"),
        ("/projects?page=2", "page"),
    ];
    for (path, parameter) in cases {
        let answer = server.client.get(path);
        assert_problem(&answer, 400, "invalid_parameter");
        assert_eq!(answer.body["errors"][0]["field"], parameter, "{path}");
    }
    for path in ["/projects?cursor=x", "/v1/usage/events?cursor=MTpwcm9qZWN0czp4"] {
        assert_problem(&server.client.get(path), 400, "invalid_cursor");
    }
    let wide = "/analytics/usage?interval=minute&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z";
    assert_problem(&server.client.get(wide), 422, "range_too_wide");
    let backwards = "/analytics/usage?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z";
    assert_problem(&server.client.get(backwards), 422, "range_too_wide");
}

on_every_engine!(
    no_operation_answers_without_the_admin_token,
    every_operation_passes_the_token_check_with_the_admin_token,
    health_needs_no_token,
    an_empty_admin_token_is_refused_at_the_start,
    unknown_paths_and_methods_are_problems,
    bodies_that_are_not_json_are_refused,
    refused_fields_are_all_named_and_their_values_are_not_repeated,
    a_body_of_nothing_but_faults_is_answered_in_short,
    refused_parameters_are_named,
);
