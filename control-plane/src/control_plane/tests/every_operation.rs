//! Every operation of the API, as its own description has it, tried by everybody: each role of the organisation, owners of another one,
//! tokens of narrow scope, and nobody at all. An operation that says nothing of who may use it fails here.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::people::{At, org, person, person_with, project, team};
use super::*;

on_every_engine!(every_operation_is_open_to_those_it_is_for_and_to_nobody_else);

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];
const ROLES: [&str; 5] = ["auditor", "billing", "developer", "admin", "owner"];

/// What each role may, written down once more: the table of docs/tenancy.md.
fn may(role: &str, access: &str) -> bool {
    let (area, verb) = access.split_once(':').unwrap();
    let areas = |list: &str| list.split(' ').any(|one| one == area);
    match (role, verb) {
        _ if area == "installation" => false,
        ("owner", _) | ("auditor", "read") => true,
        ("admin", _) => access != "privacy:write",
        ("developer", "read") => !areas("audit billing sign_on privacy"),
        ("developer", "write") => areas("keys events"),
        ("billing", "read") => areas("org teams projects usage billing governance"),
        ("billing", "write") => area == "billing",
        _ => false,
    }
}

/// An operation of the description.
struct Operation {
    id: String,
    method: String,
    path: String,
    access: String,
    has_body: bool,
    streams: bool,
}

impl Operation {
    fn all(document: &Value) -> Vec<Self> {
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let id = operation["operationId"]
                    .as_str()
                    .unwrap_or_else(|| panic!("{method} {path} has no name"));
                let access = operation["x-access"].as_str();
                let answers = operation["responses"]["200"]["content"].as_object();
                operations.push(Self {
                    id: id.to_owned(),
                    method: method.to_uppercase(),
                    path: path.clone(),
                    access: access.unwrap_or_else(|| panic!("{id} does not say who may use it")).to_owned(),
                    has_body: operation.get("requestBody").is_some(),
                    streams: answers.is_some_and(|answers| answers.contains_key("text/event-stream")),
                });
            }
        }
        operations
    }

    /// Whether it names what it is about. Others are lists, or make something.
    fn names_something(&self) -> bool {
        self.path.contains('{')
    }

    /// Whether trying it shows who may use it. What is public or about oneself has tests of its own.
    fn is_ruled_by_roles(&self) -> bool {
        self.access.contains(':')
    }

    fn url(&self, ids: &BTreeMap<&str, String>) -> String {
        let mut url = String::new();
        for piece in self.path.split_inclusive(['{', '}']) {
            match piece.strip_suffix('}') {
                Some(name) => {
                    url.push_str(
                        ids.get(name).unwrap_or_else(|| panic!("no example of {name}, in {}", self.id)),
                    );
                }
                None => url.push_str(piece.trim_end_matches('{')),
            }
        }
        url
    }

    /// Tries it with an empty body, and based on a version that there is not: who may use it gets as far as that.
    fn try_as(&self, client: &Client, token: Option<&str>, ids: &BTreeMap<&str, String>) -> Answer {
        let mut headers = vec![("if-match", "\"no-such-version\"".to_owned())];
        headers.extend(token.map(|token| ("authorization", format!("Bearer {token}"))));
        let body = self.has_body.then_some(b"{}".as_slice());
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        if self.streams {
            return client.head_of(&self.method, &self.url(ids), &headers);
        }
        client.call_with(&self.method, &self.url(ids), &headers, body)
    }
}

impl Client {
    /// The answer's head alone: its body may have no end.
    fn head_of(&self, method: &str, path: &str, headers: &[(&str, String)]) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = tokio::task::block_in_place(|| self.agent.run(request.body(()).unwrap())).unwrap();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), body: Value::Null }
    }
}

