//! What holds for every operation of the API: its description, versions, compression, browsers, rates.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU32;

use serde_json::json;

use super::*;
use crate::http::rates::RateLimits;
use crate::http::settings::HttpSettings;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// What the page and the description are served at themselves.
const UNDESCRIBED: [&str; 3] = ["/docs", "/docs/style.css", "/openapi.json"];

/// What takes events of other producers.
const INTAKE: [&str; 2] = ["/v1/events", "/v1/track"];

async fn on_a_file<T>(test: impl Future<Output = T>) -> T {
    ENGINE.scope(Engine::Sqlite, test).await
}

/// A server with these settings.
async fn with(http: HttpSettings) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let config = ControlPlaneConfig { http, ..config(folder.path(), "11") };
    let control_plane = ControlPlane::start(config).await.unwrap();
    let client = Client::new(control_plane.local_addr());
    Server { control_plane, client, folder }
}

fn rates(caller: u32, address: u32) -> RateLimits {
    let rate = |rate| NonZeroU32::new(rate).unwrap();
    RateLimits { caller: rate(caller), address: rate(address) }
}

impl Server {
    /// The description, and each operation with its path and method.
    fn description(&self) -> Value {
        let answer = self.client.call_with("GET", "/openapi.json", &[], None);
        assert_eq!(answer.status, 200);
        answer.body
    }

    fn with_headers(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let mut all = vec![
            ("authorization", format!("Bearer {TOKEN}")),
            ("content-type", "application/json".to_owned()),
        ];
        all.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let body = body.map(ToString::to_string);
        self.client.call_with(method, path, &all, body.as_deref().map(str::as_bytes))
    }

    /// An answer as it comes over the wire: the head, and the body's bytes.
    fn raw(&self, request: &str) -> (String, Vec<u8>) {
        tokio::task::block_in_place(|| {
            let mut stream = TcpStream::connect(self.client.addr).unwrap();
            write!(
                stream,
                "{request}\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
            let body = answer.split_off(end + 4);
            (String::from_utf8(answer).unwrap().to_lowercase(), body)
        })
    }
}

fn operations(description: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| Some((path.as_str(), *method, item.get(*method)?)))
    });
    all.collect()
}

