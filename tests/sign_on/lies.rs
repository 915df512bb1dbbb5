//! Nothing that a provider says is believed before it was checked; and what the large providers say is understood.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::{Browser, parameter};
use crate::harness::server::MindWeave;
use crate::liar::{Liar, Signing, TokenEndpoint, Words, access_token_hash};
use crate::{base, log_after_setup, org_of};

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).expect("a time after 1970")
}

/// MindWeave with the liar as a provider named `liar`.
struct Stage {
    server: MindWeave,
    liar: Liar,
}

impl Stage {
    fn start(settings: &Value) -> Self {
        let server = MindWeave::start("http://127.0.0.1:9");
        let liar = Liar::start();
        let mut provider = json!({ "id": "liar", "name": "Liar", "issuer": liar.issuer, "client_id": "mindweave", "default_role": "developer" });
        for (name, value) in settings.as_object().expect("an object") {
            provider[name] = value.clone();
        }
        server.ledger().post(&format!("/orgs/{}/sign-on", org_of(&server)), &provider);
        Self { server, liar }
    }

    /// Claims as they should be for this sign-on.
    fn claims(&self, nonce: &str) -> Value {
        json!({
            "iss": self.liar.issuer, "aud": "mindweave", "sub": "subject-1", "nonce": nonce,
            "iat": now(), "exp": now() + 300, "at_hash": access_token_hash(),
            "email": "ada@example.com", "email_verified": true, "name": "Ada",
        })
    }

    /// A sign-on in which the provider says this; where the browser is sent in the end.
    fn sign_on(&self, say: impl FnOnce(&mut Words)) -> String {
        let browser = Browser::new();
        let begun = browser.get(&format!("{}/auth/oauth/liar?return_to=/done", base(&self.server)));
        let to = begun.location.expect("an address of the provider");
        let (state, nonce) =
            (parameter(&to, "state").expect("a state"), parameter(&to, "nonce").expect("a nonce"));
        let mut words = Words { claims: self.claims(&nonce), ..Words::default() };
        say(&mut words);
        self.liar.say(words);
        let back = browser
            .get(&format!("{}/auth/oauth/callback?state={state}&code=c&session_state=x", base(&self.server)));
        assert_eq!(back.status, 303, "{back:?}");
        back.location.expect("a way back")
    }

    /// The session of such a sign-on.
    fn session(&self, say: impl FnOnce(&mut Words)) -> Value {
        let to = self.sign_on(say);
        let code = parameter(&to, "code").unwrap_or_else(|| panic!("no code: {to}"));
        let answer = Browser::new().post_json(
            &format!("{}/auth/oauth/token", base(&self.server)),
            None,
            &json!({ "code": code }),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

#[test]
fn no_lie_of_a_provider_signs_anybody_in() {
    let stage = Stage::start(&json!({ "groups_claim": "groups" }));
    let truth = stage.sign_on(|words| words.userinfo = json!({ "sub": "subject-1" }));
    assert!(parameter(&truth, "code").is_some(), "the truth signs in: {truth}");
    let claim = |name: &'static str, value: Value| move |words: &mut Words| words.claims[name] = value;
    let without = |name: &'static str| {
        move |words: &mut Words| drop(words.claims.as_object_mut().expect("claims").remove(name))
    };
    let signing = |how: Signing| move |words: &mut Words| words.signing = how;
    let endpoint = |how: TokenEndpoint| move |words: &mut Words| words.token_endpoint = how;
    type Say = Box<dyn FnOnce(&mut Words)>;
    let lies: Vec<(&str, Say)> = vec![
        ("token_nonce", Box::new(claim("nonce", json!("another")))),
        ("token_nonce", Box::new(without("nonce"))),
        ("token_expired", Box::new(claim("exp", json!(now() - 120)))),
        ("token_expired", Box::new(without("exp"))),
        ("token_issued_at", Box::new(claim("iat", json!(now() + 3_600)))),
        ("token_issued_at", Box::new(claim("iat", json!(now() - 3_600)))),
        ("token_issued_at", Box::new(claim("nbf", json!(now() + 3_600)))),
        ("token_audience", Box::new(claim("aud", json!("somebody-else")))),
        ("token_audience", Box::new(claim("aud", json!(["somebody-else"])))),
        ("token_audience", Box::new(without("aud"))),
        ("token_authorized_party", Box::new(claim("aud", json!(["mindweave", "somebody-else"])))),
        ("token_authorized_party", Box::new(claim("azp", json!("somebody-else")))),
        ("token_issuer", Box::new(claim("iss", json!("https://accounts.google.com")))),
        ("token_subject", Box::new(without("sub"))),
        ("token_access_token_hash", Box::new(claim("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")))),
        ("token_algorithm", Box::new(signing(Signing::None))),
        ("token_algorithm", Box::new(signing(Signing::PublicKeyAsSecret))),
        ("token_signature", Box::new(signing(Signing::ForeignKey))),
        ("token_signature", Box::new(signing(Signing::OtherClaims))),
        ("token_key_unknown", Box::new(signing(Signing::UnlistedKey))),
        ("token_malformed", Box::new(signing(Signing::Critical))),
        ("groups_overage", Box::new(claim("_claim_names", json!({ "groups": "src1" })))),
        (
            "userinfo_subject",
            Box::new(|words: &mut Words| words.userinfo = json!({ "sub": "another", "groups": ["admins"] })),
        ),
        ("code_refused", Box::new(endpoint(TokenEndpoint::Refuses))),
        ("provider_unfit", Box::new(endpoint(TokenEndpoint::Redirects))),
        ("provider_unfit", Box::new(endpoint(TokenEndpoint::Floods))),
        ("provider_unfit", Box::new(endpoint(TokenEndpoint::Chats))),
        ("provider_unfit", Box::new(endpoint(TokenEndpoint::GivesNoIdToken))),
    ];
    for (reason, lie) in lies {
        let to = stage.sign_on(|words| {
            words.userinfo = json!({ "sub": "subject-1" });
            lie(words);
        });
        assert_eq!(to, format!("/done?error={reason}"));
    }
    let started = Instant::now();
    assert_eq!(
        stage.sign_on(|words| words.token_endpoint = TokenEndpoint::Hangs),
        "/done?error=provider_timeout"
    );
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "a provider that hangs keeps nobody waiting for long"
    );
    let log = log_after_setup(&stage.server);
    assert!(
        !log.contains(crate::liar::ACCESS_TOKEN) && !log.contains("mwo_"),
        "nothing secret in the log:\n{log}"
    );
}

