use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mindweave_test_servers::PasskeyBrowser;
use serde_json::{Value, json};

use super::*;

const ORIGIN: &str = "https://mindweave.example.com";
const ADA: Person<'_> = Person { id: "usr_ada", name: "ada@example.com", display_name: "Ada Lovelace" };

fn here() -> RelyingParty {
    RelyingParty::new(ORIGIN).unwrap()
}

/// Ada's passkey, and the browser that has it.
async fn registered() -> (PasskeyBrowser, Passkey) {
    let mut browser = PasskeyBrowser::new(ORIGIN);
    let started = here().start_registration(ADA, &[]).unwrap();
    let answer = browser.create(&started.options).await.unwrap();
    let passkey = here().finish_registration(&started.state, &answer).unwrap();
    (browser, passkey)
}

#[tokio::test]
async fn a_passkey_signs_its_owner_in_and_nobody_else() {
    let (mut browser, mut passkey) = registered().await;
    for _ in 0..2 {
        let started = here().start_login().unwrap();
        let answer = browser.get(&started.options).await.unwrap();
        assert_eq!(RelyingParty::credential_id(&answer).unwrap(), passkey.credential_id);
        let other = here().finish_login(&started.state, &answer, "usr_eve", &mut passkey);
        assert_eq!(other, Err(PasskeyError::Refused), "the handle is Ada's");
        let before = passkey.clone();
        here().finish_login(&started.state, &answer, ADA.id, &mut passkey).unwrap();
        assert_ne!(passkey, before, "its counter went on");
    }
}

#[tokio::test]
async fn a_passkey_is_a_second_factor_of_its_owner() {
    let (mut browser, mut passkey) = registered().await;
    let started = here().start_second_factor(std::slice::from_ref(&passkey)).unwrap();
    assert_eq!(started.options["allowCredentials"].as_array().unwrap().len(), 1);
    let answer = browser.get(&started.options).await.unwrap();
    here().finish_second_factor(&started.state, &answer, ADA.id, &mut passkey).unwrap();
    // Another person's passkey is not among those that were asked for.
    let (mut other_browser, mut other) = registered().await;
    let any = here().start_login().unwrap();
    let answer = other_browser.get(&any.options).await.unwrap();
    let taken = here().finish_second_factor(&started.state, &answer, ADA.id, &mut other);
    assert_eq!(taken, Err(PasskeyError::Refused));
}

#[tokio::test]
async fn a_cloned_authenticator_is_noticed_by_its_counter() {
    let (mut browser, mut passkey) = registered().await;
    let mut clone = browser.cloned();
    let started = here().start_login().unwrap();
    let answer = browser.get(&started.options).await.unwrap();
    here().finish_login(&started.state, &answer, ADA.id, &mut passkey).unwrap();
    let started = here().start_login().unwrap();
    let answer = clone.get(&started.options).await.unwrap();
    let taken = here().finish_login(&started.state, &answer, ADA.id, &mut passkey);
    assert_eq!(taken, Err(PasskeyError::Refused), "the clone signs with a counter that was seen");
}

#[tokio::test]
async fn an_answer_is_good_for_its_own_challenge_only() {
    let (mut browser, mut passkey) = registered().await;
    let (first, second) = (here().start_login().unwrap(), here().start_login().unwrap());
    let answer = browser.get(&first.options).await.unwrap();
    let taken = here().finish_login(&second.state, &answer, ADA.id, &mut passkey);
    assert_eq!(taken, Err(PasskeyError::Refused));
    let second = here().start_registration(ADA, &[]).unwrap();
    let made =
        PasskeyBrowser::new(ORIGIN).create(&here().start_registration(ADA, &[]).unwrap().options).await;
    assert_eq!(here().finish_registration(&second.state, &made.unwrap()), Err(PasskeyError::Refused));
}

#[tokio::test]
async fn an_answer_from_a_page_of_somebody_else_is_refused() {
    let (browser, mut passkey) = registered().await;
    // A subdomain may use the domain's passkeys as far as the browser goes; we take our own origin only.
    let mut lured = browser.lured_to("https://evil.mindweave.example.com");
    let started = here().start_login().unwrap();
    let answer = lured.get(&started.options).await.unwrap();
    assert_eq!(
        here().finish_login(&started.state, &answer, ADA.id, &mut passkey),
        Err(PasskeyError::Refused)
    );
    assert!(browser.lured_to("https://mindweave.example.org").get(&started.options).await.is_err());
}

