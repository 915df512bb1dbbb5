use super::*;

#[test]
fn inference_calls_are_told_apart_by_method_and_path() {
    let batches = "/v1/messages/batches";
    let cases = [
        ("POST", "/v1/messages", EndpointKind::Messages, "/v1/messages"),
        ("POST", "/v1/messages?beta=true", EndpointKind::Messages, "/v1/messages"),
        ("GET", "/v1/messages", EndpointKind::Other, "/v1/messages"),
        ("POST", "/v1/messages/count_tokens", EndpointKind::CountTokens, "/v1/messages/count_tokens"),
        ("POST", batches, EndpointKind::Batches(BatchCall::Create), batches),
        ("GET", "/v1/messages/batches?limit=20", EndpointKind::Batches(BatchCall::List), batches),
        ("POST", "/v1/complete", EndpointKind::Complete, "/v1/complete"),
        ("POST", "/v1/chat/completions", EndpointKind::ChatCompletions, "/v1/chat/completions"),
        (
            "GET",
            "/v1/sessions/sesn_1/events/stream",
            EndpointKind::SessionStream,
            "/v1/sessions/{id}/events/stream",
        ),
        (
            "GET",
            "/v1/environments/env_1/work/poll",
            EndpointKind::ManagedAgents,
            "/v1/environments/{id}/work/poll",
        ),
        ("DELETE", "/v1/files/file_011", EndpointKind::Files, "/v1/files/{id}"),
        ("GET", "/v1/models?limit=1000", EndpointKind::Models, "/v1/models"),
        ("HEAD", "/api/hello", EndpointKind::Other, "/api/hello"),
    ];
    for (method, path, kind, template) in cases {
        let endpoint = Endpoint::of(method, path);
        assert_eq!((endpoint.kind, &*endpoint.template), (kind, template), "{method} {path}");
        assert_eq!(endpoint.batch_id, None, "{method} {path}");
    }
}

#[test]
fn batch_calls_name_their_batch() {
    let cases = [
        ("GET", "", EndpointKind::Batches(BatchCall::Get)),
        ("DELETE", "", EndpointKind::Batches(BatchCall::Delete)),
        ("POST", "/cancel", EndpointKind::Batches(BatchCall::Cancel)),
        ("GET", "/results", EndpointKind::BatchResults),
        ("POST", "/results", EndpointKind::Other),
    ];
    for (method, action, kind) in cases {
        let endpoint = Endpoint::of(method, &format!("/v1/messages/batches/msgbatch_01{action}"));
        assert_eq!(endpoint.kind, kind);
        assert_eq!(*endpoint.template, *format!("/v1/messages/batches/{{id}}{action}"));
        assert_eq!(endpoint.batch_id.as_deref(), Some("msgbatch_01"));
    }
    let long = format!("/v1/messages/batches/{}", "x".repeat(MAX_BATCH_ID_BYTES + 1));
    assert_eq!(Endpoint::of("GET", &long).batch_id, None);
}

#[test]
fn other_spellings_of_a_path_do_not_lead_around_the_policy() {
    for path in [
        "/v1/messages/",
        "//v1/messages",
        "/v1//messages?x",
        "/v1/%6dessages",
        "/v1/%6Dessages",
        "/v1/./messages",
        "/v1/models/../messages",
        "/../v1/messages",
        "/v1/%2e%2e/v1/messages",
    ] {
        assert_eq!(Endpoint::of("POST", path).kind, EndpointKind::Messages, "{path}");
    }
    for path in
        ["/v1/v1/messages", "/proxy/v1/messages", "/v1/messages%2Fbatches", "/V1/messages", "v1/messages", ""]
    {
        assert_eq!(Endpoint::of("POST", path).kind, EndpointKind::Other, "{path}");
    }
    let escaped = Endpoint::of("GET", "/v1/messages/batches/msgbatch%5F01/results");
    assert_eq!(
        escaped.batch_id.as_deref(),
        Some("msgbatch_01"),
        "one batch has one id, however it is written"
    );
}

#[test]
fn an_unknown_path_is_kept_without_query_and_cut_between_characters() {
    let endpoint = Endpoint::of("GET", "/v9/whatever/%zz?secret=1");
    assert_eq!((endpoint.kind, &*endpoint.template), (EndpointKind::Other, "/v9/whatever/%zz"));
    let long = Endpoint::of("GET", &format!("/{}", "é".repeat(200)));
    assert_eq!(*long.template, *format!("/{}", "é".repeat(63)));
    assert_eq!(*Endpoint::of("GET", &"/a".repeat(400)).template, *"/a".repeat(64));
}

#[test]
fn no_route_is_hidden_by_an_earlier_one() {
    for route in ROUTES.iter() {
        let path = route.template.replace("{id}", "some_id-01");
        assert_eq!(Endpoint::of("GET", &path).template, route.template);
    }
}

#[test]
fn a_known_endpoint_shares_its_template() {
    let one = Endpoint::of("POST", "/v1/messages");
    let other = Endpoint::of("POST", "/v1/messages?beta=true");
    assert!(Arc::ptr_eq(&one.template, &other.template));
}
