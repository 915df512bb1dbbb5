//! Whose request it is, and what the API gets to see as credential.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use mindweave_metering::{KeyId, ProjectId};
use mindweave_policy::{Fingerprint, KeyEntry, Principal, ProjectEntry, Secret, Snapshot};
use mindweave_proxy::Unregistered;

use crate::proxy::{TestProxy, open_snapshot, principal};
use crate::wire::{Message, Upstream, call};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn key_of(project: &str) -> Arc<Principal> {
    Arc::new(Principal {
        key_id: Some(KeyId::new(format!("key_of_{project}"))),
        ..(*principal(project)).clone()
    })
}

/// Projects `prj_a` (with an API key), `prj_oauth` (with a token) and `prj_none` (without), each with the key
/// `mw_<project>`, an expired key, and a registered Claude credential.
fn snapshot() -> Snapshot {
    let mut snapshot = open_snapshot();
    snapshot.revision = 9;
    for (project, upstream_key) in [
        ("prj_a", Some("sk-ant-api03-upstream")),
        ("prj_oauth", Some("sk-ant-oat01-upstream")),
        ("prj_none", None),
    ] {
        let entry = KeyEntry { principal: key_of(project), expires_at: Some(Timestamp::now() + 1.hour()) };
        snapshot.keys.insert(Fingerprint::of(format!("mw_{project}").as_bytes()), entry);
        let entry = ProjectEntry {
            name: project.into(),
            upstream_key: upstream_key.map(|key| Secret::new(key.into())),
        };
        snapshot.projects.insert(ProjectId::new(project), entry);
    }
    let expired = KeyEntry { principal: key_of("prj_a"), expires_at: Some(Timestamp::now() - 1.second()) };
    snapshot.keys.insert(Fingerprint::of(b"mw_expired"), expired);
    snapshot
        .client_credentials
        .insert(Fingerprint::of(b"sk-ant-api03-registered"), principal("prj_registered"));
    snapshot
        .client_credentials
        .insert(Fingerprint::of(b"sk-ant-oat01-registered"), principal("prj_registered"));
    snapshot
}

async fn start(upstream: &Upstream, unregistered: Unregistered) -> TestProxy {
    let proxy = TestProxy::with(upstream.address, "", |config| config.unregistered = unregistered).await;
    assert!(proxy.snapshots.publish(snapshot()));
    proxy
}

fn request(credentials: &str) -> String {
    format!("GET /v1/models HTTP/1.1\r\nHost: h\r\nX-First: 1\r\n{credentials}X-Last: 1\r\n\r\n")
}

/// The request's headers as the API saw them, without `Host`.
fn seen(message: &Message) -> Vec<String> {
    let line = |(name, value): &(Vec<u8>, Vec<u8>)| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    message.headers.iter().skip(1).map(line).collect()
}

#[tokio::test]
async fn every_way_to_send_a_credential_reaches_its_project_and_the_api() {
    let rows: [(&str, &str, &[&str]); 13] = [
        // A MindWeave key beside the client's own credential: consumed, the credential is left alone.
        ("X-MindWeave-Key: mw_prj_none\r\nX-Api-Key: sk-ant-own\r\n", "prj_none", &["X-Api-Key: sk-ant-own"]),
        (
            "Authorization: Bearer sk-ant-oat01-own\r\nx-mindweave-key: mw_prj_none\r\n",
            "prj_none",
            &["Authorization: Bearer sk-ant-oat01-own"],
        ),
        ("x-mindweave-key: mw_prj_none\r\n", "prj_none", &[]),
        // Virtual keys, in either generation's header.
        ("X-Api-Key: mw_prj_a\r\n", "prj_a", &["X-Api-Key: sk-ant-api03-upstream"]),
        ("Authorization: Bearer mw_prj_a\r\n", "prj_a", &["Authorization: Bearer sk-ant-api03-upstream"]),
        ("authorization: bearer  mw_prj_a\r\n", "prj_a", &["authorization: Bearer sk-ant-api03-upstream"]),
        ("x-api-key: mw_prj_oauth\r\n", "prj_oauth", &["authorization: Bearer sk-ant-oat01-upstream"]),
        // Both headers: both go, one comes.
        (
            "X-Api-Key: mw_prj_a\r\nAuthorization: Bearer sk-ant-other\r\n",
            "prj_a",
            &["X-Api-Key: sk-ant-api03-upstream"],
        ),
        (
            "X-Api-Key: sk-ant-other\r\nAuthorization: Bearer mw_prj_a\r\n",
            "prj_a",
            &["Authorization: Bearer sk-ant-api03-upstream"],
        ),
        // A MindWeave key in a Claude key's place is never sent on, whichever key names the project.
        (
            "X-Api-Key: mw_anything\r\nX-MindWeave-Key: mw_prj_a\r\n",
            "prj_a",
            &["X-Api-Key: sk-ant-api03-upstream"],
        ),
        // Registered and unregistered Claude credentials.
        ("X-Api-Key: sk-ant-api03-registered\r\n", "prj_registered", &["X-Api-Key: sk-ant-api03-registered"]),
        (
            "Authorization: Bearer sk-ant-oat01-registered\r\nX-Api-Key: sk-ant-other\r\n",
            "prj_registered",
            &["Authorization: Bearer sk-ant-oat01-registered", "X-Api-Key: sk-ant-other"],
        ),
        ("X-Api-Key: sk-ant-nobody\r\n", "prj_default", &["X-Api-Key: sk-ant-nobody"]),
    ];
    for (credentials, project, forwarded) in rows {
        let mut upstream = Upstream::answering(OK).await;
        let proxy = start(&upstream, Unregistered::DefaultProject).await;
        assert_eq!(call(proxy.address, request(credentials)).await.status(), 200, "{credentials}");
        let arrived = seen(&upstream.request().await);
        let expected: Vec<&str> =
            ["X-First: 1"].into_iter().chain(forwarded.iter().copied()).chain(["X-Last: 1"]).collect();
        assert_eq!(arrived, expected, "{credentials}");
        let event = proxy.event().await;
        assert_eq!(event.project_id.as_str(), project, "{credentials}");
        assert_eq!(event.snapshot_revision, 9);
        assert_eq!(event.key_id.is_some(), credentials.contains("mw_"), "{credentials}");
    }
}

