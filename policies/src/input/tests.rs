use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::{
    CacheTtl, OrgId, ProjectId, QuotaId, RequestFacts, RequestedMcpServer, RequestedTool,
};
use proptest::prelude::*;
use regorus::Value;
use serde_json::json;

use super::*;
use crate::compile::{Module, PolicySource, compile};
use crate::error_kind::PolicyErrorKind;
use crate::eval::{Outcome, evaluate as evaluate_since, processor_time};
use crate::facts::{BudgetUsage, CredentialKind, PrincipalInput, RequestInput};
use crate::governance::{OnError, OnStale, QuotaAction, QuotaSpec, QuotaUnit, QuotaWindow, Reserve};
use crate::principal::Principal;
use crate::subject::{Subject, SubjectKind};

/// A request in owned pieces, so that tests can change one.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) principal: Principal,
    pub(crate) facts: Option<RequestFacts>,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) client_ip: IpAddr,
    pub(crate) user_agent: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) used: i64,
    pub(crate) now: Timestamp,
    pub(crate) time_zone: &'static str,
    pub(crate) pii: Option<Vec<&'static str>>,
    pub(crate) credential: CredentialKind,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            principal: Principal {
                org_id: OrgId::new("org_1"),
                project_id: ProjectId::new("prj_1"),
                team_id: None,
                user_id: None,
                key_id: None,
                roles: vec!["developer".into()],
                labels: BTreeMap::from([("env".into(), "prod".into())]),
            },
            facts: Some(RequestFacts {
                model: Some("claude-sonnet-4-5".into()),
                models: vec!["claude-sonnet-4-5".into()],
                max_tokens: Some(1_000),
                tools: vec![tool("mcp__github__create_issue"), tool("search")],
                mcp_servers: vec![RequestedMcpServer {
                    name: Some("jira".into()),
                    url: Some("https://user:pass@MCP.example.com:8443/sse?token=secret#x".into()),
                }],
                ..RequestFacts::default()
            }),
            method: "POST",
            path: "/v1/messages".into(),
            client_ip: "10.1.2.3".parse().unwrap(),
            user_agent: Some("claude-cli/2.0 aaaaaaaa".into()),
            session_id: Some("s".into()),
            used: 10,
            now: "2026-11-21T23:30:15.5Z".parse().unwrap(),
            time_zone: "Europe/Berlin",
            pii: Some(vec!["email"]),
            credential: CredentialKind::VirtualKey,
        }
    }
}

fn tool(name: &str) -> RequestedTool {
    RequestedTool { name: Some(name.into()), kind: None, mcp_server: None }
}

pub(crate) fn quota() -> QuotaSpec {
    QuotaSpec {
        id: QuotaId::new("quo_1"),
        org_id: OrgId::new("org_1"),
        name: "monthly".into(),
        scope: Subject { kind: SubjectKind::Org, id: None },
        unit: QuotaUnit::Cost,
        window: QuotaWindow::Month,
        limit: 100,
        models: Vec::new(),
        action: QuotaAction::Warn,
        reserve: Reserve::Expected,
        thresholds: Vec::new(),
        on_unknown_price: OnError::Deny,
        on_stale: OnStale::Open,
    }
}

