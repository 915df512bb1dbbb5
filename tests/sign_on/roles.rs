//! What people may do follows what their groups are, and no provider opens an account that is not its to open. The provider of these tests
//! tells groups and addresses at userinfo only.

use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::harness::ledger::Ledger;
use crate::harness::server::MindWeave;
use crate::provider::{CLIENT_SECRET, Provider};
use crate::{base, org_of};

struct Stage {
    server: MindWeave,
    provider: Provider,
    org: String,
}

impl Stage {
    fn start(people: &Value, settings: &Value) -> Self {
        let server = MindWeave::start("http://127.0.0.1:9");
        let provider = Provider::start(&base(&server), people, false);
        let org = org_of(&server);
        let mut made = json!({
            "id": "work", "name": "Work", "issuer": provider.issuer, "client_id": "basic", "client_secret": CLIENT_SECRET,
            "scopes": ["openid", "email", "profile", "groups"],
        });
        for (name, value) in settings.as_object().expect("an object") {
            made[name] = value.clone();
        }
        server.ledger().post(&format!("/orgs/{org}/sign-on"), &made);
        Self { server, provider, org }
    }

    fn sign_on(&self, login: &str) -> Page {
        let start = format!("{}/auth/oauth/work", base(&self.server));
        Browser::new().sign_on(&start, login, &format!("password of {login}"))
    }

    /// Signs somebody in who must be let in.
    fn session(&self, login: &str) -> Value {
        let page = self.sign_on(login);
        assert_eq!(page.status, 200, "{page:?}");
        page.json()
    }

    /// Why somebody is not let in, as the audit log has it.
    fn reason(&self, login: &str) -> String {
        let page = self.sign_on(login);
        assert_eq!((page.status, page.code()), (403, "sign_on_refused".to_owned()), "{page:?}");
        let entries = self.audit("user.login_failed");
        entries.last().expect("an entry")["after"]["reason"].as_str().expect("a reason").to_owned()
    }

    /// Entries of the organisation's log, oldest first.
    fn audit(&self, action: &str) -> Vec<Value> {
        let page = self.server.ledger().get(&format!("/audit?org_id={}&limit=500", self.org));
        let mut entries: Vec<Value> = page["data"].as_array().expect("entries").clone();
        entries.retain(|entry| entry["action"] == action);
        entries.sort_by_key(|entry| entry["sequence"].as_i64());
        entries
    }

    /// Roles of somebody here: `place:role:source`, sorted.
    fn roles(&self, user: &str) -> Vec<String> {
        let member = self.server.ledger().get(&format!("/orgs/{}/members/{user}", self.org));
        let roles = member["roles"].as_array().expect("roles").iter();
        let text = |role: &Value, name: &str| role[name].as_str().expect("a text").to_owned();
        let mut roles: Vec<String> = roles
            .map(|role| format!("{}:{}:{}", text(role, "place"), text(role, "role"), text(role, "source")))
            .collect();
        roles.sort();
        roles
    }
}

fn person(groups: &[&str]) -> Value {
    json!({ "email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace", "groups": groups })
}

