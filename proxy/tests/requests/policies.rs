//! What policies decide, as clients, the API and the ledger see it.

use mindweave_metering::{Effect, NanoUsd, Outcome, VerdictKind, VerdictMode};
use mindweave_policy::{Governance, PolicyMode};
use serde_json::json;

use crate::governed::{
    FORBIDS_A_MODEL, REVISION, body_for, message, policies, policy, policy_with, post, reasons, whole,
};
use crate::proxy::TestProxy;
use crate::wire::{Upstream, call};

const SPEAKS_TWICE: &str = r#"package twice
deny contains {"reason": "too_late", "message": "Not at this hour."}
warn contains {"reason": "watch_out", "message": "Somebody looks."}"#;

#[tokio::test]
async fn a_denial_is_a_403_in_the_policys_own_words_and_leaves_one_event() {
    let mut upstream = Upstream::answering(message(10, 5)).await;
    let forbids = policy(FORBIDS_A_MODEL);
    let proxy = TestProxy::governed(upstream.address, policies(std::slice::from_ref(&forbids))).await;
    let request = post(&body_for("forbidden", 64))
        .replace("Host: h", "Host: h\r\nUser-Agent: tester/1\r\nAnthropic-Beta: b1, b2");
    let (line, headers, body) = whole(&call(proxy.address, request).await);
    assert_eq!(line, "HTTP/1.1 403 Forbidden");
    assert_eq!(
        headers,
        [
            "content-type: application/json",
            "mindweave-reason: model_forbidden",
            "x-should-retry: false",
            "content-length: 100",
        ]
    );
    let expected = json!({"type": "error", "error": {
        "type": "permission_error", "message": "The model forbidden is not for you."}});
    assert_eq!(body, expected);
    assert!(upstream.is_untouched());

    let event = proxy.event_stream().next().await;
    assert_eq!(proxy.record_count(), 1, "never admitted, booked once");
    assert_eq!((event.outcome, event.status, event.cost_nano_usd), (Outcome::Denied, 403, Some(NanoUsd(0))));
    assert_eq!(event.error_type.as_deref(), Some("permission_error"));
    assert_eq!(event.requested_model.as_deref(), Some("forbidden"));
    assert_eq!((event.decision.effect, event.decision.policy_revision), (Effect::Deny, REVISION));
    assert_eq!(reasons(&event), ["model_forbidden"]);
    let [verdict] = event.decision.verdicts.as_slice() else { panic!("{:?}", event.decision) };
    assert_eq!((&verdict.policy_id, verdict.version), (&forbids.id, 2));
    assert_eq!((verdict.mode, verdict.kind), (VerdictMode::Enforce, VerdictKind::Deny));
    assert_eq!(event.decision.refused_by, None);
    let digest = event.request.expect("a digest of the request");
    assert_eq!((digest.max_tokens, digest.message_count, digest.stream), (Some(64), 1, false));
    assert_eq!(digest.user_agent.as_deref(), Some("tester/1"));
    assert_eq!(digest.betas, ["b1".into(), "b2".into()]);
    assert_eq!(digest.client_ip, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(digest.bytes.map(usize::try_from), Some(Ok(body_for("forbidden", 64).len())));
}

#[tokio::test]
async fn a_request_that_no_policy_minds_passes_and_its_event_says_who_decided() {
    let mut upstream = Upstream::answering(message(10, 5)).await;
    let proxy = TestProxy::governed(upstream.address, policies(&[policy(FORBIDS_A_MODEL)])).await;
    let body = body_for("claude-sonnet-4-6", 64);
    assert_eq!(call(proxy.address, post(&body)).await.status(), 200);
    assert_eq!(upstream.request().await.body, body.as_bytes());
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.decision.effect), (Outcome::Complete, Effect::Allow));
    assert_eq!(event.decision.policy_revision, REVISION);
    assert!(event.decision.reasons.is_empty() && event.decision.verdicts.is_empty());
}

