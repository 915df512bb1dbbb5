//! How often a provider's keys are asked for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mindweave_policy::Secret;
use serde_json::{Value, json};

use super::super::{Binding, Callback, Issuer, Oidc, OidcError, Registration, TokenFault};
use super::tokens::Signer;

const NOW: i64 = 1_700_000_000;

/// A provider that counts how often its keys are asked for; its thread ends with the process.
struct Counting {
    issuer: String,
    asked: Arc<AtomicUsize>,
    keys: Arc<Mutex<Value>>,
    id_token: Arc<Mutex<String>>,
}

impl Counting {
    fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (asked, keys) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(keys)));
        let id_token = Arc::new(Mutex::new(String::new()));
        let counting = Self { issuer, asked, keys, id_token };
        let (at, asked) = (counting.issuer.clone(), Arc::clone(&counting.asked));
        let (keys, id_token) = (Arc::clone(&counting.keys), Arc::clone(&counting.id_token));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let tokens = json!({ "id_token": *id_token.lock().unwrap() });
                let keys = json!({ "keys": *keys.lock().unwrap() });
                answer(stream, &at, &tokens, &keys, &asked);
            }
        });
        counting
    }

    fn sign_on(&self, oidc: &Oidc, signer: &Signer, header: &Value) -> Result<(), OidcError> {
        let binding = Binding::generate().unwrap();
        let claims = json!({
            "iss": self.issuer, "aud": "me", "sub": "1", "nonce": binding.nonce(), "iat": NOW, "exp": NOW + 300, "email": "a@b.c",
        });
        *self.id_token.lock().unwrap() = signer.token(&header.to_string(), &claims.to_string());
        let registration = Registration {
            issuer: Issuer::new(&self.issuer).unwrap(),
            client_id: "me".into(),
            client_secret: None,
            scopes: vec!["openid".into()],
            groups_claim: None,
        };
        let callback = Callback {
            code: Secret::new("c".to_owned()),
            issuer: None,
            redirect_uri: "http://localhost/".to_owned(),
        };
        oidc.sign_on(&registration, &binding, &callback, NOW).map(drop)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream, at: &str, tokens: &Value, keys: &Value, asked: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
        let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
        if let Some(given) = line.strip_prefix("content-length:") {
            length = given.trim().parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let body = match head.split(' ').nth(1).unwrap_or_default() {
        "/jwks" => {
            asked.fetch_add(1, Ordering::SeqCst);
            keys.to_string()
        }
        "/token" => tokens.to_string(),
        _ => json!({
            "issuer": at, "authorization_endpoint": format!("{at}/authorize"), "token_endpoint": format!("{at}/token"),
            "jwks_uri": format!("{at}/jwks"), "response_types_supported": ["code"],
        })
        .to_string(),
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
}

#[test]
fn tokens_of_unknown_keys_do_not_have_the_keys_asked_for_again_and_again() {
    let (listed, other) = (Signer::new(), Signer::new());
    let provider = Counting::start(json!([listed.jwk(json!({}))]));
    let oidc = Oidc::new();
    let (named, unnamed) = (json!({ "alg": "ES256", "kid": "one" }), json!({ "alg": "ES256" }));
    assert_eq!(provider.sign_on(&oidc, &listed, &named), Ok(()));
    assert_eq!(provider.asked(), 1);
    for number in 0..5 {
        let header = json!({ "alg": "ES256", "kid": format!("made-up-{number}") });
        let refused = provider.sign_on(&oidc, &other, &header);
        assert_eq!(refused, Err(OidcError::Token(TokenFault::UnknownKey)));
        let refused = provider.sign_on(&oidc, &other, &unnamed);
        assert_eq!(refused, Err(OidcError::Token(TokenFault::Signature)));
    }
    assert_eq!(provider.asked(), 2, "one look was in vain, and then none for a while");
    assert_eq!(provider.sign_on(&oidc, &listed, &named), Ok(()), "others go on");
}

#[test]
fn a_key_that_is_new_is_found_at_once_however_often_they_change() {
    let provider = Counting::start(json!([]));
    let oidc = Oidc::new();
    for number in 1..5 {
        let signer = Signer::new();
        let kid = format!("key-{number}");
        *provider.keys.lock().unwrap() = json!([signer.jwk(json!({ "kid": kid }))]);
        assert_eq!(provider.sign_on(&oidc, &signer, &json!({ "alg": "ES256", "kid": kid })), Ok(()));
        assert_eq!(provider.asked(), number);
    }
}
