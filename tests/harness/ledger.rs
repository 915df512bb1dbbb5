//! The control plane's API as a test uses it.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::eventually;

/// A client of the API.
pub struct Ledger {
    base: String,
    token: String,
    agent: ureq::Agent,
}

impl Ledger {
    /// A client for the API at this address.
    pub fn new(addr: SocketAddr, token: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        Self { base: format!("http://{addr}"), token: format!("Bearer {token}"), agent: config.into() }
    }

    /// A client for the API at this address over TLS, which trusts these authorities (PEM) alone.
    pub fn secured(addr: SocketAddr, token: &str, authorities: &str) -> Self {
        let roots: Vec<Certificate<'static>> = parse_pem(authorities.as_bytes())
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(roots))).build();
        let config = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls).build();
        Self { base: format!("https://{addr}"), token: format!("Bearer {token}"), agent: config.into() }
    }

    /// GETs a path; fails the test unless the answer is a success.
    pub fn get(&self, path: &str) -> Value {
        let response =
            self.agent.get(format!("{}{path}", self.base)).header("authorization", &self.token).call();
        decode("GET", path, response)
    }

    /// Waits until this control plane reads its database again.
    pub fn await_back(&self) {
        eventually("the control plane answers", || {
            let request =
                self.agent.get(format!("{}/projects", self.base)).header("authorization", &self.token);
            request.call().ok().filter(|answer| answer.status().is_success()).map(drop)
        });
    }

    /// POSTs JSON; fails the test unless the answer is a success.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}{path}", self.base)).header("authorization", &self.token);
        decode("POST", path, request.send_json(body))
    }

    /// PUTs JSON; fails the test unless the answer is a success.
    pub fn put(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.put(format!("{}{path}", self.base)).header("authorization", &self.token);
        decode("PUT", path, request.send_json(body))
    }

    /// PATCHes JSON; fails the test unless the answer is a success.
    pub fn patch(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.patch(format!("{}{path}", self.base)).header("authorization", &self.token);
        decode("PATCH", path, request.send_json(body))
    }

    /// POSTs JSON that must be refused; returns the status and the problem.
    pub fn refused(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.post(format!("{}{path}", self.base)).header("authorization", &self.token);
        let mut response = request.send_json(body).unwrap_or_else(|error| panic!("POST {path}: {error}"));
        let text = response.body_mut().read_to_string().expect("a text answer");
        assert!(!response.status().is_success(), "POST {path} should be refused: {text}");
        (response.status().as_u16(), serde_json::from_str(&text).expect("a JSON answer"))
    }

    /// POSTs JSON and returns the new thing's id.
    pub fn create(&self, path: &str, body: &Value) -> String {
        self.post(path, body)["id"].as_str().unwrap_or_else(|| panic!("POST {path} gives no id")).to_owned()
    }

    /// DELETEs a path; fails the test unless the answer is a success.
    pub fn delete(&self, path: &str) -> Value {
        let request = self.agent.delete(format!("{}{path}", self.base)).header("authorization", &self.token);
        decode("DELETE", path, request.call())
    }

    /// Makes a project with a Claude key and a MindWeave key; returns the project's id and the key's secret.
    pub fn project_with_key(&self, name: &str) -> (String, String) {
        let project = self.post("/projects", &json!({ "name": name }));
        let id = project["id"].as_str().expect("a project has an id").to_owned();
        self.put(
            &format!("/projects/{id}/upstream"),
            &json!({ "api_key": "sk-ant-api03-upstream-of-the-project" }),
        );
        let key = self.post(&format!("/projects/{id}/keys"), &json!({ "name": format!("{name}-key") }));
        (id, key["secret"].as_str().expect("a new key shows its secret").to_owned())
    }

    /// Every event that matches the query (`project_id=..&model=..`), oldest first.
    pub fn events(&self, query: &str) -> Vec<Value> {
        let (mut events, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/usage/events?limit=500&order=asc&{query}{cursor}"));
            events.extend(page["data"].as_array().expect("a page has data").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return events,
            }
        }
    }

    /// Waits until exactly this many events match the query, and returns them oldest first.
    pub fn await_events(&self, query: &str, count: usize) -> Vec<Value> {
        let mut seen = 0;
        eventually(&format!("{count} events for {query:?} (seen last: {seen})"), || {
            let events = self.events(query);
            seen = events.len();
            assert!(seen <= count, "expected {count} events for {query:?}, found {seen}: {events:#?}");
            (seen == count).then_some(events)
        })
    }
}

fn decode(
    method: &str,
    path: &str,
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Value {
    let mut response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let text = response.body_mut().read_to_string().expect("a text answer");
    assert!(response.status().is_success(), "{method} {path}: {} {text}", response.status());
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("a JSON answer") }
}
