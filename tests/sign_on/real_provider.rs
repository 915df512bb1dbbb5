//! The whole way of a browser through a real provider.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::browser::{Browser, parameter};
use crate::harness::ledger::Ledger;
use crate::harness::server::MindWeave;
use crate::provider::{CLIENT_SECRET, Provider};
use crate::{base, log_after_setup, org_of};

const PASSWORD: &str = "password of ada";

fn people() -> Value {
    json!({ "ada": { "email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace" } })
}

/// MindWeave, the provider, and `/auth/oauth/{client}` for each of its clients.
fn start() -> (MindWeave, Provider, String) {
    let server = MindWeave::start("http://127.0.0.1:9");
    let at = base(&server);
    let provider = Provider::start(&at, &people(), true);
    for client in ["basic", "post", "public", "pss"] {
        let secret = (client != "public").then_some(CLIENT_SECRET);
        let made = json!({
            "id": client, "name": client, "issuer": provider.issuer, "client_id": client, "client_secret": secret,
            "default_role": "developer",
        });
        server.ledger().post(&format!("/orgs/{}/sign-on", org_of(&server)), &made);
    }
    (server, provider, at)
}

#[test]
fn people_sign_on_with_every_kind_of_client_and_after_the_provider_changed_its_keys() {
    let (server, provider, at) = start();
    let mut ids = Vec::new();
    for round in 0..2 {
        for client in ["basic", "post", "public", "pss"] {
            let browser = Browser::new();
            let page = browser.sign_on(&format!("{at}/auth/oauth/{client}"), "ada", PASSWORD);
            assert_eq!(page.status, 200, "{client}, round {round}: {page:?}");
            let session = page.json();
            let token = session["access_token"].as_str().expect("a session");
            let me = Ledger::new(server.control_plane, token).get("/auth/me");
            assert!(me.to_string().contains("ada@example.com"), "{me}");
            ids.push(session["user"]["id"].as_str().expect("an id").to_owned());
            assert!(browser.cookies_of(&at).is_empty(), "the cookie of the sign-on is gone");
        }
        provider.control(&json!({ "rotate": true }));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one person, however they came");
    let log = log_after_setup(&server);
    for secret in [CLIENT_SECRET, "mwo_", "mwa_", "mwr_", PASSWORD] {
        assert!(!log.contains(secret), "{secret} in the log:\n{log}");
    }
}

#[test]
fn a_sign_on_belongs_to_the_browser_that_began_it_and_ends_once() {
    let (_server, provider, at) = start();
    let start = format!("{at}/auth/oauth/basic");
    let (victim, thief) = (Browser::new(), Browser::new());
    // The thief's own sign-on, brought into the victim's browser: it would be signed in as the thief.
    let back = thief.sign_on_until_callback(&start, "ada", PASSWORD);
    let forced = victim.get(&back);
    assert_eq!((forced.status, forced.code()), (400, "invalid_link".to_owned()), "{forced:?}");
    // Not even with a sign-on of its own on its way.
    assert_eq!(victim.get(&start).status, 302);
    assert_eq!(victim.get(&back).status, 400);
    // The thief's is still good, once.
    assert_eq!(thief.get(&back).status, 200);
    assert_eq!(thief.get(&back).status, 400);
    // A made-up state, none at all, and things said twice.
    for query in ["state=mwo_made-up&code=c", "code=c", "", "state=a&state=b&code=c"] {
        assert_eq!(victim.get(&format!("{at}/auth/oauth/callback?{query}")).status, 400, "{query}");
    }
    // The answer of another issuer (RFC 9207), and one without its name.
    for issuer in ["https%3A%2F%2Fevil.example", ""] {
        let browser = Browser::new();
        let back = browser.sign_on_until_callback(&start, "ada", PASSWORD);
        let named = parameter(&back, "iss").expect("this provider names itself");
        let mixed = browser.get(&back.replace(&format!("iss={named}"), &format!("iss={issuer}")));
        assert_eq!((mixed.status, mixed.code()), (403, "sign_on_refused".to_owned()), "{mixed:?}");
    }
    // A wrong password is the provider's to refuse.
    let refused = Browser::new().sign_on(&start, "ada", "wrong");
    assert_eq!((refused.status, refused.code()), (403, "sign_on_refused".to_owned()), "{refused:?}");
    assert!(refused.text.contains("access_denied"), "{refused:?}");
    // One that is away keeps nobody waiting.
    let browser = Browser::new();
    let back = browser.sign_on_until_callback(&start, "ada", PASSWORD);
    provider.control(&json!({ "away": true }));
    let started = Instant::now();
    let away = browser.get(&back);
    assert_eq!((away.status, away.code()), (502, "provider_unavailable".to_owned()), "{away:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_program_gets_a_code_that_it_alone_can_exchange() {
    let (_server, _provider, at) = start();
    let verifier = "a-verifier-that-is-long-enough-for-rfc-7636-43";
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let local = "http%3A%2F%2F127.0.0.1%3A4711%2Fdone%3Fstate%3Dmine";
    let start = format!("{at}/auth/oauth/basic?return_to={local}&code_challenge={challenge}");
    let exchange = |code: &str, verifier: Option<&str>| {
        let body = json!({ "code": code, "code_verifier": verifier });
        let mut body = body;
        if verifier.is_none() {
            body.as_object_mut().expect("an object").remove("code_verifier");
        }
        Browser::new().post_json(&format!("{at}/auth/oauth/token"), None, &body)
    };
    let code = || {
        let page = Browser::new().sign_on(&start, "ada", PASSWORD);
        assert_eq!(page.status, 303, "{page:?}");
        let to = page.location.expect("a way back");
        assert!(to.starts_with("http://127.0.0.1:4711/done?state=mine&code=mwo_"), "{to}");
        assert!(!to.contains("mwa_") && !to.contains("mwr_"), "no token in an address: {to}");
        parameter(&to, "code").expect("a code")
    };
    let good = code();
    let answer = exchange(&good, Some(verifier));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["access_token"].as_str().is_some_and(|token| token.starts_with("mwa_")));
    assert_eq!(exchange(&good, Some(verifier)).status, 400, "a code is good once");
    for wrong in [Some("another-verifier-that-is-long-enough-for-rfc-76"), None] {
        let code = code();
        assert_eq!(exchange(&code, wrong).status, 400, "somebody else's");
        assert_eq!(exchange(&code, Some(verifier)).status, 400, "which has used it up");
    }
    // Nowhere else, and no program without proof.
    for query in [
        "return_to=https%3A%2F%2Fevil.example%2F",
        "return_to=%2F%2Fevil.example",
        "return_to=%2F%5Cevil.example",
        "return_to=http%3A%2F%2Flocalhost%3A4711%2F",
        "return_to=http%3A%2F%2F127.0.0.1%3A4711%2F",
        "return_to=%2Fdone&code_challenge=short",
        "nothing=here",
    ] {
        let page = Browser::new().get(&format!("{at}/auth/oauth/basic?{query}"));
        assert_eq!((page.status, page.location.clone()), (400, None), "{query}: {page:?}");
    }
    assert_eq!(Browser::new().get(&format!("{at}/auth/oauth/nobody")).status, 404);
}