#[test]
fn a_provider_that_cannot_be_used_is_refused_when_it_is_made_and_the_refusal_says_why() {
    let server = MindWeave::start("http://127.0.0.1:9");
    let liar = Liar::start();
    let path = format!("/orgs/{}/sign-on", org_of(&server));
    let with = |name: &str, value: Value| Words { discovery: json!({ name: value }), ..Words::default() };
    let refused = |issuer: &str, secret: Option<&str>| {
        let provider =
            json!({ "id": "x", "name": "X", "issuer": issuer, "client_id": "c", "client_secret": secret });
        let (status, problem) = server.ledger().refused(&path, &provider);
        assert_eq!((status, problem["code"].as_str()), (422, Some("invalid_field")), "{problem}");
        assert_eq!(problem["errors"][0]["field"], "issuer", "{problem}");
        problem["detail"].as_str().expect("a detail").to_owned()
    };
    for (words, why) in [
        (with("issuer", json!("https://example.com")), "its issuer is \"https://example.com\""),
        (with("issuer", json!("https://login.microsoftonline.com/{tenantid}/v2.0")), "your tenant's issuer"),
        (with("response_types_supported", json!(["id_token"])), "authorisation code flow"),
        (with("code_challenge_methods_supported", json!(["plain"])), "S256"),
        (with("id_token_signing_alg_values_supported", json!(["HS256"])), "RS256"),
        (
            with("token_endpoint", json!("http://example.com/token")),
            "token_endpoint that is not an https URL",
        ),
        (with("jwks_uri", Value::Null), "names no jwks_uri"),
        (Words { discovery_text: Some("<html>"), ..Words::default() }, "JSON"),
    ] {
        liar.say(words);
        let detail = refused(&liar.issuer, None);
        assert!(detail.contains(why), "{why}: {detail}");
    }
    liar.say(with("token_endpoint_auth_methods_supported", json!(["private_key_jwt"])));
    assert!(refused(&liar.issuer, Some("secret")).contains("client_secret_basic"));
    assert!(refused("http://127.0.0.1:1", None).contains("cannot be reached"));
    assert!(refused("http://idp.example.com", None).contains("https"));
    liar.say(Words::default());
    let made =
        json!({ "id": "x", "name": "X", "issuer": liar.issuer, "client_id": "c", "client_secret": "secret" });
    let made = server.ledger().post(&path, &made);
    assert_eq!((made["has_client_secret"].as_bool(), made.get("client_secret")), (Some(true), None));
}

#[test]
fn what_google_okta_auth0_and_entra_say_of_people_is_understood() {
    let roles = "https://example.com/roles";
    let mapping = |group: &str| json!([{ "group": group, "role": "billing" }]);
    let shapes = [
        // Google: no groups, `hd` for organisations' accounts.
        (
            json!({ "domains": ["example.com"] }),
            json!({ "hd": "example.com", "azp": "mindweave" }),
            "developer",
        ),
        // Okta: groups by a claim that is set up there.
        (
            json!({ "groups_claim": "groups", "role_mapping": mapping("finance") }),
            json!({ "groups": ["Everyone", "finance"], "amr": ["pwd", "mfa"], "preferred_username": "ada@example.com" }),
            "billing",
        ),
        // Auth0: a claim in a namespace of one's own.
        (
            json!({ "groups_claim": roles, "role_mapping": mapping("finance") }),
            json!({ roles: ["finance"], "nickname": "ada" }),
            "billing",
        ),
        // Entra ID: app roles; no address but the name to sign in with.
        (
            json!({ "groups_claim": "roles", "role_mapping": mapping("Finance"), "domains": ["example.com"] }),
            json!({
                "roles": ["Finance"], "email": null, "email_verified": null, "preferred_username": "ada@example.com",
                "oid": "00000000-0000-0000-66f3-3332eca7ea81", "tid": "9122040d-6c67-4c5b-b112-36a304b66dad", "ver": "2.0",
            }),
            "billing",
        ),
    ];
    for (settings, claims, role) in shapes {
        let stage = Stage::start(&settings);
        let session = stage.session(|words| {
            words.userinfo = json!({ "sub": "subject-1" });
            for (name, value) in claims.as_object().expect("claims") {
                words.claims[name] = value.clone();
            }
            words.claims.as_object_mut().expect("claims").retain(|_, value| !value.is_null());
        });
        assert_eq!(session["user"]["email"], "ada@example.com", "{session}");
        let user = session["user"]["id"].as_str().expect("an id");
        let member = stage.server.ledger().get(&format!("/orgs/{}/members/{user}", org_of(&stage.server)));
        assert!(member.to_string().contains(&format!("\"role\":\"{role}\"")), "{member}");
    }
}
