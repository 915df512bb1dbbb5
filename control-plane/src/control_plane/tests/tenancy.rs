//! Two whole organisations, with people of every role in every place, who try what there is to do in the one of them.

use mindweave_policy::Fingerprint;
use serde_json::{Value, json};

use super::people::{new_id, project};
use super::*;
use crate::clock;
use crate::db::sql;

on_every_engine!(everybody_does_what_their_role_allows_where_it_was_given_and_nothing_else);

/// Somebody who is signed in.
pub(super) struct Person {
    pub(super) id: String,
    pub(super) email: String,
    /// An access token of a session.
    pub(super) token: String,
}

impl Person {
    /// A new one without roles, who has proved that the address is theirs.
    pub(super) async fn new(server: &Server, name: &str) -> Self {
        Self::with_address(server, name, Some(1)).await
    }

    /// A new one, and when the address was proved.
    pub(super) async fn with_address(server: &Server, name: &str, verified_at: Option<i64>) -> Self {
        let (id, session, token) = (new_id("usr_"), new_id("ses_"), new_id("mwa_"));
        let email = format!("{name}.{id}@example.com");
        let (now, later) = (clock::now().as_microsecond(), i64::MAX / 2);
        let mut tx = server.control_plane.db.begin_write().await.unwrap();
        let person = sql::query(
            "INSERT INTO users (id, email, email_key, name, email_verified_at, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        );
        let person = person.bind(&id).bind(&email).bind(&email).bind(name).bind(verified_at);
        person.bind(now).bind(now).execute(&mut *tx).await.unwrap();
        let begun = sql::query(
            "INSERT INTO sessions (id, user_id, method, created_at, last_used_at, expires_at)
             VALUES (?, ?, 'password', ?, ?, ?)",
        );
        begun.bind(&session).bind(&id).bind(now).bind(now).bind(later).execute(&mut *tx).await.unwrap();
        let given = sql::query(
            "INSERT INTO session_tokens (fingerprint, session_id, kind, created_at, expires_at)
             VALUES (?, ?, 'access', ?, ?)",
        );
        let fingerprint = Fingerprint::of(token.as_bytes());
        let given = given.bind(fingerprint.as_bytes().as_slice()).bind(&session).bind(now).bind(later);
        given.execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        Self { id, email, token }
    }

    /// A new one with a role in a place, which its path names: `/orgs/org_..`.
    pub(super) async fn in_role(server: &Server, place: &str, role: &str) -> Self {
        let person = Self::new(server, role).await;
        person.given(server, place, role);
        person
    }

    /// Gives a role with the admin token.
    pub(super) fn given(&self, server: &Server, place: &str, role: &str) {
        let answer = server.client.put(&self.member_path(place), &json!({ "role": role }));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Where they are as a member of a place.
    pub(super) fn member_path(&self, place: &str) -> String {
        format!("{place}/members/{}", self.id)
    }

    pub(super) fn call(&self, server: &Server, method: &str, path: &str, body: Option<&Value>) -> Answer {
        server.client.call_as(&self.token, method, path, body)
    }

    pub(super) fn get(&self, server: &Server, path: &str) -> Answer {
        self.call(server, "GET", path, None)
    }
}

const ROLES: [&str; 5] = ["owner", "admin", "developer", "billing", "auditor"];
const EVERYBODY: &[&str] = &ROLES;
const MANAGERS: &[&str] = &["owner", "admin"];
/// Those who see who the members are.
const WATCHERS: &[&str] = &["owner", "admin", "developer", "auditor"];

/// Where a role was given, and what an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Org,
    Team,
    Project,
}

const LEVELS: [Level; 3] = [Level::Org, Level::Team, Level::Project];

impl Level {
    /// Whether a role given here holds there: a team has the project, the organisation has both.
    fn holds_in(self, about: Self) -> bool {
        matches!(
            (self, about),
            (Self::Org, _) | (Self::Team, Self::Team | Self::Project) | (Self::Project, Self::Project)
        )
    }
}

/// An organisation with a team, a project of the team, and a member with nothing but a role in another project.
struct Tenant {
    org: String,
    team: String,
    project: String,
    bystander: Person,
}

impl Tenant {
    async fn new(server: &Server, name: &str) -> Self {
        let made = server.client.post("/orgs", &json!({ "name": name }));
        assert_eq!(made.status, 201, "{}", made.body);
        let org = format!("/orgs/{}", made.body["id"].as_str().unwrap());
        assert_eq!(made.header("location"), org);
        let id = org.trim_start_matches("/orgs/");
        let team = server.client.post(&format!("{org}/teams"), &json!({ "name": "payments" }));
        assert_eq!(team.status, 201, "{}", team.body);
        let team = format!("/teams/{}", team.body["id"].as_str().unwrap());
        let team_id = team.trim_start_matches("/teams/");
        let checkout = project(server, id, Some(team_id), "checkout").await;
        let other = project(server, id, None, "search").await;
        let bystander = Person::in_role(server, &format!("/projects/{other}"), "auditor").await;
        Self { org, team, project: format!("/projects/{checkout}"), bystander }
    }