fn user_of(session: &Value) -> String {
    session["user"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn roles_follow_groups_at_every_sign_in_and_what_was_given_by_hand_stays() {
    let stage = Stage::start(&json!({ "ada": person(&["eng"]) }), &json!({ "groups_claim": "groups" }));
    let (api, org) = (stage.server.ledger(), &stage.org);
    let team = api.create(&format!("/orgs/{org}/teams"), &json!({ "name": "Research" }));
    let mapping = json!([
        { "group": "eng", "role": "developer" },
        { "group": "leads", "role": "admin", "place": "team", "place_id": team },
        { "group": "finance", "role": "billing" },
    ]);
    assert_eq!(stage.reason("ada"), "no_role", "before any group is mapped");
    api.patch(&format!("/orgs/{org}/sign-on/work"), &json!({ "role_mapping": mapping }));
    let session = stage.session("ada");
    let user = user_of(&session);
    assert_eq!(stage.roles(&user), ["org:developer:work"]);
    // A group more, the other one less, and a role by hand.
    stage.provider.control(&json!({ "accounts": { "ada": person(&["leads", "finance", "unknown"]) } }));
    assert_eq!(user_of(&stage.session("ada")), user);
    assert_eq!(stage.roles(&user), ["org:billing:work", "team:admin:work"]);
    api.put(&format!("/orgs/{org}/members/{user}"), &json!({ "role": "auditor" }));
    stage.provider.control(&json!({ "accounts": { "ada": person(&[]) } }));
    stage.session("ada");
    assert_eq!(stage.roles(&user), ["org:auditor:manual"]);
    // Each change is on the log.
    for action in ["member.added", "member.role_changed", "member.removed"] {
        let entries = stage.audit(action);
        assert!(
            !entries.is_empty() && entries.iter().all(|entry| entry["target"]["kind"] == "member"),
            "{action}"
        );
    }
    // Whoever loses all roles is refused, and has none any more where they are signed in already.
    let token = stage.session("ada")["access_token"].as_str().expect("a token").to_owned();
    api.delete(&format!("/orgs/{org}/members/{user}"));
    assert_eq!(stage.reason("ada"), "no_role");
    let page = Ledger::new(stage.server.control_plane, &token).get("/orgs");
    assert_eq!(page["data"], json!([]), "{page}");
}

#[test]
fn a_provider_opens_no_account_that_is_not_its_to_open() {
    let people = json!({
        "ada": { "email": "ada@example.com", "email_verified": true },
        "bob": { "email": "bob@example.com", "email_verified": false },
        "eve": { "email": "eve@elsewhere.example", "email_verified": true },
        "mute": { "name": "Nobody" },
    });
    let settings =
        json!({ "domains": ["Example.com"], "default_role": "developer", "provisioning": "members_only" });
    let stage = Stage::start(&people, &settings);
    let (api, path) = (stage.server.ledger(), format!("/orgs/{}/sign-on/work", stage.org));
    assert_eq!(api.get(&path)["domains"], json!(["example.com"]));
    for (login, reason) in
        [("ada", "not_a_member"), ("bob", "email_unverified"), ("eve", "domain"), ("mute", "email_missing")]
    {
        assert_eq!(stage.reason(login), reason, "{login}");
    }
    api.patch(&path, &json!({ "provisioning": "just_in_time" }));
    let ada = stage.session("ada");
    assert_eq!(stage.roles(&user_of(&ada)), ["org:developer:work"]);
    assert_eq!(ada["user"]["email_verified"], json!(false), "a provider's word is its organisation's only");
    // Another person at the provider who now says to have Ada's address is not Ada.
    stage
        .provider
        .control(&json!({ "accounts": { "eve": { "email": "ADA@example.com", "email_verified": true } } }));
    assert_eq!(stage.reason("eve"), "account_exists");
    // Ada stays Ada, whatever her address becomes there.
    stage.provider.control(
        &json!({ "accounts": { "ada": { "email": "countess@example.com", "email_verified": true } } }),
    );
    assert_eq!(user_of(&stage.session("ada")), user_of(&ada));
    // Names of providers are told by domain, and nothing of people.
    let names = |email: &str| {
        Browser::new().get(&format!("{}/auth/providers?email={email}", base(&stage.server))).json()
    };
    let known = json!({ "data": [{ "id": "work", "name": "Work" }] });
    assert_eq!(names("ada%40example.com"), known);
    assert_eq!(names("nobody%40EXAMPLE.com"), known);
    assert_eq!(names("ada%40elsewhere.example"), json!({ "data": [] }));
}

#[test]
fn a_provider_that_is_switched_off_or_deleted_takes_its_sessions_and_roles_along() {
    let stage = Stage::start(&json!({ "ada": person(&[]) }), &json!({ "default_role": "developer" }));
    let (api, path) = (stage.server.ledger(), format!("/orgs/{}/sign-on/work", stage.org));
    let works = |session: &Value| {
        let token = session["access_token"].as_str().expect("a token");
        let answer = ureq::get(format!("http://{}/auth/me", stage.server.control_plane))
            .header("authorization", format!("Bearer {token}"))
            .config()
            .http_status_as_error(false)
            .build()
            .call();
        answer.expect("an answer").status().as_u16()
    };
    let session = stage.session("ada");
    assert_eq!(works(&session), 200);
    stage.provider.control(&json!({ "away": true }));
    api.patch(&path, &json!({ "enabled": false }));
    assert_eq!(works(&session), 401, "also while the provider is away");
    assert_eq!(Browser::new().get(&format!("{}/auth/oauth/work", base(&stage.server))).status, 404);
    stage.provider.control(&json!({ "away": false }));
    // The secret goes to no other issuer than the one that it was given for.
    let elsewhere = ureq::patch(format!("http://{}{path}", stage.server.control_plane))
        .header("authorization", format!("Bearer {}", crate::harness::server::ADMIN_TOKEN))
        .config()
        .http_status_as_error(false)
        .build()
        .send_json(json!({ "issuer": "https://accounts.example.com" }));
    let mut elsewhere = elsewhere.expect("an answer");
    assert_eq!(elsewhere.status().as_u16(), 422);
    let problem: Value = elsewhere.body_mut().read_json().expect("a problem");
    assert_eq!(problem["errors"][0]["field"], "client_secret", "{problem}");
    api.patch(&path, &json!({ "enabled": true }));
    let session = stage.session("ada");
    let user = user_of(&session);
    assert_eq!(stage.roles(&user), ["org:developer:work"]);
    api.delete(&path);
    assert_eq!(works(&session), 401);
    let members = api.get(&format!("/orgs/{}/members", stage.org));
    assert!(!members.to_string().contains(&user), "{members}");
    for action in ["sign_on.created", "sign_on.updated", "sign_on.deleted"] {
        let entries = stage.audit(action);
        assert!(!entries.is_empty(), "{action}");
        assert!(entries.iter().all(|entry| !entry.to_string().contains(CLIENT_SECRET)), "{action}");
    }
}

#[test]
fn somebody_with_an_account_links_the_provider_while_signed_in() {
    let people =
        json!({ "ada": person(&[]), "other": { "email": "other@example.com", "email_verified": true } });
    let stage = Stage::start(&people, &json!({ "default_role": "developer" }));
    let at = base(&stage.server);
    let session = stage.session("ada");
    let token = session["access_token"].as_str().expect("a token");
    let browser = Browser::new();
    let link = format!("{at}/auth/oauth/work/link");
    assert_eq!(browser.post_json(&link, None, &json!({})).status, 401);
    let admin = Some(crate::harness::server::ADMIN_TOKEN);
    assert_eq!(browser.post_json(&link, admin, &json!({})).code(), "sign_in_required");
    let begun = browser.post_json(&link, Some(token), &json!({ "return_to": "/account" }));
    let to = begun.json()["authorization_url"].as_str().expect("an address").to_owned();
    let is_callback = |url: &str| url.contains("/auth/oauth/callback?");
    let begun = browser.get(&to);
    let back = browser.log_in(begun, "other", "password of other", is_callback);
    assert_eq!(Browser::new().get(&back).status, 400, "only in the browser that asked");
    assert_eq!(browser.get(&back).location.as_deref(), Some("/account?linked=work"));
    assert_eq!(user_of(&stage.session("other")), user_of(&session), "both are Ada now");
}
