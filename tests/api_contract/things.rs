//! What is there before the tester begins: an owner, and one thing of each kind for requests to be about, with another to be deleted.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::ledger::Ledger;
use crate::harness::server::MindWeave;

/// Who signs in.
pub(crate) const EMAIL: &str = "owner@contract.example.com";
/// Not one that many people use.
pub(crate) const PASSWORD: &str = "first horse battery staple";

/// A policy that holds nobody up.
const REGO: &str = "package mindweave\nimport rego.v1\ndeny contains {\"reason\": \"never\", \"message\": \"never\"} if { input.request.model == \"none\" }\n";

/// The ids that requests may name, as the tester's configuration has them.
pub(crate) struct Things {
    ledger: Ledger,
    dictionaries: String,
}

impl Things {
    /// Makes the owner by the link of the first start, and with its session all the rest.
    pub(crate) fn make(server: &MindWeave) -> Self {
        let link = std::fs::read_to_string(server.data_dir().join("owner-link")).expect("the owner's link");
        let (_, token) = link.trim().rsplit_once("?token=").expect("a link with a token");
        let owner = json!({ "token": token, "email": EMAIL, "name": "Owner", "password": PASSWORD });
        let session = server.ledger().post("/auth/setup", &owner);
        let access = session["access_token"].as_str().expect("an access token");
        let ledger = Ledger::new(server.control_plane, access);
        let mut things = Self { ledger, dictionaries: "\n[dictionaries]\n".to_owned() };
        let (org, project) = things.places();
        things.members(&org, &project);
        things.secrets(&org, &project);
        things.rules(&org);
        things.known();
        things
    }

    /// The part of the configuration that says which ids there are.
    pub(crate) fn dictionaries(&self) -> &str {
        &self.dictionaries
    }

    fn say(&mut self, name: &str, value: &str) {
        writeln!(self.dictionaries, "{name} = {{ values = [{value:?}] }}").expect("a text grows");
    }

    /// Makes one that stays, and one that is to be deleted; returns the first.
    fn pair(&mut self, name: &str, path: &str, body: impl Fn(&str) -> Value) -> String {
        let id = self.ledger.create(path, &body("first"));
        self.say(name, &id);
        let spare = self.ledger.create(path, &body("second"));
        self.say(&format!("spare_{name}"), &spare);
        id
    }

    fn places(&mut self) -> (String, String) {
        let orgs = self.ledger.get("/orgs");
        let org = orgs["data"][0]["id"].as_str().expect("the first organisation").to_owned();
        self.say("org", &org);
        let spare = self.ledger.create("/orgs", &json!({ "name": "spare" }));
        self.say("spare_org", &spare);
        let team = self.pair("team", &format!("/orgs/{org}/teams"), |name| json!({ "name": name }));
        let new = |name: &str| json!({ "name": name, "org_id": org, "team_id": team });
        let project = self.pair("project", "/projects", new);
        self.ledger
            .put(&format!("/projects/{project}/upstream"), &json!({ "api_key": "sk-ant-api03-contract" }));
        let event = json!({ "project_id": project, "model": "claude-sonnet-4-5", "input_tokens": 1, "output_tokens": 1 });
        self.ledger.post("/v1/track", &event);
        (org, project)
    }

    fn members(&mut self, org: &str, project: &str) {
        let accounts = format!("/orgs/{org}/service-accounts");
        let new = |name: &str| json!({ "name": name, "role": "developer" });
        let account = self.pair("service_account", &accounts, new);
        self.ledger.put(&format!("/projects/{project}/members/{account}"), &json!({ "role": "developer" }));
        let new = |name: &str| json!({ "name": name, "scopes": ["usage:read"] });
        self.pair("service_token", &format!("{accounts}/{account}/tokens"), new);
        self.pair("token", "/auth/tokens", new);
        let new = |name: &str| json!({ "email": format!("{name}@example.com"), "role": "developer" });
        self.pair("invitation", &format!("/orgs/{org}/invitations"), new);
    }

    fn secrets(&mut self, org: &str, project: &str) {
        self.pair("key", &format!("/projects/{project}/keys"), |name| json!({ "name": name }));
        let new = |name: &str| json!({ "api_key": format!("sk-ant-api03-of-{name}") });
        self.pair("credential", &format!("/projects/{project}/credentials"), new);
        let new = |name: &str| json!({ "name": name, "scopes": ["deliver"] });
        self.pair("proxy_token", "/proxies/tokens", new);
        let budget = |name: &str| json!({ "name": name, "org_id": org, "unit": "requests", "window": "day", "limit": 10 });
        self.pair("quota", "/governance/quotas", budget);
    }

    fn rules(&mut self, org: &str) {
        let new = |name: &str| json!({ "name": name, "org_id": org, "rego": REGO, "mode": "shadow" });
        self.pair("policy", "/governance/policies", new);
        let new =
            |name: &str| json!({ "name": name, "org_id": org, "metric": "requests_per_minute", "limit": 10 });
        self.pair("limit", "/governance/limits", new);
    }

    /// What needs no making, and a second session.
    fn known(&mut self) {
        let login = self.ledger.post("/auth/login", &json!({ "email": EMAIL, "password": PASSWORD }));
        self.say("spare_session", login["session_id"].as_str().expect("a session"));
        let bundled = self.ledger.get("/governance/policies/bundled");
        self.say("bundled", bundled["data"][0]["name"].as_str().expect("a policy that comes along"));
        self.say("version", "1");
        self.say("month", "2026-01");
    }
}