/// An organisation with one of everything that a path can name.
async fn tenant(server: &Server) -> BTreeMap<&'static str, String> {
    let org_id = org(server, "first").await;
    let team_id = team(server, &org_id, "red").await;
    let project_id = project(server, &org_id, None, "checkout").await;
    let client = &server.client;
    let made = |path: &str, body: Value| {
        let answer = client.post(path, &body);
        assert!(matches!(answer.status, 200 | 201), "POST {path}: {} {}", answer.status, answer.body);
        answer.body["id"].as_str().unwrap_or_else(|| panic!("POST {path}: {}", answer.body)).to_owned()
    };
    let mut ids = BTreeMap::new();
    let of_org = |rest: &str| format!("/orgs/{org_id}/{rest}");
    let of_project = |rest: &str| format!("/projects/{project_id}/{rest}");
    ids.insert("key_id", made(&of_project("keys"), json!({"name": "k"})));
    ids.insert(
        "credential_id",
        made(&of_project("credentials"), json!({"api_key": "sk-ant-api03-every-operation"})),
    );
    let rego = "package p\nimport rego.v1\ndeny contains \"no\" if input.request.model == \"x\"\n";
    ids.insert(
        "policy_id",
        made("/governance/policies", json!({"name": "p", "rego": rego, "org_id": org_id})),
    );
    let limit = json!({"name": "l", "metric": "requests_per_minute", "limit": 5, "org_id": org_id});
    ids.insert("limit_id", made("/governance/limits", limit));
    let quota = json!({"name": "q", "unit": "requests", "window": "day", "limit": 5, "org_id": org_id});
    ids.insert("quota_id", made("/governance/quotas", quota));
    ids.insert(
        "invitation_id",
        made(&of_org("invitations"), json!({"email": "a@example.com", "role": "auditor"})),
    );
    let account = made(&of_org("service-accounts"), json!({"name": "ci", "role": "auditor"}));
    let token = made(
        &of_org(&format!("service-accounts/{account}/tokens")),
        json!({"name": "t", "scopes": ["read"]}),
    );
    ids.insert("principal_id", account.clone());
    ids.insert("service_account_id", account);
    ids.insert("token_id", token);
    ids.insert("version", "1".to_owned());
    ids.insert("name", "models".to_owned());
    ids.insert("month", "2026-01".to_owned());
    ids.insert("provider", provider(server, &org_id).await);
    let proxy_token = made("/proxies/tokens", json!({"name": "t", "scopes": ["watch"]}));
    ids.insert("proxy_token_id", proxy_token);
    ids.extend([("org_id", org_id.clone()), ("team_id", team_id), ("project_id", project_id)]);
    ids
}

/// A sign-on provider, as it is stored: making one over the API would look for it.
async fn provider(server: &Server, org_id: &str) -> String {
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    crate::db::sql::query(
        "INSERT INTO oidc_providers (id, org_id, name, issuer, client_id, settings, created_at, updated_at)
         VALUES ('example', ?, 'Example', 'https://id.example.com', 'c', '{}', 1, 1)",
    )
    .bind(org_id)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    "example".to_owned()
}

