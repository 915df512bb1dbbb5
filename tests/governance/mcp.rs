//! MCP servers and tools are facts for policy, and each call of one is an event linked to its request.

use serde_json::json;

use crate::harness::eventually;
use crate::harness::governed::Call;
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

#[test]
fn unknown_servers_are_refused_by_policy_wherever_a_request_names_them() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("mcp");
    let rego = r#"package mcp

deny contains {"reason": "mcp_server_unknown", "message": sprintf("MCP server %s is not approved", [server.name])} if {
    some server in input.request.mcp_servers
    not data.approved[server.name]
}

deny contains {"reason": "mcp_server_unknown", "message": sprintf("MCP server %s is not approved", [tool.server])} if {
    some tool in input.request.mcp_tools
    not data.approved[tool.server]
}
"#;
    ledger.post(
        "/governance/policies",
        &json!({ "name": "servers", "rego": rego, "data": { "approved": { "github": true } }, "scope": { "project": project } }),
    );
    let connector = |name: &str| {
        Call::new(&server, &key)
            .header("anthropic-beta", "mcp-client-2025-11-20")
            .field(
                "mcp_servers",
                json!([{ "type": "url", "url": "https://mcp.example.com/sse", "name": name }]),
            )
            .field("tools", json!([{ "type": "mcp_toolset", "mcp_server_name": name }]))
    };
    let client_side = |name: &str| {
        let tool = json!([{ "name": format!("mcp__{name}__search"), "input_schema": { "type": "object" } }]);
        Call::new(&server, &key).field("tools", tool)
    };
    assert_eq!((connector("github").send().status(), client_side("github").send().status()), (200, 200));
    assert_eq!((connector("evil").send().status(), client_side("evil").send().status()), (403, 403));
}

#[test]
fn each_call_of_a_servers_tool_is_an_event_linked_to_its_request() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("mcp-events");
    let tool = json!([{ "name": "mcp__github__search", "input_schema": { "type": "object" } }]);
    let answer = Call::new(&server, &key)
        .field("tools", tool)
        .simulate("shape=tools; tool=mcp__github__search; tool_calls=2")
        .send();
    assert_eq!(answer.status(), 200);
    let (request, calls) = eventually("the request and its tool calls are in the ledger", || {
        let events = ledger.events(&format!("project_id={project}"));
        let (calls, requests): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| event["event_type"] == "mcp_tool");
        (requests.len() == 1 && calls.len() == 2).then(|| (requests[0].clone(), calls))
    });
    for call in calls {
        assert_eq!(call["parent_event_id"], request["event_id"], "{call:#}");
        assert_eq!(call["tool_calls"][0]["server"], "github", "{call:#}");
        assert_eq!((&call["cost_nano_usd"], &call["input_tokens"]), (&json!(0), &json!(0)), "{call:#}");
    }
    let usage = ledger.get("/analytics/usage?interval=day&group_by=project");
    let rows = usage["data"].as_array().expect("rows");
    let own = rows.iter().find(|row| row["project_id"] == *project || row["project"] == *project);
    assert_eq!(own.map(|row| &row["requests"]), Some(&json!(1)), "a tool call is no request: {usage:#}");
}