#[tokio::test]
async fn all_denials_are_told_together_and_warnings_are_only_booked() {
    let upstream = Upstream::answering(message(10, 5)).await;
    let rules = [policy(SPEAKS_TWICE), policy(FORBIDS_A_MODEL)];
    let proxy = TestProxy::governed(upstream.address, policies(&rules)).await;
    let answer = call(proxy.address, post(&body_for("forbidden", 1))).await;
    let (_, _, body) = whole(&answer);
    let told = body["error"]["message"].as_str().unwrap();
    assert!(told.contains("Not at this hour.") && told.contains("is not for you."), "{told}");
    assert!(!told.contains("Somebody"), "a warning is no reason: {told}");
    let event = proxy.event_stream().next().await;
    let mut both = reasons(&event);
    both.sort_unstable();
    assert_eq!(both, ["model_forbidden", "too_late"]);
    assert_eq!(answer.header("mindweave-reason").as_deref(), Some(reasons(&event)[0]));
    assert_eq!(event.decision.verdicts.len(), 3);
}

#[tokio::test]
async fn a_policy_in_shadow_lets_everything_pass_and_says_so_in_the_event() {
    let upstream = Upstream::answering(message(10, 5)).await;
    let shadow = policy_with(FORBIDS_A_MODEL, PolicyMode::Shadow);
    let proxy = TestProxy::governed(upstream.address, policies(&[shadow])).await;
    assert_eq!(call(proxy.address, post(&body_for("forbidden", 1))).await.status(), 200);
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.decision.effect), (Outcome::Complete, Effect::Allow));
    assert_eq!(event.decision.shadow, ["model_forbidden".into()]);
    assert_eq!(event.decision.verdicts[0].mode, VerdictMode::Shadow);
}