    fn place(&self, level: Level) -> &str {
        match level {
            Level::Org => &self.org,
            Level::Team => &self.team,
            Level::Project => &self.project,
        }
    }

    /// What is tried: how, where, with what, and which roles may.
    fn operations(&self) -> Vec<(Level, &'static str, String, Value, &'static [&'static str])> {
        let member = |level| self.bystander.member_path(self.place(level));
        let (role, new) = (json!({ "role": "auditor" }), new_id(""));
        let invited = json!({ "email": format!("{new}@example.com"), "role": "auditor" });
        let mut tried = vec![
            (Level::Org, "PATCH", self.org.clone(), json!({ "time_zone": "UTC" }), MANAGERS),
            (Level::Org, "POST", format!("{}/teams", self.org), json!({ "name": new }), MANAGERS),
            (Level::Org, "POST", format!("{}/invitations", self.org), invited, MANAGERS),
            (Level::Org, "GET", format!("{}/invitations", self.org), Value::Null, WATCHERS),
            (Level::Org, "GET", format!("{}/usage", self.org), Value::Null, EVERYBODY),
            (
                Level::Org,
                "GET",
                format!("{}/invoices", self.org),
                Value::Null,
                &["owner", "admin", "billing", "auditor"],
            ),
            (Level::Team, "GET", self.team.clone(), Value::Null, EVERYBODY),
            (Level::Team, "PATCH", self.team.clone(), json!({ "name": "payments" }), MANAGERS),
            (Level::Project, "GET", self.project.clone(), Value::Null, EVERYBODY),
        ];
        for level in LEVELS {
            let members = format!("{}/members", self.place(level));
            tried.push((level, "GET", members, Value::Null, WATCHERS));
            tried.push((level, "PUT", member(level), role.clone(), MANAGERS));
        }
        tried
    }
}

async fn everybody_does_what_their_role_allows_where_it_was_given_and_nothing_else() {
    let server = Server::start().await;
    let (ours, theirs) = (Tenant::new(&server, "ours").await, Tenant::new(&server, "theirs").await);
    for (role, given_in) in ROLES.iter().flat_map(|role| LEVELS.map(|level| (*role, level))) {
        let member = Person::in_role(&server, ours.place(given_in), role).await;
        let stranger = Person::in_role(&server, theirs.place(given_in), role).await;
        for (about, method, path, body, roles) in ours.operations() {
            let body = Some(&body).filter(|body| !body.is_null());
            let answer = member.call(&server, method, &path, body);
            let holds = given_in.holds_in(about);
            let expected = match (holds, roles.contains(&role)) {
                (true, true) if method == "POST" => 201,
                (true, true) => 200,
                (true, false) => 403,
                (false, _) if about == Level::Org => 403, // who has a role anywhere in it sees that there is the organisation
                (false, _) => 404,
            };
            let who = format!("{role} in {given_in:?}: {method} {path}: {}", answer.body);
            assert_eq!(answer.status, expected, "{who}");
            let foreign = stranger.call(&server, method, &path, body);
            assert_eq!((foreign.status, foreign.code()), (404, "not_found"), "a foreign {who}");
        }
        sees_its_own_organisation_only(&server, &member, &ours);
        sees_its_own_organisation_only(&server, &stranger, &theirs);
    }
    server.control_plane.shutdown().await;
}

fn sees_its_own_organisation_only(server: &Server, person: &Person, own: &Tenant) {
    let orgs = person.get(server, "/orgs").body;
    let listed: Vec<_> = orgs["data"].as_array().unwrap().iter().map(|org| org["id"].as_str()).collect();
    assert_eq!(listed, [own.org.strip_prefix("/orgs/")]);
    assert_eq!(person.get(server, &own.org).status, 200);
    let teams = person.get(server, &format!("{}/teams", own.org));
    assert_eq!(teams.status, 200, "{}", teams.body);
}