#[tokio::test]
async fn whoever_the_authenticator_does_not_recognise_gets_nowhere() {
    let (browser, mut passkey) = registered().await;
    let started = here().start_login().unwrap();
    let mut options = started.options.clone();
    options["userVerification"] = json!("discouraged"); // what a tampered page asks for
    let answer = browser.stolen().get(&options).await.unwrap();
    assert_eq!(
        here().finish_login(&started.state, &answer, ADA.id, &mut passkey),
        Err(PasskeyError::Refused)
    );
}

#[tokio::test]
async fn an_altered_answer_is_refused() {
    let (mut browser, mut passkey) = registered().await;
    let started = here().start_login().unwrap();
    let answer = browser.get(&started.options).await.unwrap();
    for field in ["authenticatorData", "clientDataJSON", "signature"] {
        let mut altered = answer.clone();
        let text = altered["response"][field].as_str().unwrap().to_owned();
        let middle = text.len() / 2;
        let other = if text.as_bytes()[middle] == b'A' { 'B' } else { 'A' };
        altered["response"][field] = changed_at(&text, middle, other).into();
        let taken = here().finish_login(&started.state, &altered, ADA.id, &mut passkey);
        assert!(taken.is_err(), "{field}");
    }
    for malformed in [Value::Null, json!({}), json!({ "id": "x", "response": {} }), json!([1])] {
        let taken = here().finish_login(&started.state, &malformed, ADA.id, &mut passkey);
        assert_eq!(taken, Err(PasskeyError::Malformed));
        assert!(RelyingParty::credential_id(&malformed).is_err());
    }
    here().finish_login(&started.state, &answer, ADA.id, &mut passkey).unwrap();
}

#[tokio::test]
async fn authenticators_are_told_which_passkeys_there_are() {
    let (_, passkey) = registered().await;
    let started = here().start_registration(ADA, std::slice::from_ref(&passkey)).unwrap();
    let id = URL_SAFE_NO_PAD.encode(&passkey.credential_id);
    assert_eq!(started.options["excludeCredentials"][0]["id"], id);
    assert_eq!(started.options["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(started.options["authenticatorSelection"]["residentKey"], "required");
    assert_eq!(started.options["rp"]["id"], "mindweave.example.com");
}

#[tokio::test]
async fn a_passkey_can_be_stored_and_read() {
    let (_, passkey) = registered().await;
    let text = serde_json::to_string(&passkey).unwrap();
    let mut read: Passkey = serde_json::from_str(&text).unwrap();
    read.credential_id.clone_from(&passkey.credential_id);
    assert_eq!(read, passkey);
}

#[test]
fn passkeys_belong_to_a_host_name_in_a_secure_context() {
    let origin = |url| RelyingParty::new(url).map(|here| here.origin);
    assert_eq!(origin("https://Mindweave.Example.com:443/"), Ok("https://mindweave.example.com".into()));
    assert_eq!(origin("https://mindweave.example.com:8443"), Ok("https://mindweave.example.com:8443".into()));
    assert_eq!(origin("http://localhost:8080"), Ok("http://localhost:8080".into()));
    assert_eq!(origin("http://mindweave.example.com"), Err(RelyingPartyError::NotSecure));
    for url in ["https://10.0.0.1", "https://[::1]:8443", "http://127.0.0.1:8080", "/", ""] {
        assert_eq!(origin(url), Err(RelyingPartyError::NotADomain), "{url}");
    }
}

#[test]
fn names_that_authenticators_cannot_show_do_not_stop_anybody() {
    let odd = Person { id: "usr_1", name: "ada lovelace\u{200b}@example.com", display_name: " " };
    let started = here().start_registration(odd, &[]).unwrap();
    assert_eq!(started.options["user"]["name"], "usr_1");
    assert_eq!(started.options["user"]["displayName"], "");
}

/// A text with another character in this place.
fn changed_at(text: &str, place: usize, other: char) -> String {
    text.chars().enumerate().map(|(at, char)| if at == place { other } else { char }).collect()
}