#[tokio::test]
async fn a_body_that_can_be_read_in_two_ways_is_refused_where_a_policy_decides_and_passes_where_none_does() {
    let duplicate = r#"{"model":"claude-haiku-4-5","max_tokens":1,"model":"forbidden"}"#;
    let tools: Vec<String> = (0..1_100).map(|number| format!(r#"{{"name":"tool{number}"}}"#)).collect();
    let many_tools =
        format!(r#"{{"model":"claude-haiku-4-5","max_tokens":1,"tools":[{}]}}"#, tools.join(","));
    let plain = body_for("claude-haiku-4-5", 1);
    for (body, headers, reason) in [
        (duplicate, "", "request_field_duplicate"),
        (many_tools.as_str(), "", "request_too_varied"),
        (r#"{"model":"claude-haiku-4-5""#, "", "request_not_json"),
        ("", "", "request_not_json"),
        ("[]", "", "request_not_an_object"),
        (r#"{"model":7}"#, "", "request_field_type"),
        (&plain, "Content-Encoding: compress\r\n", "request_encoding_unsupported"),
        (&plain, "Content-Encoding: gzip\r\n", "request_encoding_invalid"),
        (&plain, "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n", "request_encoding_unsupported"),
        (&plain, "Content-Encoding: gzip, br\r\n", "request_encoding_unsupported"),
    ] {
        let mut upstream = Upstream::answering(message(10, 5)).await;
        let request = post(body).replace("Host: h\r\n", &format!("Host: h\r\n{headers}"));
        let proxy = TestProxy::governed(upstream.address, policies(&[policy(FORBIDS_A_MODEL)])).await;
        let answer = call(proxy.address, &request).await;
        let (line, _, told) = whole(&answer);
        assert_eq!(line, "HTTP/1.1 400 Bad Request", "{reason}");
        assert_eq!(answer.header("mindweave-reason").as_deref(), Some(reason));
        assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"));
        assert_eq!(told["error"]["type"], "invalid_request_error");
        assert!(upstream.is_untouched(), "{reason}");
        let event = proxy.event_stream().next().await;
        assert_eq!((event.outcome, reasons(&event)), (Outcome::Denied, vec![reason]));
        assert_eq!(proxy.record_count(), 1);

        let ungoverned = TestProxy::start(upstream.address).await;
        assert_eq!(call(ungoverned.address, &request).await.status(), 200, "{reason}");
        assert_eq!(upstream.request().await.body, body.as_bytes());
    }
}

#[tokio::test]
async fn policies_judge_endpoints_whose_bodies_they_cannot_see_and_do_not_hold_those_back() {
    const NO_FILES: &str = r#"package files
deny contains {"reason": "no_files", "message": "No files."} if input.request.kind == "files"
deny contains {"reason": "has_model", "message": "Models are seen."} if input.request.model != null"#;
    let mut upstream = Upstream::answering(message(0, 0)).await;
    let proxy = TestProxy::governed(upstream.address, policies(&[policy(NO_FILES)])).await;
    let elsewhere = post(&body_for("forbidden", 1)).replace("/v1/messages", "/v1/messages/count_tokens");
    assert_eq!(call(proxy.address, elsewhere).await.status(), 200);
    upstream.request().await;
    let upload = "POST /v1/files HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nhalf";
    let answer = call(proxy.address, upload).await;
    assert_eq!(answer.status(), 403, "refused before the body has come");
    assert_eq!(answer.header("mindweave-reason").as_deref(), Some("no_files"));
    assert!(upstream.is_untouched());
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_is_known_by_the_address_that_the_proxy_saw() {
    const FROM_OUTSIDE: &str = r#"package ip
deny contains {"reason": "from_outside", "message": input.request.client_ip} if input.request.client_ip != "198.51.100.7""#;
    let upstream = Upstream::answering(message(1, 1)).await;
    let behind = TestProxy::with(upstream.address, "", |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let alone = TestProxy::start(upstream.address).await;
    for proxy in [&behind, &alone] {
        proxy.govern(REVISION, policies(&[policy(FROM_OUTSIDE)]));
    }
    let request = |forwarded: &str| {
        format!("GET /v1/models HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {forwarded}\r\n\r\n")
    };
    assert_eq!(call(behind.address, request("198.51.100.7")).await.status(), 200);
    assert_eq!(call(behind.address, request("198.51.100.7, 203.0.113.1")).await.status(), 403);
    let (_, _, body) = whole(&call(alone.address, request("198.51.100.7")).await);
    assert_eq!(body["error"]["message"], "127.0.0.1", "a stranger's word about itself does not count");
    let ips: Vec<_> =
        behind.events(2).await.into_iter().map(|event| event.request.unwrap().client_ip).collect();
    assert_eq!(ips, ["198.51.100.7", "203.0.113.1"].map(|ip| Some(ip.parse().unwrap())));
}

#[tokio::test]
async fn personal_data_is_looked_for_also_in_compressed_bodies() {
    const NO_MAIL: &str = r#"package pii
deny contains {"reason": "personal_data", "message": "No addresses."} if "email" in input.request.pii"#;
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy = TestProxy::governed(upstream.address, policies(&[policy(NO_MAIL)])).await;
    let with_mail = body_for("claude-haiku-4-5", 1).replace("Hello", "write to jane.doe@example.com please");
    assert_eq!(call(proxy.address, post(&with_mail)).await.status(), 403);
    let packed = crate::held_bodies::gzip(with_mail.as_bytes());
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    assert_eq!(call(proxy.address, [head.as_bytes(), &packed].concat()).await.status(), 403);
    let long = with_mail.replace("please", &"please ".repeat(40_000));
    assert_eq!(call(proxy.address, post(&long)).await.status(), 403, "also on a thread of its own");
    assert!(upstream.is_untouched());
    assert_eq!(call(proxy.address, post(&body_for("claude-haiku-4-5", 1))).await.status(), 200);
}

#[tokio::test]
async fn a_policy_that_is_put_in_force_is_obeyed_by_the_next_request_on_an_open_connection() {
    let upstream = Upstream::answering(message(1, 1)).await;
    let proxy = TestProxy::governed(upstream.address, Governance::default()).await;
    let request = post(&body_for("forbidden", 1));
    let mut client = crate::wire::open(proxy.address, &request).await;
    assert_eq!(client.message(crate::wire::Kind::Response).await.unwrap().status(), 200);
    proxy.govern(REVISION + 1, policies(&[policy(FORBIDS_A_MODEL)]));
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await.unwrap();
    assert_eq!(client.message(crate::wire::Kind::Response).await.unwrap().status(), 403);
}
