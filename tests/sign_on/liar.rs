//! A provider that says whatever a test wants, with keys of its own: for what no real one can be made to say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// The access token that it gives.
pub(crate) const ACCESS_TOKEN: &str = "an access token";
/// The name of its key.
const KEY_ID: &str = "key-1";

/// How it signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Signing {
    /// As it should.
    #[default]
    Honest,
    /// Not at all, and says so: `alg` is `none`.
    None,
    /// With a shared secret, for which it takes its public key.
    PublicKeyAsSecret,
    /// With a key that it does not list, under the name of one that it does.
    ForeignKey,
    /// With a key that it does not list, under its own name.
    UnlistedKey,
    /// Other claims than it sends.
    OtherClaims,
    /// It demands an extension that nobody knows.
    Critical,
}

/// What the token endpoint does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TokenEndpoint {
    /// Gives tokens.
    #[default]
    Gives,
    /// Does not know the code.
    Refuses,
    /// Sends elsewhere.
    Redirects,
    /// Sends more than anybody reads.
    Floods,
    /// Sends no JSON.
    Chats,
    /// Gives no ID token.
    GivesNoIdToken,
    /// Says nothing.
    Hangs,
}

/// What it says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// The claims of the ID token.
    pub(crate) claims: Value,
    pub(crate) signing: Signing,
    pub(crate) token_endpoint: TokenEndpoint,
    /// What userinfo says.
    pub(crate) userinfo: Value,
    /// What is different in its discovery document; what is `null` is missing there.
    pub(crate) discovery: Value,
    /// In place of a discovery document.
    pub(crate) discovery_text: Option<&'static str>,
}

/// A running one; its thread ends with the process.
pub(crate) struct Liar {
    pub(crate) issuer: String,
    words: Arc<Mutex<Words>>,
}

impl Liar {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let words = Arc::new(Mutex::new(Words::default()));
        let (own, at) = (Arc::clone(&words), issuer.clone());
        let (key, foreign) = (Arc::new(Key::new()), Arc::new(Key::new()));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (words, at) = (own.lock().expect("no thread failed").clone(), at.clone());
                let (key, foreign) = (Arc::clone(&key), Arc::clone(&foreign));
                std::thread::spawn(move || serve(stream, &words, &at, &key, &foreign));
            }
        });
        Self { issuer, words }
    }

    /// What it says from now on.
    pub(crate) fn say(&self, words: Words) {
        *self.words.lock().expect("no thread failed") = words;
    }
}

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Self(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key"))
    }

    fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID, "x": encoded(x), "y": encoded(y) })
    }

    fn sign(&self, text: &str) -> String {
        encoded(self.0.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature").as_ref())
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `at_hash` of the access token under ES256.
pub(crate) fn access_token_hash() -> String {
    encoded(&digest(&SHA256, ACCESS_TOKEN.as_bytes()).as_ref()[..16])
}

fn id_token(words: &Words, key: &Key, foreign: &Key) -> String {
    let claims = encoded(words.claims.to_string());
    let token = |header: Value| format!("{}.{claims}", encoded(header.to_string()));
    let honest = token(json!({ "alg": "ES256", "kid": KEY_ID }));
    match words.signing {
        Signing::Honest => format!("{honest}.{}", key.sign(&honest)),
        Signing::None => format!("{}.", token(json!({ "alg": "none" }))),
        Signing::PublicKeyAsSecret => {
            let token = token(json!({ "alg": "HS256", "kid": KEY_ID }));
            let secret = hmac::Key::new(hmac::HMAC_SHA256, key.0.public_key().as_ref());
            format!("{token}.{}", encoded(hmac::sign(&secret, token.as_bytes())))
        }
        Signing::ForeignKey => format!("{honest}.{}", foreign.sign(&honest)),
        Signing::UnlistedKey => {
            let token = token(json!({ "alg": "ES256", "kid": "key-2" }));
            format!("{token}.{}", foreign.sign(&token))
        }
        Signing::OtherClaims => {
            let header = encoded(json!({ "alg": "ES256", "kid": KEY_ID }).to_string());
            let other = format!("{header}.{}", encoded(json!({ "sub": "other" }).to_string()));
            format!("{honest}.{}", key.sign(&other))
        }
        Signing::Critical => {
            let token = token(json!({ "alg": "ES256", "kid": KEY_ID, "crit": ["exp"], "exp": 1 }));
            format!("{token}.{}", key.sign(&token))
        }
    }
}

fn serve(mut stream: TcpStream, words: &Words, issuer: &str, key: &Key, foreign: &Key) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut head = String::new();
    let mut length = 0;
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
        let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
        if let Some(given) = line.strip_prefix("content-length:") {
            length = given.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (status, text) = match path {
        "/.well-known/openid-configuration" => (200, discovery(words, issuer)),
        "/jwks" => (200, json!({ "keys": [key.jwk()] }).to_string()),
        "/userinfo" => (200, words.userinfo.to_string()),
        "/token" => match token_answer(words, key, foreign) {
            Some(answer) => answer,
            None => {
                // Until the other side has had enough.
                drop(stream.read(&mut [0]));
                return;
            }
        },
        _ => (404, String::new()),
    };
    let location = if status == 302 { "location: https://example.com/\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n{location}content-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    // The other side may have hung up, as it should on a flood.
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())));
}

fn discovery(words: &Words, issuer: &str) -> String {
    if let Some(text) = words.discovery_text {
        return text.to_owned();
    }
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    for (name, value) in words.discovery.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    document.to_string()
}

fn token_answer(words: &Words, key: &Key, foreign: &Key) -> Option<(u16, String)> {
    let mut tokens = json!({ "access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": id_token(words, key, foreign) });
    Some(match words.token_endpoint {
        TokenEndpoint::Gives => (200, tokens.to_string()),
        TokenEndpoint::Refuses => (400, json!({ "error": "invalid_grant" }).to_string()),
        TokenEndpoint::Redirects => (302, String::new()),
        TokenEndpoint::Floods => (200, " ".repeat(8 << 20)),
        TokenEndpoint::Chats => (200, "hello".to_owned()),
        TokenEndpoint::GivesNoIdToken => {
            tokens["id_token"].take();
            (200, tokens.to_string())
        }
        TokenEndpoint::Hangs => return None,
    })
}
