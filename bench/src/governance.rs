//! What governing a request costs: two projects in one process, one with ten policies, three limits and three budgets, one
//! with none.

use anyhow::Context;
use serde_json::{Value, json};

use crate::Effort;
use crate::load::{self, Round};
use crate::process::{Part, Simulator};
use crate::report::{Report, Row};

/// How many policies are in force: an organisation's, a team's and a project's together.
const POLICIES: usize = 10;
/// A limit that nothing here reaches.
const PLENTY: u64 = 1_000_000_000_000;

/// A kind of request.
struct Scenario {
    name: &'static str,
    steering: &'static str,
    stream: bool,
    prompt_bytes: usize,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "JSON 1 KB",
        steering: "shape=json; response_bytes=1024",
        stream: false,
        prompt_bytes: 600,
    },
    Scenario {
        name: "prompt of 100 KB",
        steering: "shape=json; response_bytes=1024",
        stream: false,
        prompt_bytes: 100_000,
    },
    Scenario {
        name: "burst of 100 SSE events",
        steering: "shape=stream; events=100",
        stream: true,
        prompt_bytes: 600,
    },
];

/// Runs every scenario.
pub(crate) async fn run(effort: Effort) -> anyhow::Result<Report> {
    let simulator = Simulator::start()?;
    let server = Part::start("serve", &[("MINDWEAVE_PROXY__UPSTREAM", &simulator.url)])?;
    let free = project(&server, "free")?.1;
    let (governed_id, governed) = project(&server, "governed")?;
    govern(&server, &governed_id)?;
    let mut report = Report::new(
        "Governance: everything on against nothing",
        &format!(
            "{POLICIES} policies, 3 limits and 3 budgets in force for one project, none for the other; same process, \
             {} rounds of {:?} in turn, {} connections. CPU time is the server's, ledger included; medians.",
            effort.rounds, effort.round, effort.connections
        ),
        ["off", "on"],
    );
    for scenario in SCENARIOS {
        let requests = [request(&scenario, &free), request(&scenario, &governed)];
        let mut samples = [Vec::new(), Vec::new()];
        for round in 0..=effort.rounds {
            for (variant, request) in requests.iter().enumerate() {
                let (cpu_us, measured) = measure(&server, request, effort).await?;
                if let (true, Some(samples)) = (round > 0, samples.get_mut(variant)) {
                    samples.push((cpu_us, measured)); // the first round warms up
                }
            }
        }
        let [off, on] = samples;
        report.rows.push(Row::new(scenario.name, &off, &on)?);
    }
    report.notes.push(format!("Resident memory at the end: {} MiB.", server.resident_bytes()? / 1_048_576));
    report.notes.push(format!("Data of the run: {} MiB.", folder_bytes(server.folder())? / 1_048_576));
    Ok(report)
}

/// CPU microseconds a request, and what the clients saw.
async fn measure(server: &Part, request: &[u8], effort: Effort) -> anyhow::Result<(f64, Round)> {
    let before = server.cpu_time()?;
    let round = load::closed_loop(server.proxy()?, request, effort.connections, effort.round).await?;
    let used = server.cpu_time()?.saturating_sub(before);
    let answers = u32::try_from(round.answers).context("too many answers")?;
    Ok((used.as_secs_f64() * 1e6 / f64::from(answers.max(1)), round))
}

fn project(server: &Part, name: &str) -> anyhow::Result<(String, String)> {
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let project = server.post("/projects", &json!({ "name": name }))?;
    let id = text(&project, "id").context("a project's id")?;
    server.put(&format!("/projects/{id}/upstream"), &json!({ "api_key": "sk-ant-api03-of-the-bench" }))?;
    let key = server.post(&format!("/projects/{id}/keys"), &json!({ "name": "bench" }))?;
    Ok((id, text(&key, "secret").context("a key's secret")?))
}

fn govern(server: &Part, project: &str) -> anyhow::Result<()> {
    let scope = json!({ "project": project });
    for number in 0..POLICIES {
        let rego = format!(
            "package bench{number}\n\ndeny contains {{\"reason\": \"model_not_allowed\", \"message\": message}} if {{\n    \
             some model in input.request.models\n    not allowed(model)\n    message := sprintf(\"%s is not allowed\", [model])\n}}\n\n\
             allowed(model) if {{\n    some prefix in data.prefixes\n    startswith(model, prefix)\n}}\n\n\
             deny contains {{\"reason\": \"max_tokens_too_high\", \"message\": \"ask for less\"}} if {{\n    \
             input.request.max_tokens > data.max_tokens\n}}\n"
        );
        let data = json!({ "prefixes": ["claude-haiku", "claude-opus"], "max_tokens": 100_000 + number });
        server.post(
            "/governance/policies",
            &json!({ "name": format!("policy {number}"), "rego": rego, "data": data, "scope": scope }),
        )?;
    }
    for metric in ["requests_per_minute", "tokens_per_minute", "concurrent_requests"] {
        server.post(
            "/governance/limits",
            &json!({ "name": metric, "scope": scope, "metric": metric, "limit": PLENTY }),
        )?;
    }
    for (unit, window) in [("cost", "month"), ("tokens", "day"), ("requests", "hour")] {
        let body =
            json!({ "name": unit, "scope": scope, "unit": unit, "window": window, "limit": PLENTY * 1_000 });
        server.post("/governance/quotas", &body)?;
    }
    Ok(())
}

fn request(scenario: &Scenario, key: &str) -> Vec<u8> {
    let prompt = "All work and no play. ".repeat(scenario.prompt_bytes.div_ceil(22));
    let body = json!({
        "model": "claude-opus-5", "max_tokens": 1_024, "stream": scenario.stream,
        "messages": [{ "role": "user", "content": prompt }],
    })
    .to_string();
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: bench\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\n\
         content-type: application/json\r\nx-simulate: {}\r\ncontent-length: {}\r\n\r\n{body}",
        scenario.steering,
        body.len()
    )
    .into_bytes()
}

fn folder_bytes(folder: &std::path::Path) -> anyhow::Result<u64> {
    let mut sum = 0_u64;
    for entry in std::fs::read_dir(folder)? {
        let (entry, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        let bytes = if metadata.is_dir() { folder_bytes(&entry)? } else { metadata.len() };
        sum = sum.saturating_add(bytes);
    }
    Ok(sum)
}
