//! Tokens and keys that no honest provider sends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::super::id_token::{Expected, check};
use super::super::jws::Unverified;
use super::super::keys::KeySet;
use super::super::{Issuer, Metadata, MetadataFault, TokenFault};
use super::{entra, object};

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these parts, signed with nothing.
fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.AAAA", encoded(header), encoded(claims))
}

/// A key of the curve P-256, and the token that it signs.
pub(super) struct Signer(EcdsaKeyPair);

impl Signer {
    pub(super) fn new() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap())
    }

    pub(super) fn jwk(&self, more: Value) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let mut jwk =
            object(json!({ "kty": "EC", "crv": "P-256", "kid": "one", "x": encoded(x), "y": encoded(y) }));
        jwk.extend(object(more));
        Value::Object(jwk)
    }

    pub(super) fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encoded(signature))
    }
}

fn verified(keys: &Value, token: &str) -> Result<(), TokenFault> {
    let keys = KeySet::read(&object(json!({ "keys": keys }))).unwrap();
    keys.verify(&Unverified::parse(token)?)
}

#[test]
fn no_name_is_said_twice_in_a_token() {
    let header = r#"{"alg":"ES256"}"#;
    for (header, claims) in [
        (r#"{"alg":"none","alg":"ES256"}"#, r#"{"sub":"1"}"#),
        (r#"{"alg":"ES256","kid":"a","kid":"b"}"#, r#"{"sub":"1"}"#),
        (header, r#"{"sub":"1","sub":"2"}"#),
        (header, r#"{"sub":"1","s\u0075b":"2"}"#),
        (header, r#"{"sub":"1","realm_access":{"roles":["a"],"roles":["b"]}}"#),
        (header, r#"{"sub":"1","list":[{"a":1,"a":2}]}"#),
    ] {
        let refused = Unverified::parse(&unsigned(header, claims)).map(|_| ());
        assert_eq!(refused, Err(TokenFault::Malformed), "{header} {claims}");
    }
    let plain = r#"{"sub":"1","n":[1,-2,0.5,null,true,{"sub":"x"}],"o":{}}"#;
    let token = unsigned(header, plain);
    let claims = Unverified::parse(&token).unwrap().into_claims();
    assert_eq!(Value::Object(claims), serde_json::from_str::<Value>(plain).unwrap());
}

#[test]
fn a_header_that_is_not_understood_is_refused() {
    for (header, fault) in [
        (r#"{"alg":"none"}"#, TokenFault::Algorithm),
        (r#"{"alg":"None"}"#, TokenFault::Algorithm),
        (r#"{"alg":"nONE"}"#, TokenFault::Algorithm),
        (r#"{"alg":""}"#, TokenFault::Algorithm),
        (r#"{"alg":"HS256"}"#, TokenFault::Algorithm),
        (r#"{"alg":"es256"}"#, TokenFault::Algorithm),
        (r#"{"alg":"ES256K"}"#, TokenFault::Algorithm),
        (r#"{"alg":["ES256"]}"#, TokenFault::Malformed),
        ("{}", TokenFault::Malformed),
        (r#"["ES256"]"#, TokenFault::Malformed),
        (r#"{"alg":"ES256","crit":[]}"#, TokenFault::Malformed),
        (r#"{"alg":"ES256","b64":false,"crit":["b64"]}"#, TokenFault::Malformed),
        (r#"{"alg":"ES256","kid":7}"#, TokenFault::Malformed),
        (r#"{"alg":"ES256","kid":null}"#, TokenFault::Malformed),
    ] {
        let refused = Unverified::parse(&unsigned(header, "{}")).map(|_| ());
        assert_eq!(refused, Err(fault), "{header}");
    }
    let good = unsigned(r#"{"alg":"ES256"}"#, "{}");
    for bad in [
        String::new(),
        "..".to_owned(),
        good.replace('.', ""),
        format!("{good}.AAAA"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        good.replace(".AAAA", ".AAAB="),
        good.replace(".AAAA", ".AB"),
        format!("{}.{}", "A".repeat(600 * 1024), good),
        unsigned(r#"{"alg":"ES256"}"#, &format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))),
    ] {
        let refused = Unverified::parse(&bad).map(|_| ());
        assert_eq!(refused, Err(TokenFault::Malformed), "{}", bad.chars().take(80).collect::<String>());
    }
}

#[test]
fn a_key_signs_with_its_own_algorithm_under_its_own_name_only() {
    let signer = Signer::new();
    let token = signer.token(r#"{"alg":"ES256","kid":"one"}"#, r#"{"sub":"1"}"#);
    let with = |more: Value| verified(&json!([signer.jwk(more)]), &token);
    for good in [
        json!({}),
        json!({ "use": "sig" }),
        json!({ "alg": "ES256" }),
        json!({ "key_ops": ["verify"] }),
        json!({ "key_ops": ["sign", "verify"], "use": "sig" }),
    ] {
        assert_eq!(with(good.clone()), Ok(()), "{good}");
    }
    for other in [
        json!({ "use": "enc" }),
        json!({ "alg": "ES384" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "ECDH-ES" }),
        json!({ "key_ops": ["encrypt"] }),
        json!({ "key_ops": [] }),
        json!({ "key_ops": "verify" }),
        json!({ "kid": "two" }),
        json!({ "kid": null }),
        json!({ "crv": "P-384" }),
        json!({ "kty": "oct", "k": "AAAA" }),
    ] {
        assert_eq!(with(other.clone()), Err(TokenFault::UnknownKey), "{other}");
    }
    // The key that the token brings along is nobody's.
    let own =
        json!({ "alg": "ES256", "kid": "one", "jwk": signer.jwk(json!({})), "jku": "https://evil.example/" });
    let own = signer.token(&own.to_string(), "{}");
    assert_eq!(verified(&json!([Signer::new().jwk(json!({}))]), &own), Err(TokenFault::Signature));
    // A point that is not on the curve, and one cut in another place.
    assert_eq!(with(json!({ "x": encoded([1; 32]) })), Err(TokenFault::Signature));
    assert_eq!(with(json!({ "x": encoded([1; 31]), "y": encoded([1; 33]) })), Err(TokenFault::UnknownKey));
}

#[test]
fn ed25519_is_verified_and_empty_signatures_are_not() {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let jwk = json!([{ "kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key()) }]);
    let signed = format!("{}.{}", encoded(r#"{"alg":"EdDSA"}"#), encoded("{}"));
    let token = format!("{signed}.{}", encoded(key.sign(signed.as_bytes())));
    assert_eq!(verified(&jwk, &token), Ok(()));
    assert_eq!(verified(&jwk, &format!("{signed}.")), Err(TokenFault::Signature));
    // Psychic signatures (CVE-2022-21449): zeros fit every text in a naive verification.
    let signed = format!("{}.{}", encoded(r#"{"alg":"ES256"}"#), encoded("{}"));
    let zeros = format!("{signed}.{}", encoded([0; 64]));
    assert_eq!(verified(&json!([Signer::new().jwk(json!({}))]), &zeros), Err(TokenFault::Signature));
}

#[test]
fn rsa_keys_are_of_2048_bits_at_least_and_of_an_odd_exponent_that_is_not_one() {
    // Made by OpenSSL: {"alg":"RS256"} and {"sub":"1"} under a key of 1,024 and one of 2,048 bits.
    const SMALL: &str = "zZrEHSb4GLBcd7GpiM07_9VgFr-qFMeUxmgsnKd-P6gu3SV4ltXMSve_xOfDThScF8R6dGet4Se35IiwMdmP1HhrVP1sv1UZDgQ2oHUHFggDn6GiWJc9kvZTcRG1ziCZTf771QsYe3W7JuOtcHCr1TLhO6HV-q4j-BG7gbH8S68";
    const SMALL_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.qKKfJ-6zhDqvxtcjktEcu_bhrhfU7G7G2LiVDHy-2HLsh_1KKO3QdT-fFgtxuv0DifN9Gnl0T2HMricNZH42Vev-lDHIYkm4OAxltZtou4swtmE-QjmQB0oAa8F2tgHujix6IOKo-yqLfMj-ftRA29GLb-i0xDbXP00abxhJ2vY";
    const LARGE: &str = "l05LPmxwyilFdoctNmsXkd3gQ3dHAEGtOBNQ9b-YCH8blExzZ99mr_NUrZyi_dJgkg0i5kzJcy_m5gNWLBuBCRyShaBYvj1KRZmKscCpZjABvk0o4bv08_JtcqYKSmBMBOzt7m8tbbveD0Z2unACBHP7CBlWI1SCPlcfo10DqFL-2NTHreS0p0zL_FsGdZqS3QL--y-dKxdwWl6QLUF1u2U24me_8ptJnyjpeH9vCwLHhLUt0qb8V_tb5LXiyWzSJMPWDPvunsn5LngVsmMMBWPRGtIqdmZKMu9dQsIH-NxwUvb4t-fVkSod59R_DgJchZNyd_8g3sjU1HiiEDCCdw";
    const LARGE_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.gBCz3ZvI4HFUxJjfIGlcSu1o-r15vW5RKH3lsXWfhOMbv2K-kcS_5q8KH4-hdt3gZsU2jvdMifCT6BegHK0o1aqE9B8-7_nv-bKTxyOuJVmQ9s3YwBVFrFx_vQt2HsmRvWUoU7CvfD7sKqXTWtcgEDoWXefkdZEPNcPX-fj_yb8AuOhHFf2CXfRetO1b-nf0eKP8ak9HpHpVc-8VZmBVSNcxkWyNsLAnJF0t7OLwaS7Axr-8HuEqkF5fICOIwCLGYxjDzBsXxwuCLUy1YQJCvJQbGz_CIXNhN0KD8Qoi1_f2idRJBdl7p-XUOH8qKtJJ92kfGsNi3t2hokpv0wTAKQ";
    let key = |n: &str, e: &str| json!([{ "kty": "RSA", "n": n, "e": e }]);
    assert_eq!(verified(&key(LARGE, "AQAB"), LARGE_TOKEN), Ok(()));
    // Some write a zero in front.
    let zero = [&[0][..], &URL_SAFE_NO_PAD.decode(LARGE).unwrap()].concat();
    assert_eq!(verified(&key(&encoded(zero), "AAEAAQ"), LARGE_TOKEN), Ok(()));
    assert_eq!(verified(&key(SMALL, "AQAB"), SMALL_TOKEN), Err(TokenFault::Signature));
    // With the exponent 1 the padded hash is its own signature.
    for exponent in ["AQ", "Ag", "AA", ""] {
        assert_eq!(verified(&key(LARGE, exponent), LARGE_TOKEN), Err(TokenFault::Signature), "{exponent}");
    }
    // The same key under another algorithm, and the token under another kind of key.
    let probabilistic = LARGE_TOKEN.replace("eyJhbGciOiJSUzI1NiJ9", &encoded(r#"{"alg":"PS256"}"#));
    assert_eq!(verified(&key(LARGE, "AQAB"), &probabilistic), Err(TokenFault::Signature));
    let curve = json!([Signer::new().jwk(json!({ "kid": null }))]);
    assert_eq!(verified(&curve, LARGE_TOKEN), Err(TokenFault::UnknownKey));
}

#[test]
fn the_times_of_a_token_are_numbers_within_a_minute_of_ours() {
    const NOW: i64 = 1_700_000_000;
    let said = |more: Value| {
        let mut claims = object(json!({
            "iss": "https://idp.example.com", "aud": "me", "sub": "1", "nonce": "n", "iat": NOW, "exp": NOW + 300,
        }));
        claims.extend(object(more));
        let expected = Expected {
            issuer: "https://idp.example.com",
            client_id: "me",
            nonce: "n",
            access_token: None,
            now: NOW,
        };
        check(&claims, &expected)
    };
    for good in [
        json!({}),
        json!({ "exp": NOW - 59 }),
        json!({ "iat": NOW + 60, "nbf": NOW + 60 }),
        json!({ "iat": NOW - 600 }),
        json!({ "aud": ["me"] }),
        json!({ "aud": ["me", "you"], "azp": "me" }),
        json!({ "exp": i64::MAX }),
    ] {
        assert_eq!(said(good.clone()), Ok(()), "{good}");
    }
    for (bad, fault) in [
        (json!({ "exp": NOW - 60 }), TokenFault::Expired),
        (json!({ "exp": i64::MIN }), TokenFault::Expired),
        (json!({ "exp": u64::MAX }), TokenFault::Expired),
        (json!({ "exp": (NOW + 300).to_string() }), TokenFault::Expired),
        (json!({ "iat": NOW + 61 }), TokenFault::IssuedAt),
        (json!({ "iat": NOW - 601 }), TokenFault::IssuedAt),
        (json!({ "iat": null }), TokenFault::IssuedAt),
        (json!({ "nbf": NOW + 61 }), TokenFault::IssuedAt),
        (json!({ "nbf": "now" }), TokenFault::IssuedAt),
        (json!({ "iss": "https://idp.example.com/" }), TokenFault::Issuer),
        (json!({ "iss": ["https://idp.example.com"] }), TokenFault::Issuer),
        (json!({ "aud": [] }), TokenFault::Audience),
        (json!({ "aud": "ME" }), TokenFault::Audience),
        (json!({ "aud": ["me", "me"] }), TokenFault::AuthorizedParty),
        (json!({ "azp": null }), TokenFault::AuthorizedParty),
        (json!({ "nonce": "" }), TokenFault::Nonce),
        (json!({ "nonce": ["n"] }), TokenFault::Nonce),
        (json!({ "sub": "" }), TokenFault::Subject),
        (json!({ "sub": 1 }), TokenFault::Subject),
        (json!({ "sub": "a\u{0}b" }), TokenFault::Subject),
        (json!({ "sub": "a".repeat(256) }), TokenFault::Subject),
    ] {
        assert_eq!(said(bad.clone()), Err(fault), "{bad}");
    }
}

#[test]
fn a_provider_elsewhere_has_no_endpoint_on_this_machine() {
    let issuer = "https://login.microsoftonline.com/9122040d/v2.0";
    for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
        for here in ["http://127.0.0.1:9000/admin", "http://localhost:1/", "http://[::1]/"] {
            let mut document = entra(issuer);
            document.insert(name.to_owned(), json!(here));
            let read = Metadata::read(&Issuer::new(issuer).unwrap(), &document);
            assert_eq!(read, Err(MetadataFault::Insecure(name)), "{here}");
        }
    }
    let local = "http://127.0.0.1:4000";
    let mut document = entra(local);
    document.insert("token_endpoint".to_owned(), json!("http://127.0.0.1:4000/token"));
    assert!(Metadata::read(&Issuer::new(local).unwrap(), &document).is_ok());
}