#[tokio::test]
async fn keys_that_are_no_good_are_refused_and_never_forwarded() {
    for (credentials, reason) in [
        ("X-Api-Key: mw_unknown\r\n", "key_unknown"),
        ("Authorization: Bearer mw_unknown\r\n", "key_unknown"),
        ("Authorization: mw_unknown\r\n", "key_unknown"),
        ("X-MindWeave-Key: mw_unknown\r\nX-Api-Key: sk-ant-api03-registered\r\n", "key_unknown"),
        ("X-MindWeave-Key: garbage\r\n", "key_unknown"),
        ("X-MindWeave-Key:\r\n", "key_unknown"),
        ("X-Api-Key: sk-ant-api03-registered\r\nX-Api-Key: mw_unknown\r\n", "key_unknown"),
        ("X-Api-Key: mw_expired\r\n", "key_expired"),
        ("X-MindWeave-Key: mw_expired\r\n", "key_expired"),
        ("X-Api-Key: mw_prj_none\r\n", "upstream_key_missing"),
    ] {
        let mut upstream = Upstream::answering(OK).await;
        let proxy = start(&upstream, Unregistered::DefaultProject).await;
        let answer = call(proxy.address, request(credentials)).await;
        assert_eq!(answer.status(), 401, "{credentials}");
        assert_eq!(answer.header("mindweave-reason").as_deref(), Some(reason), "{credentials}");
        assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["type"], "authentication_error");
        assert!(!body["error"]["message"].as_str().unwrap().contains("mw_unknown"));
        assert!(upstream.is_untouched(), "{credentials}");
    }
}

#[tokio::test]
async fn unregistered_credentials_are_refused_where_only_registered_ones_are_served() {
    let mut upstream = Upstream::answering(OK).await;
    let proxy = start(&upstream, Unregistered::Reject).await;
    for credentials in
        ["X-Api-Key: sk-ant-nobody\r\n", "Authorization: Bearer x\r\n", "Authorization: Basic eDp5\r\n", ""]
    {
        let answer = call(proxy.address, request(credentials)).await;
        assert_eq!(answer.status(), 401, "{credentials}");
        assert_eq!(answer.header("mindweave-reason").as_deref(), Some("credential_not_registered"));
    }
    assert!(upstream.is_untouched());
    assert_eq!(call(proxy.address, request("X-Api-Key: sk-ant-api03-registered\r\n")).await.status(), 200);
}

#[tokio::test]
async fn a_key_that_is_revoked_stops_working_on_open_connections() {
    let upstream = Upstream::answering(OK).await;
    let proxy = start(&upstream, Unregistered::Reject).await;
    let mut client = crate::wire::open(proxy.address, request("X-Api-Key: mw_prj_a\r\n")).await;
    assert_eq!(client.message(crate::wire::Kind::Response).await.unwrap().status(), 200);
    assert!(proxy.snapshots.publish(Snapshot { revision: 10, ..Snapshot::default() }));
    let again = request("X-Api-Key: mw_prj_a\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, again.as_bytes()).await.unwrap();
    assert_eq!(client.message(crate::wire::Kind::Response).await.unwrap().status(), 401);
}

#[tokio::test]
async fn without_any_default_project_clients_are_told_to_wait() {
    let upstream = Upstream::answering(OK).await;
    let proxy = start(&upstream, Unregistered::DefaultProject).await;
    assert!(proxy.snapshots.publish(Snapshot { revision: 10, ..Snapshot::default() }));
    let answer = call(proxy.address, request("")).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
}
