use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::jws::Unverified;
use super::keys::KeySet;
use super::*;

mod refresh;
mod tokens;

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => panic!("an object"),
    }
}

fn person(claims: Value, groups_claim: Option<&str>) -> Result<Person, TokenFault> {
    Person::read(&object(claims), None, groups_claim)
}

fn trust(claims: Value) -> EmailTrust {
    person(claims, None).unwrap().email_trust
}

#[test]
fn an_issuer_is_an_https_address_or_this_machine() {
    for good in [
        "https://accounts.google.com",
        "https://t.auth0.com/",
        "http://127.0.0.1:4000",
        "http://localhost:1/x",
    ] {
        assert_eq!(Issuer::new(good).map(|issuer| issuer.as_str().to_owned()), Ok(good.to_owned()));
    }
    for (bad, fault) in [
        ("accounts.google.com", IssuerFault::NoUrl),
        ("http://idp.example.com", IssuerFault::Insecure),
        ("http://127.0.0.1.example.com", IssuerFault::Insecure),
        ("ftp://example.com", IssuerFault::Insecure),
        ("https://user:pass@example.com", IssuerFault::Surplus),
        ("https://example.com?tenant=1", IssuerFault::Surplus),
        ("https://example.com#x", IssuerFault::Surplus),
    ] {
        assert_eq!(Issuer::new(bad), Err(fault), "{bad}");
    }
}

#[test]
fn the_discovery_document_of_an_issuer_with_a_slash_at_its_end_lies_where_others_do() {
    for issuer in ["https://t.auth0.com/", "https://t.auth0.com"] {
        let url = Issuer::new(issuer).unwrap().discovery_url();
        assert_eq!(url, "https://t.auth0.com/.well-known/openid-configuration");
    }
    let entra = Issuer::new("https://login.microsoftonline.com/9122040d/v2.0").unwrap();
    assert_eq!(
        entra.discovery_url(),
        "https://login.microsoftonline.com/9122040d/v2.0/.well-known/openid-configuration"
    );
}