/// Every `$ref` within.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, found));
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_description_is_what_the_api_says_of_itself() {
    let server = on_a_file(Server::start()).await;
    let now = format!("{:#}\n", server.description());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(COMMITTED, &now).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    if committed != now {
        let difference = similar::TextDiff::from_lines(&committed, &now);
        panic!(
            "docs/openapi.json is not what the API says of itself; renew it with\n  UPDATE_EXPECT=1 cargo test -p \
             mindweave-control-plane --lib the_committed_description\n{}",
            difference.unified_diff().header("committed", "now")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_says_what_it_is_who_may_call_it_and_what_it_answers() {
    let server = on_a_file(Server::start()).await;
    let description = server.description();
    let tags: Vec<_> = description["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (path, method, operation) in operations(&description) {
        let name = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{name} has no operation id"));
        assert_eq!(ids.insert(id, name.clone()), None, "two operations are called {id}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name} has no summary");
        let of = operation["tags"].as_array().unwrap_or_else(|| panic!("{name} has no tag"));
        assert!(of.len() == 1 && tags.contains(&&of[0]), "{name}: {of:?} is not one of {tags:?}");
        used.insert(of[0].as_str().unwrap());
        let access = operation["x-access"].as_str().unwrap_or_else(|| panic!("{name} has no x-access"));
        let is_scope = crate::access::Scopes::parse([access]).is_ok();
        assert!(is_scope || ["public", "self"].contains(&access), "{name}: x-access is {access}");
        assert_eq!(operation["security"].as_array().unwrap().is_empty(), access == "public", "{name}");
        let good =
            operation["responses"].as_object().unwrap().keys().filter(|status| status.starts_with('2'));
        assert!(good.count() > 0 || operation["responses"].get("302").is_some(), "{name} answers nothing");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let described: BTreeSet<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        let wanted: BTreeSet<_> =
            path.split('{').skip(1).map(|part| part.split('}').next().unwrap().to_owned()).collect();
        assert_eq!(described, wanted, "{name}: its path parameters");
    }
    let mut found = BTreeSet::new();
    references(&description, &mut found);
    for reference in found {
        let place = reference.trim_start_matches('#');
        assert!(description.pointer(place).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_that_is_not_said_to_be_public_wants_a_token() {
    let server = on_a_file(Server::start()).await;
    let description = server.description();
    let wrong = [("authorization", "Bearer wrong".to_owned())];
    for (path, method, operation) in operations(&description) {
        let path = path.replace(['{', '}'], "");
        for headers in [&[][..], &wrong] {
            let answer = server.client.call_with(&method.to_uppercase(), &path, headers, None);
            let is_public = operation["x-access"] == "public" || INTAKE.contains(&path.as_str());
            assert!(is_public || answer.status == 401, "{method} {path}: {} {}", answer.status, answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_that_a_described_path_takes_is_described() {
    let server = on_a_file(Server::start()).await;
    let description = server.description();
    let paths: BTreeSet<_> = operations(&description).into_iter().map(|(path, ..)| path).collect();
    for path in paths {
        let real = path.replace(['{', '}'], "");
        let answer = server.with_headers("OPTIONS", &real, &[], None);
        if INTAKE.contains(&path) {
            continue; // not there without an intake, which these servers do not have
        }
        assert_eq!(answer.status, 204, "{path}: {}", answer.body);
        let takes: BTreeSet<_> = answer.header("allow").split(',').map(str::to_lowercase).collect();
        let item = description["paths"][path].as_object().unwrap();
        let mut described: BTreeSet<_> = METHODS
            .iter()
            .filter(|method| item.contains_key(**method))
            .map(|method| (*method).to_owned())
            .collect();
        if described.contains("get") {
            described.insert("head".to_owned());
        }
        assert_eq!(takes, described, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_every_operation_and_needs_nothing_of_elsewhere() {
    let server = on_a_file(Server::start()).await;
    let description = server.description();
    let page = server.client.call_with("GET", "/docs", &[], None);
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    let html = page.body.as_str().unwrap();
    for (path, method, operation) in operations(&description) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(html.contains(&format!("<article id=\"{id}\">")), "{method} {path} is not on the page");
    }
    for schema in description["components"]["schemas"].as_object().unwrap().keys() {
        assert!(html.contains(&format!("id=\"schema-{schema}\"")), "{schema}");
    }
    for link in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(html.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
    }
    for elsewhere in ["<script", "style=", "src=", "//cdn", "href=\"http"] {
        assert!(!html.contains(elsewhere), "{elsewhere}");
    }
    let style = server.client.call_with("GET", "/docs/style.css", &[], None);
    assert_eq!((style.status, style.header("content-type")), (200, "text/css; charset=utf-8"));
    for path in UNDESCRIBED {
        let first = server.client.call_with("GET", path, &[], None);
        let known = [("if-none-match", first.header("etag").to_owned())];
        let again = server.client.call_with("GET", path, &known, None);
        assert_eq!((again.status, &again.body), (304, &Value::Null), "{path}");
        assert_eq!(again.header("cache-control"), "public, no-cache");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_an_error_is_documented() {
    let server = on_a_file(Server::start()).await;
    let description = server.description();
    let codes = description["components"]["schemas"]["ProblemCode"]["enum"].as_array().unwrap();
    assert!(codes.len() > 30, "{codes:?}");
    let documentation =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md")).unwrap();
    for code in codes {
        let row = format!("\n| `{}` | ", code.as_str().unwrap());
        assert!(documentation.contains(&row), "docs/api.md has no row that begins with {row}");
    }
}

async fn versions_are_told_and_changes_can_be_made_to_depend_on_them() {
    let server = Server::start().await;
    let org = server.client.get("/orgs").body["data"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/orgs/{org}");
    let first = server.client.get(&path);
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let again = server.with_headers("GET", &path, &[("if-none-match", &known)], None);
        assert_eq!((again.status, again.header("etag")), (304, &*tag), "{known}");
        assert!(!again.header("x-request-id").is_empty());
    }
    assert_eq!(server.with_headers("GET", &path, &[("if-none-match", "\"x\"")], None).status, 200);

    let change = |if_match: &str, name: &str| {
        server.with_headers("PATCH", &path, &[("if-match", if_match)], Some(&json!({ "name": name })))
    };
    for stale in ["\"x\"", &format!("W/{tag}"), "", "x"] {
        let refused = change(stale, "No");
        assert_eq!((refused.status, refused.code()), (412, "precondition_failed"), "{stale}");
    }
    let changed = change(&tag, "One");
    assert_eq!((changed.status, &changed.body["name"]), (200, &json!("One")));
    assert_ne!(changed.header("etag"), tag);
    assert_eq!(change(&tag, "Two").status, 412, "the version of before");
    let compressed = changed.header("etag").replace('"', "");
    assert_eq!(change(&format!("\"{compressed}-gzip\""), "Three").status, 200);
    assert_eq!(change("*", "Four").status, 200);
}

async fn long_answers_are_compressed_for_those_who_accept_it() {
    let server = Server::start().await;
    let (plain, body) = server.raw("GET /openapi.json HTTP/1.1");
    assert!(!plain.contains("content-encoding") && body.starts_with(b"{"), "{plain}");
    assert!(plain.contains("vary: accept-encoding"), "{plain}");
    let tag_of = |head: &str| {
        let line = head.lines().find(|line| line.starts_with("etag:")).unwrap();
        line.trim_start_matches("etag:").trim().to_owned()
    };
    for (accepted, coding, magic) in
        [("gzip", "gzip", &[0x1f, 0x8b][..]), ("gzip, zstd", "zstd", &[0x28, 0xb5, 0x2f, 0xfd])]
    {
        let request = format!("GET /openapi.json HTTP/1.1\r\naccept-encoding: {accepted}");
        let (head, body) = server.raw(&request);
        assert!(head.contains(&format!("content-encoding: {coding}")), "{head}");
        let chunk = body.split(|byte| *byte == b'\n').nth(1).unwrap(); // after the length of the first chunk
        assert!(chunk.starts_with(magic) || body.starts_with(magic), "{head}");
        let tag = tag_of(&head);
        assert!(tag.ends_with(&format!("-{coding}\"")) && tag != tag_of(&plain), "{tag}");
        // A tag keeps its letters; the head above was made lower case.
        let known = server.client.call_with("GET", "/openapi.json", &[], None).header("etag").to_owned();
        let known = format!("{}-{coding}\"", known.trim_end_matches('"'));
        let (again, body) = server.raw(&format!("{request}\r\nif-none-match: {known}"));
        assert!(again.starts_with("http/1.1 304") && body.is_empty(), "{again}");
    }
    let (short, _) = server.raw("GET /v1/health HTTP/1.1\r\naccept-encoding: gzip");
    assert!(!short.contains("content-encoding"), "{short}");
    let (refused, _) = server.raw("GET /openapi.json HTTP/1.1\r\naccept-encoding: gzip;q=0, identity");
    assert!(!refused.contains("content-encoding"), "{refused}");
}

async fn every_answer_carries_an_id_and_tells_browsers_to_be_careful() {
    let server = Server::start().await;
    let cases = [
        ("GET", "/projects", 200),
        ("GET", "/v1/health", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/no/such/path", 404),
        ("DELETE", "/projects", 405),
        ("GET", "/projects/%FF", 400),
        ("GET", "/internal/v1/watch", 401),
    ];
    for (method, path, status) in cases {
        let answer = server.with_headers(method, path, &[("x-request-id", "my-id:7")], None);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert_eq!(answer.header("x-request-id"), "my-id:7", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("strict-transport-security"), "", "not without TLS");
        let cache = if path == "/openapi.json" { "public, no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        if status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        }
    }
    let harmful = server.with_headers("GET", "/projects", &[("x-request-id", "a b\"{}")], None);
    assert_ne!(harmful.header("x-request-id"), "a b\"{}");
    assert!(!harmful.header("x-request-id").is_empty());
}

async fn head_and_options_answer_as_get_would_and_with_what_there_is() {
    let server = Server::start().await;
    let (get, body) = server.raw("GET /projects HTTP/1.1");
    let (head, nothing) = server.raw("HEAD /projects HTTP/1.1");
    let length = format!("content-length: {}", body.len());
    assert!(get.contains(&length) && head.contains(&length), "{get}\n{head}");
    assert!(head.starts_with("http/1.1 200") && nothing.is_empty());
    let options = server.with_headers("OPTIONS", "/projects", &[], None);
    assert_eq!((options.status, options.header("allow")), (204, "GET,HEAD,POST"));
    assert_eq!(options.header("access-control-allow-origin"), "", "CORS is off");
    assert_eq!(server.client.call_with("OPTIONS", "/projects", &[], None).status, 401);
}

async fn pages_of_allowed_origins_and_no_others_may_read_answers() {
    let origin = "https://app.example.com";
    let http = HttpSettings { cors_origins: vec![origin.to_owned()], ..HttpSettings::default() };
    let server = with(http).await;
    let preflight = |origin: &str| {
        let headers = [
            ("origin", origin.to_owned()),
            ("access-control-request-method", "PATCH".to_owned()),
            ("access-control-request-headers", "authorization,if-match".to_owned()),
        ];
        server.client.call_with("OPTIONS", "/projects/prj_1", &headers, None)
    };
    let allowed = preflight(origin);
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, origin));
    assert!(allowed.header("access-control-allow-methods").contains("PATCH"));
    assert!(allowed.header("access-control-allow-headers").contains("if-match"));
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
    let refused = preflight("https://evil.example.com");
    assert_eq!(refused.header("access-control-allow-origin"), "");
    assert_eq!(refused.header("access-control-allow-methods"), "");
    for (from, answered) in [(origin, origin), ("https://evil.example.com", ""), ("null", "")] {
        let answer = server.with_headers("GET", "/projects", &[("origin", from)], None);
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, answered), "{from}");
        assert!(answer.headers.get_all("vary").iter().any(|value| value == "origin"));
    }
    let error = server.client.call_with("GET", "/projects", &[("origin", origin.to_owned())], None);
    assert_eq!((error.status, error.header("access-control-allow-origin")), (401, origin), "also of errors");

    let any = with(HttpSettings { cors_origins: vec!["*".to_owned()], ..HttpSettings::default() }).await;
    let answer = any.with_headers("GET", "/projects", &[("origin", "https://anybody.example")], None);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}

async fn who_asks_too_often_waits_and_nobody_else_does() {
    let http = HttpSettings {
        rate_limits: rates(1, 2),
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..HttpSettings::default()
    };
    let server = with(http).await;
    let client = |address: &str| vec![("x-forwarded-for", address.to_owned())];
    let refused = (0..30)
        .map(|_| server.client.call_with("GET", "/projects", &client("198.51.100.1"), None))
        .find(|answer| answer.status != 401)
        .expect("twenty requests a ten seconds, and no more");
    assert_eq!((refused.status, refused.code()), (429, "too_many_requests"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(refused.header("ratelimit-policy"), "\"address\";q=20;w=10");
    assert!(refused.header("ratelimit").starts_with("\"address\";r=0;t="), "{}", refused.header("ratelimit"));
    // What the client itself wrote stands before the address that the load balancer saw.
    let forged = server.client.call_with("GET", "/projects", &client("203.0.113.9, 198.51.100.1"), None);
    assert_eq!(forged.status, 429);
    assert_eq!(server.client.call_with("GET", "/projects", &client("198.51.100.2"), None).status, 401);
    assert_eq!(server.client.call_with("GET", "/v1/health", &client("198.51.100.1"), None).status, 200);
    let from_there = [client("198.51.100.1"), vec![("authorization", format!("Bearer {TOKEN}"))]].concat();
    assert_eq!(server.client.call_with("GET", "/projects", &from_there, None).status, 200, "it has a token");
    let refused = (0..20).map(|_| server.client.get("/projects")).find(|answer| answer.status != 200);
    let refused = refused.expect("ten requests in ten seconds, and no more");
    assert_eq!((refused.status, refused.header("ratelimit-policy")), (429, "\"caller\";q=10;w=10"));
}

async fn a_body_that_names_a_field_twice_is_refused_by_that_name() {
    let server = Server::start().await;
    let answer = server.client.call("POST", "/projects", Some(br#"{"name":"a","name":"b"}"#));
    assert_eq!((answer.status, answer.code()), (400, "invalid_json"), "{}", answer.body);
    assert_eq!(answer.refused(), ["name"]);
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    let answer = server.client.call("POST", "/projects", Some(deep.as_bytes()));
    assert_eq!((answer.status, answer.code()), (400, "invalid_json"), "{}", answer.body);
}

on_every_engine!(
    versions_are_told_and_changes_can_be_made_to_depend_on_them,
    every_answer_carries_an_id_and_tells_browsers_to_be_careful,
);

/// Makes a test of each function: the engine makes no difference to them.
macro_rules! on_any_engine {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            #[tokio::test(flavor = "multi_thread")]
            async fn in_a_file() {
                super::on_a_file(super::$test()).await;
            }
        })+
    };
}

on_any_engine!(
    long_answers_are_compressed_for_those_who_accept_it,
    head_and_options_answer_as_get_would_and_with_what_there_is,
    pages_of_allowed_origins_and_no_others_may_read_answers,
    who_asks_too_often_waits_and_nobody_else_does,
    a_body_that_names_a_field_twice_is_refused_by_that_name,
);
