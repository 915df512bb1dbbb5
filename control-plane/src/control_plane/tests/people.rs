//! People and their organisations, put into the database as they will stand there, whatever makes them.

use mindweave_policy::Fingerprint;
use serde_json::Value;

use super::*;
use crate::clock;
use crate::db::sql;
use crate::entropy;
use crate::snapshot::revision_raise;

/// Where somebody has a role.
#[derive(Clone, Copy, Debug)]
pub(super) enum At<'a> {
    Org,
    Team(&'a str),
    Project(&'a str),
}

impl<'a> At<'a> {
    /// The kind of place and its id, as role bindings have them.
    fn parts(self, org: &'a str) -> (&'static str, &'a str) {
        match self {
            Self::Org => ("org", org),
            Self::Team(id) => ("team", id),
            Self::Project(id) => ("project", id),
        }
    }
}

/// An id that nothing else has.
pub(super) fn new_id(prefix: &str) -> String {
    let random: [u8; 10] = entropy::bytes().unwrap();
    let event = mindweave_metering::EventId::generate(clock::now(), random).to_string();
    format!("{prefix}{}", event.replace('-', ""))
}

/// A new organisation.
pub(super) async fn org(server: &Server, name: &str) -> String {
    let id = new_id("org_");
    let insert = sql::query("INSERT INTO orgs (id, name, created_at, updated_at) VALUES (?, ?, ?, ?)")
        .bind(id.clone())
        .bind(name)
        .bind(now())
        .bind(now());
    commit(server, vec![insert]).await;
    id
}

/// A new team of an organisation.
pub(super) async fn team(server: &Server, org: &str, name: &str) -> String {
    let id = new_id("team_");
    let insert =
        sql::query("INSERT INTO teams (id, org_id, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?)")
            .bind(id.clone())
            .bind(org)
            .bind(name)
            .bind(now())
            .bind(now());
    commit(server, vec![insert]).await;
    id
}

/// A new project of an organisation, and of a team if there is one.
pub(super) async fn project(server: &Server, org: &str, team: Option<&str>, name: &str) -> String {
    let id = new_id("prj_");
    let insert = sql::query(
        "INSERT INTO projects (id, org_id, team_id, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(id.clone())
    .bind(org)
    .bind(team.map(str::to_owned))
    .bind(name)
    .bind(now())
    .bind(now());
    commit(server, vec![insert]).await;
    id
}

/// A person who has this role there; the answer is an access token of theirs without limits.
pub(super) async fn person(server: &Server, org: &str, at: At<'_>, role: &str) -> String {
    person_with(server, &[(org, at, role)], &["*"]).await
}

/// A person with these roles, and a token of these scopes.
pub(super) async fn person_with(server: &Server, roles: &[(&str, At<'_>, &str)], scopes: &[&str]) -> String {
    let user = new_id("usr_");
    let email = format!("{user}@example.com");
    let mut statements = vec![
        sql::query(
            "INSERT INTO users (id, email, email_key, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(user.clone())
        .bind(email.clone())
        .bind(email)
        .bind("somebody")
        .bind(now())
        .bind(now()),
    ];
    for (org, at, role) in roles {
        let (place, place_id) = at.parts(org);
        let insert = sql::query(
            "INSERT INTO role_bindings (id, principal_id, org_id, place, place_id, role, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let insert = insert.bind(new_id("rol_")).bind(user.clone()).bind(*org).bind(place).bind(place_id);
        statements.push(insert.bind(*role).bind(now()).bind(now()));
    }
    let token = new_id("mwp_");
    let insert = sql::query(
        "INSERT INTO api_tokens (id, principal_id, name, fingerprint, hint, scopes, created_by, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    );
    let insert = insert.bind(new_id("tok_")).bind(user.clone()).bind("a token");
    let insert = insert.bind(Fingerprint::of(token.as_bytes()).as_bytes().as_slice()).bind("last");
    statements.push(insert.bind(serde_json::to_string(scopes).unwrap()).bind(user).bind(now()));
    commit(server, statements).await;
    token
}

/// Makes a token useless.
pub(super) async fn token_revoke(server: &Server, token: &str) {
    let update = sql::query("UPDATE api_tokens SET revoked_at = ? WHERE fingerprint = ?")
        .bind(now())
        .bind(Fingerprint::of(token.as_bytes()).as_bytes().as_slice());
    commit(server, vec![update]).await;
}

/// Takes every role away from the holder of a token.
pub(super) async fn roles_revoke(server: &Server, token: &str) {
    let delete = sql::query(
        "DELETE FROM role_bindings WHERE principal_id = (SELECT principal_id FROM api_tokens WHERE fingerprint = ?)",
    )
    .bind(Fingerprint::of(token.as_bytes()).as_bytes().as_slice());
    commit(server, vec![delete]).await;
}

/// Changes something, and returns when the snapshot has it.
async fn commit(server: &Server, statements: Vec<sql::Query>) {
    let control_plane = &server.control_plane;
    let mut tx = control_plane.db.begin_write().await.unwrap();
    for statement in statements {
        assert!(
            statement.execute(&mut *tx).await.unwrap().rows_affected() > 0,
            "a statement that does nothing"
        );
    }
    let revision = revision_raise(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    control_plane.publisher.publish_through(revision).await;
}

fn now() -> i64 {
    clock::now().as_microsecond()
}

impl Client {
    /// Asks as the holder of a token.
    pub(super) fn call_as(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let headers =
            [("authorization", format!("Bearer {token}")), ("content-type", "application/json".into())];
        let body = body.map(|body| body.to_string().into_bytes());
        self.call_with(method, path, &headers, body.as_deref())
    }

    /// Reads as the holder of a token.
    pub(super) fn get_as(&self, token: &str, path: &str) -> Answer {
        self.call_as(token, "GET", path, None)
    }
}