impl Request {
    /// Hands over the typed input.
    pub(crate) fn with_input<T>(&self, use_input: impl FnOnce(&PolicyInput<'_>) -> T) -> T {
        let quota = quota();
        use_input(&PolicyInput {
            principal: PrincipalInput {
                principal: &self.principal,
                org_name: "Acme",
                project_name: "bot",
                credential: self.credential,
            },
            request: RequestInput {
                method: self.method,
                path: &self.path,
                endpoint: &self.path,
                kind: "messages",
                facts: self.facts.as_ref(),
                bytes: Some(77),
                betas: &["a", "b"],
                client_ip: self.client_ip,
                user_agent: self.user_agent.as_deref(),
                session_id: self.session_id.as_deref(),
                agent_id: None,
                parent_agent_id: None,
                pii: self.pii.as_deref(),
            },
            usage: &[BudgetUsage { quota: &quota, used: self.used, reserved: 5 }],
            now: self.now,
            time_zone: self.time_zone,
        })
    }
}

pub(crate) fn document_of(request: &Request) -> Value {
    request
        .with_input(|input| document(input, &Moment::new(input.now, Some(input.time_zone)), FieldSet::all()))
}

fn key_of(request: &Request, reads: FieldSet) -> Vec<u8> {
    request.with_input(|input| {
        let mut key = Vec::new();
        write_key(&mut key, input, &Moment::new(input.now, Some(input.time_zone)), reads);
        key
    })
}

fn evaluate(module: &Arc<Module>, input: &Value) -> Result<Outcome, PolicyErrorKind> {
    evaluate_since(module, input, processor_time())
}

#[test]
fn every_field_is_always_there() {
    let full = Request::default().with_input(|input| input.to_json());
    let bare = Request { facts: None, pii: None, user_agent: None, session_id: None, ..Request::default() };
    let bare = bare.with_input(|input| input.to_json());
    for (field, group, name) in Field::ALL {
        for document in [&full, &bare] {
            let value = if name.is_empty() { document.get(group) } else { document[group].get(name) };
            assert!(value.is_some(), "{field:?} is missing");
        }
    }
    assert_eq!(bare["request"]["model"], json!(null));
    assert_eq!(bare["request"]["tools"], json!([]));
}

#[test]
fn the_document_tells_what_the_contract_says() {
    let input = Request::default().with_input(|input| input.to_json());
    assert_eq!(input["request"]["mcp_tools"], json!([{"server": "github", "tool": "create_issue"}]));
    assert_eq!(
        input["request"]["mcp_servers"],
        json!([{"name": "jira", "host": "mcp.example.com:8443", "url": "https://mcp.example.com:8443/sse"}])
    );
    assert_eq!(
        input["usage"]["monthly"],
        json!({"id": "quo_1", "unit": "nano_usd", "window": "month", "limit": 100, "used": 10, "reserved": 5,
               "remaining": 85, "percent": 10})
    );
    let time = &input["time"];
    assert_eq!(time["date"], json!("2026-11-22"), "half an hour past midnight in Berlin");
    assert_eq!(time["weekday"], json!("Sunday"));
    assert_eq!((&time["hour"], &time["minute"]), (&json!(0), &json!(30)));
    assert_eq!(time["rfc3339"], json!("2026-11-22T00:30:15.5+01:00"));
    assert_eq!(time["now_ns"], json!(1_795_303_815_500_000_000_i64));
    assert_eq!(time["minute_ns"], json!(1_795_303_800_000_000_000_i64));
    assert_eq!(time["day_ns"], json!(1_795_302_000_000_000_000_i64));
    assert_eq!(time["time_zone"], json!("Europe/Berlin"));
}

#[test]
fn secrets_in_addresses_of_servers_are_not_shown() {
    for (url, shown) in [
        ("https://a.example/x?key=secret", "https://a.example/x"),
        ("https://u:secret@a.example", "https://a.example"),
        ("https://a.example#secret", "https://a.example"),
        ("https://u@secret@a.example:1/p", "https://a.example:1/p"),
        ("https://secret@[::1]:9/p", "https://[::1]:9/p"),
    ] {
        assert_eq!(server::ServerAddress::of(Some(url)).url.as_deref(), Some(shown), "{url}");
    }
}

#[test]
fn a_host_is_told_with_its_port_and_what_two_readers_would_read_differently_is_none() {
    for (url, host) in [
        ("https://MCP.example.com/sse", "mcp.example.com"),
        ("HTTPS://mcp.example.com:443/sse", "mcp.example.com"),
        ("http://mcp.example.com:80", "mcp.example.com"),
        ("http://mcp.example.com:443", "mcp.example.com:443"),
        ("https://mcp.example.com:8443/sse", "mcp.example.com:8443"),
        ("https://mcp.example.com:08443/sse", "mcp.example.com:8443"),
        ("https://mcp.example.com:/sse", "mcp.example.com"),
        ("https://good.example@evil.example/", "evil.example"),
        ("https://good.example:443@evil.example:22/", "evil.example:22"),
        ("https://[2001:DB8::1]:9/p", "[2001:db8::1]:9"),
        ("https://10.0.0.1?x", "10.0.0.1"),
        ("wss://a.example:443", "a.example"),
    ] {
        assert_eq!(server::ServerAddress::of(Some(url)).host.as_deref(), Some(host), "{url}");
    }
    for none in [
        "",
        "mcp.example",
        "https://",
        "https://?secret",
        "https:/a.example",
        "https:a.example",
        " https://a.example",
        "https://evil.example\\@good.example/",
        "https://a.example\\.evil.example",
        "https://a.exa\tmple/",
        "https://a.example :1",
        "https://a.example:99999",
        "https://a.example:-1",
        "https://a.example:1:2",
        "https://[::1",
        "https://[::1]x",
        "https://[nonsense]",
        "https://a%2eexample",
        "https://\u{430}.example",
        "://a.example",
        "ht tps://a.example",
        "https://:8443/",
        "https://a.example:8443x",
    ] {
        let address = server::ServerAddress::of(Some(none));
        assert_eq!((address.host, address.url), (None, None), "{none}");
    }
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_the_ipv4_address() {
    let request = Request { client_ip: "::ffff:10.0.0.7".parse().unwrap(), ..Request::default() };
    assert_eq!(request.with_input(|input| input.to_json())["request"]["client_ip"], json!("10.0.0.7"));
}

/// One change to a request.
fn changed(request: &Request, which: u8, text: &str, number: u64) -> Request {
    let mut next = request.clone();
    let facts = next.facts.get_or_insert_default();
    let texts: Vec<Arc<str>> = text.split(' ').map(Arc::from).collect();
    match which {
        0 => facts.model = Some(text.into()),
        1 => facts.max_tokens = Some(number),
        2 => facts.tools.push(tool(text)),
        3 => facts.stream = !facts.stream,
        4 => next.path = text.into(),
        5 => next.client_ip = IpAddr::from(u32::try_from(number).unwrap_or(9).to_be_bytes()),
        6 => next.user_agent = Some(text.into()),
        7 => next.used = i64::try_from(number).unwrap_or(0),
        8 => next.now = Timestamp::from_second(i64::try_from(number).unwrap_or(0)).unwrap_or(next.now),
        9 => next.principal.roles = texts,
        10 => drop(next.principal.labels.insert(text.into(), "v".into())),
        11 => next.pii = None,
        12 => facts.cache_write = Some(CacheTtl::OneHour),
        13 => next.time_zone = "America/New_York",
        14 => next.principal.project_id = ProjectId::new(text),
        15 => next.facts = None,
        16 => facts.message_count = number,
        17 => facts.models = texts,
        18 => next.credential = CredentialKind::Registered,
        19 => facts.tools.clear(),
        20 => facts.mcp_servers.push(RequestedMcpServer { name: None, url: Some(text.into()) }),
        21 => facts.inference_geo = Some(text.into()),
        22 => facts.has_default_fallback = !facts.has_default_fallback,
        _ => facts.truncated = !facts.truncated,
    }
    next
}

/// Policies whose verdict is, or depends on, what they read in one way or another.
const POLICIES: [&str; 14] = [
    "deny contains {\"reason\": \"a\", \"message\": json.marshal(input)} if true",
    "deny contains {\"reason\": \"a\", \"message\": sprintf(\"%v\", [input.request])} if true",
    "import input.request as r\ndeny contains {\"reason\": \"a\", \"message\": sprintf(\"%v\", [r.tools])} if true",
    "deny contains {\"reason\": \"a\", \"message\": t} if { x := input; y := x.time; t := y.date }",
    "show(x) := sprintf(\"%v %v\", [x.roles, x.labels])\ndeny contains {\"reason\": \"a\", \"message\": show(input.principal)} if true",
    "deny contains {\"reason\": \"a\", \"message\": m} if { some m in input.request.models }",
    "deny contains {\"reason\": \"a\", \"message\": sprintf(\"%v\", [v])} if { some k; v := input.request[k] }",
    "deny contains {\"reason\": \"a\", \"message\": \"m\"} if input.usage.monthly.used > 50",
    "deny contains {\"reason\": \"a\", \"message\": t.server} if { some t in input.request.mcp_tools }",
    "req := input.request\ndeny contains {\"reason\": \"a\", \"message\": req.path} if not req.stream",
    "deny contains {\"reason\": \"a\", \"message\": sprintf(\"%v\", [[g | some k, g in input.time; k != \"x\"]])} if true",
    "deny contains {\"reason\": \"a\", \"message\": sprintf(\"%v\", [input[k]])} if { some k in [\"principal\", \"usage\"] }",
    "pick(o, k) := o[k]\ndeny contains {\"reason\": \"a\", \"message\": sprintf(\"%v\", [pick(input.request, \"client_ip\")])} if true",
    "deny contains {\"reason\": \"a\", \"message\": sprintf(\"%v\", [s.host])} if { some s in input.request.mcp_servers }\nwarn contains {\"reason\": \"w\", \"message\": input.request.user_agent} if input.request.pii",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The decision cache's law: requests with one key get one verdict, and a policy that sees only what it reads says
    /// what it says when it sees everything.
    #[test]
    fn a_change_that_changes_a_verdict_changes_the_key(
        changes in proptest::collection::vec((0_u8..23, "[a-z_ ]{0,12}", 0_u64..4_000_000_000), 1..4),
        policy in 0..POLICIES.len(),
    ) {
        let source = PolicySource { rego: format!("package p\n{}", POLICIES[policy]).into(), data: json!({}) };
        let module = Arc::new(compile(&source).unwrap());
        let before = Request::default();
        let mut after = before.clone();
        for (which, text, number) in &changes {
            after = changed(&after, *which, text, *number);
        }
        let verdicts = [&before, &after].map(|request| evaluate(&module, &document_of(request)).unwrap());
        let keys = [&before, &after].map(|request| key_of(request, module.reads));
        if verdicts[0] != verdicts[1] {
            prop_assert_ne!(&keys[0], &keys[1]);
        }
        let narrow = after.with_input(|input| document(input, &Moment::new(input.now, Some(input.time_zone)), module.reads));
        prop_assert_eq!(&evaluate(&module, &narrow).unwrap(), &verdicts[1]);
        // No two different documents write the same bytes.
        if document_of(&before) != document_of(&after) {
            prop_assert_ne!(key_of(&before, FieldSet::all()), key_of(&after, FieldSet::all()));
        }
    }
}