async fn every_operation_is_open_to_those_it_is_for_and_to_nobody_else() {
    let server = Server::start().await;
    let client = &server.client;
    let document = client.get("/openapi.json").body;
    let (mut operations, others): (Vec<_>, Vec<_>) =
        Operation::all(&document).into_iter().partition(Operation::is_ruled_by_roles);
    assert!(operations.len() > 60, "only {} operations say who may use them", operations.len());
    // What is deleted cannot be tried any more.
    operations.sort_by_key(|operation| operation.method == "DELETE");
    let ids = tenant(&server).await;
    let org_id = ids["org_id"].clone();

    for operation in operations.iter().chain(others.iter().filter(|operation| operation.access != "public")) {
        let answer = operation.try_as(client, None, &ids_or_any(operation, &ids));
        assert_eq!(answer.status, 401, "nobody may {}: {}", operation.id, answer.body);
    }
    foreigners_see_nothing(&server, &operations, &ids).await;
    narrow_tokens_do_only_what_they_are_for(&server, &operations, &ids).await;
    let refused = |operation: &Operation, answer: &Answer, who: &str| {
        let nothing = !operation.names_something() && shows_nothing_of(&answer.body, &ids);
        let refused = matches!(answer.status, 403 | 404) || (answer.status == 200 && nothing);
        let (id, access) = (&operation.id, &operation.access);
        assert!(refused, "{who} may not {id} ({access}): {} {}", answer.status, answer.body);
    };
    for role in ROLES {
        let token = person(&server, &org_id, At::Org, role).await;
        for operation in operations.iter().filter(|operation| !may(role, &operation.access)) {
            refused(operation, &operation.try_as(client, Some(&token), &ids), role);
        }
    }
    for role in ROLES {
        let token = person(&server, &org_id, At::Org, role).await;
        for operation in operations.iter().filter(|operation| may(role, &operation.access)) {
            let answer = operation.try_as(client, Some(&token), &ids);
            let gone = operation.method == "DELETE" && answer.status == 404; // the role before this one did it
            let open = gone || !matches!(answer.status, 401 | 403 | 404 | 405 | 500..);
            let (id, access) = (&operation.id, &operation.access);
            assert!(open, "{role} may {id} ({access}): {} {}", answer.status, answer.body);
        }
    }
    server.control_plane.shutdown().await;
}

/// Owners of another organisation, with roles in every corner of theirs.
async fn foreigners_see_nothing(
    server: &Server,
    operations: &[Operation],
    ids: &BTreeMap<&'static str, String>,
) {
    let other = org(server, "second").await;
    let (team, project) = (team(server, &other, "blue").await, project(server, &other, None, "search").await);
    let roles = [
        (other.as_str(), At::Org, "owner"),
        (&other, At::Team(&team), "owner"),
        (&other, At::Project(&project), "owner"),
    ];
    let token = person_with(server, &roles, &["*"]).await;
    let nobodys = person_with(server, &[], &["*"]).await;
    for token in [&token, &nobodys] {
        for operation in operations {
            let answer = operation.try_as(&server.client, Some(token), ids);
            let (id, status, body) = (&operation.id, answer.status, &answer.body);
            let installation = operation.access.starts_with("installation:");
            if operation.names_something() && !installation && !operation.path.contains("bundled") {
                assert_eq!(status, 404, "{id} shows a foreigner that there is something: {body}");
            } else if installation {
                assert_eq!(status, 403, "{id} is not for owners of organisations: {body}");
            }
            assert!(
                !(200..300).contains(&status) || shows_nothing_of(body, ids),
                "{id} shows a foreigner {body}"
            );
        }
    }
}

/// An owner's token that is for one area only.
async fn narrow_tokens_do_only_what_they_are_for(
    server: &Server,
    operations: &[Operation],
    ids: &BTreeMap<&'static str, String>,
) {
    let org_id = &ids["org_id"];
    let token = person_with(server, &[(org_id, At::Org, "owner")], &["keys:read"]).await;
    for operation in operations.iter().filter(|operation| operation.access != "keys:read") {
        let answer = operation.try_as(&server.client, Some(&token), ids);
        let (id, body) = (&operation.id, &answer.body);
        assert_eq!(answer.status, 403, "{id} is more than keys:read: {body}");
    }
}

/// Whether no id of the organisation, or of what it has, is in an answer.
fn shows_nothing_of(body: &Value, ids: &BTreeMap<&'static str, String>) -> bool {
    let body = body.to_string();
    !ids.values().filter(|id| id.contains('_')).any(|id| body.contains(id.as_str()))
}

/// Examples for operations about oneself, whose ids nobody without a token gets to.
fn ids_or_any(operation: &Operation, ids: &BTreeMap<&'static str, String>) -> BTreeMap<&'static str, String> {
    let mut ids = ids.clone();
    if !operation.is_ruled_by_roles() {
        for name in ["session_id", "token_id", "passkey_id"] {
            ids.insert(name, "none".to_owned());
        }
    }
    ids
}