/// As <https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration> has it, in short.
fn entra(issuer: &str) -> Map<String, Value> {
    let at = "https://login.microsoftonline.com/common";
    object(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{at}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{at}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{at}/discovery/v2.0/keys"),
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

#[test]
fn entra_id_is_used_by_tenant_and_needs_not_say_that_it_takes_pkce() {
    let tenant = "https://login.microsoftonline.com/9122040d/v2.0";
    let issuer = Issuer::new(tenant).unwrap();
    assert!(Metadata::read(&issuer, &entra(tenant)).is_ok());
    let common = Issuer::new("https://login.microsoftonline.com/common/v2.0").unwrap();
    let all = entra("https://login.microsoftonline.com/{tenantid}/v2.0");
    assert_eq!(Metadata::read(&common, &all), Err(MetadataFault::AllTenants));
}

#[test]
fn the_issuer_of_a_document_is_the_one_that_was_asked_for_to_the_letter() {
    let issuer = Issuer::new("https://t.auth0.com").unwrap();
    let said = "https://t.auth0.com/".to_owned();
    assert_eq!(Metadata::read(&issuer, &entra(&said)), Err(MetadataFault::OtherIssuer(said)));
}

#[test]
fn an_address_is_verified_where_the_provider_says_so_and_may() {
    let claims = |more: Value| {
        let mut claims = object(json!({ "sub": "1", "email": "ada@example.com" }));
        claims.extend(object(more));
        Value::Object(claims)
    };
    assert_eq!(trust(claims(json!({ "email_verified": true }))), EmailTrust::Verified);
    assert_eq!(trust(claims(json!({ "email_verified": "true" }))), EmailTrust::Verified);
    assert_eq!(trust(claims(json!({ "email_verified": false }))), EmailTrust::Unverified);
    assert_eq!(trust(claims(json!({ "email_verified": "yes" }))), EmailTrust::Unverified);
    assert_eq!(trust(claims(json!({}))), EmailTrust::Unstated);
    // Entra ID's word about the domain.
    assert_eq!(trust(claims(json!({ "xms_edov": 1 }))), EmailTrust::Verified);
    assert_eq!(trust(claims(json!({ "xms_edov": false }))), EmailTrust::Unverified);
    // An account of Google's with somebody else's address, one of the domain's own, and another domain's.
    let google = |more: Value| {
        let mut all = object(json!({ "iss": "https://accounts.google.com", "email_verified": true }));
        all.extend(object(more));
        claims(Value::Object(all))
    };
    assert_eq!(trust(google(json!({}))), EmailTrust::Unverified);
    assert_eq!(trust(google(json!({ "hd": "example.com" }))), EmailTrust::Verified);
    assert_eq!(trust(google(json!({ "hd": "example.org" }))), EmailTrust::Unverified);
    assert_eq!(trust(google(json!({ "email": "ada@gmail.com" }))), EmailTrust::Verified);
}

#[test]
fn without_an_address_the_name_to_sign_in_with_is_one_that_nobody_verified() {
    let upn =
        json!({ "sub": "1", "preferred_username": "ada@example.com", "email_verified": true, "name": "Ada" });
    let ada = person(upn, None).unwrap();
    assert_eq!((ada.email.as_deref(), ada.email_trust), (Some("ada@example.com"), EmailTrust::Unstated));
    let nickname = json!({ "sub": "1", "preferred_username": "ada" });
    assert_eq!(person(nickname, None).unwrap().email, None);
}

#[test]
fn groups_are_where_the_claim_says_and_never_silently_none() {
    let groups = |claims: Value, claim: &str| {
        person(claims, Some(claim)).map(|person| person.groups.into_iter().collect::<Vec<_>>())
    };
    let all = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(groups(json!({ "sub": "1", "groups": ["b", "a", "b"] }), "groups"), Ok(all.clone()));
    let namespaced = json!({ "sub": "1", "https://example.com/roles": ["a", "b"] });
    assert_eq!(groups(namespaced, "https://example.com/roles"), Ok(all.clone()));
    let nested = json!({ "sub": "1", "realm_access": { "roles": ["a", "b"] } });
    assert_eq!(groups(nested, "realm_access.roles"), Ok(all));
    assert_eq!(groups(json!({ "sub": "1", "role": "a" }), "role"), Ok(vec!["a".to_owned()]));
    assert_eq!(groups(json!({ "sub": "1" }), "groups"), Ok(vec![]));
    for overage in [
        json!({ "sub": "1", "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": {} } }),
        json!({ "sub": "1", "hasgroups": true }),
    ] {
        assert_eq!(groups(overage, "groups"), Err(TokenFault::GroupsOverage));
    }
}

#[test]
fn a_second_factor_is_one_that_the_provider_names_so() {
    let methods = |amr: Value| person(json!({ "sub": "1", "amr": amr }), None).unwrap().multi_factor;
    assert!(methods(json!(["pwd", "mfa"])));
    assert!(!methods(json!(["pwd"])) && !methods(json!([])) && !methods(json!({ "mfa": true })));
}

#[test]
fn verifier_and_nonce_come_from_the_cookie_and_from_nothing_else() {
    let binding = Binding::generate().unwrap();
    let again = Binding::from_cookie(&binding.cookie()).unwrap();
    assert_eq!((binding.nonce(), binding.challenge()), (again.nonce(), again.challenge()));
    assert_eq!(binding.verifier().len(), 43);
    assert!(Binding::verifier_fits(&binding.verifier(), &binding.challenge()));
    assert!(!Binding::verifier_fits(&binding.nonce(), &binding.challenge()));
    let other = Binding::generate().unwrap();
    assert_ne!(binding.nonce(), other.nonce());
    assert_ne!(
        binding.fingerprint(),
        binding.cookie().to_string(),
        "what is stored is not what the browser keeps"
    );
    assert!(Binding::from_cookie("short").is_none() && Binding::from_cookie("").is_none());
    assert_eq!(format!("{binding:?}"), "Binding(..)");
}

#[test]
fn the_challenge_is_the_one_of_rfc_7636() {
    // Appendix B.
    let (verifier, challenge) =
        ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    assert!(Binding::verifier_fits(verifier, challenge));
    assert!(!Binding::verifier_fits("", challenge));
}

#[test]
fn a_signature_of_rfc_7515_is_verified_and_a_changed_one_is_not() {
    // Appendix A.3: ES256.
    let key = object(json!({ "keys": [{
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }] }));
    let keys = KeySet::read(&key).unwrap();
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert_eq!(keys.verify(&Unverified::parse(token).unwrap()), Ok(()));
    let changed = token.replace(".DtEh", ".DtEi");
    assert_eq!(keys.verify(&Unverified::parse(&changed).unwrap()), Err(TokenFault::Signature));
    assert_eq!(KeySet::default().verify(&Unverified::parse(token).unwrap()), Err(TokenFault::UnknownKey));
}

proptest! {
    #[test]
    fn whatever_comes_as_a_token_is_taken_apart_or_refused(text in "[A-Za-z0-9_.-]{0,200}|\\PC{0,100}") {
        if let Ok(token) = Unverified::parse(&text) {
            prop_assert!(KeySet::default().verify(&token).is_err());
        }
    }

    #[test]
    fn whatever_claims_there_are_a_person_is_read_or_refused(name in "\\PC{0,40}", email in "\\PC{0,40}", group in "\\PC{0,20}") {
        let claims = json!({ "sub": "1", "name": name, "email": email, "groups": [group, 7, null] });
        let person = person(claims, Some("groups")).unwrap();
        prop_assert!(person.email.is_none_or(|email| email.contains('@') && !email.contains(char::is_control)));
        prop_assert!(person.groups.len() <= 1);
    }
}
