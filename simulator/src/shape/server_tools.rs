//! Tools that run on the service's side, inside one request: input grows while they loop.

use serde_json::{Value, json};

use super::draft::{Body, Context, Stop};
use super::plain;
use crate::dice::Dice;
use crate::message::{Block, ServerToolUse};
use crate::prose;

/// Size of the encrypted content of one search result, close to recorded ones.
const ENCRYPTED_BYTES: usize = 900;
/// Results per search.
const RESULTS: usize = 3;

/// A call of the MCP connector and its result, then text. Server names come from the request.
pub(super) fn mcp(context: &Context<'_>, dice: &mut Dice) -> Body {
    let servers = context.inquiry.mcp_servers.as_deref().unwrap_or_default();
    let server =
        servers.first().and_then(|server| server.name.clone()).unwrap_or_else(|| "deepwiki".to_owned());
    let name = context.steering.tool.clone().unwrap_or_else(|| "ask_question".to_owned());
    let mut blocks = Vec::new();
    for _ in 0..context.steering.tool_calls {
        let id = dice.id("mcptoolu_");
        let input = json!({"question": prose::prose(dice, 8), "repoName": "example/repository"});
        blocks.push(Block::McpToolUse {
            id: id.clone(),
            name: name.clone(),
            input,
            server_name: server.clone(),
        });
        let content = json!([{"type": "text", "text": prose::prose(dice, 120)}]);
        blocks.push(Block::McpToolResult { tool_use_id: id, is_error: false, content });
    }
    blocks.push(plain::text_block(context, context.counts.output, dice));
    let body = Body::new(blocks, context.counts);
    grown(body, context.steering.tool_calls, used(0, 0), dice)
}

/// Searches with their results, then a text with a citation.
pub(super) fn web_search(context: &Context<'_>, dice: &mut Dice) -> Body {
    let searches = context.steering.searches;
    let mut blocks = searched(searches, dice);
    let mut text = plain::text_block(context, context.counts.output, dice);
    if let Block::Text { citations, .. } = &mut text {
        *citations = Some(vec![json!({
            "type": "web_search_result_location",
            "cited_text": prose::prose(dice, 12),
            "url": "https://example.com/article",
            "title": "An article",
            "encrypted_index": dice.opaque(120),
        })]);
    }
    blocks.push(text);
    grown(Body::new(blocks, context.counts), searches, used(searches, 0), dice)
}

/// Searches without end: the service pauses the turn and the client has to send it again.
pub(super) fn pause_turn(context: &Context<'_>, dice: &mut Dice) -> Body {
    let searches = context.steering.searches.max(2);
    let blocks = searched(searches, dice);
    let body = Body { stop: Stop::PauseTurn, ..Body::new(blocks, context.counts) };
    grown(body, searches, used(searches, 0), dice)
}

/// Fetched pages, then text.
pub(super) fn web_fetch(context: &Context<'_>, dice: &mut Dice) -> Body {
    let mut blocks = Vec::new();
    for number in 0..context.steering.fetches {
        let id = dice.id("srvtoolu_");
        let url = format!("https://example.com/page/{number}");
        blocks.push(Block::ServerToolUse { id: id.clone(), name: "web_fetch", input: json!({"url": url}) });
        let document = json!({
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": prose::prose(dice, 300)},
            "title": "A page",
        });
        let content = json!({
            "type": "web_fetch_result",
            "url": url,
            "retrieved_at": "2026-11-21T12:00:00.000000+00:00",
            "content": document,
        });
        blocks.push(Block::WebFetchToolResult { tool_use_id: id, content });
    }
    blocks.push(plain::text_block(context, context.counts.output, dice));
    let fetches = context.steering.fetches;
    grown(Body::new(blocks, context.counts), fetches, used(0, fetches), dice)
}

/// A command run in a container of the service, then text.
pub(super) fn code_execution(context: &Context<'_>, dice: &mut Dice) -> Body {
    let id = dice.id("srvtoolu_");
    let call = Block::ServerToolUse {
        id: id.clone(),
        name: "bash_code_execution",
        input: json!({"command": "echo $((3 * 12390))"}),
    };
    let content = json!({
        "type": "bash_code_execution_result", "stdout": "37170\n", "stderr": "", "return_code": 0, "content": [],
    });
    let result = Block::BashCodeExecutionToolResult { tool_use_id: id, content };
    let text = plain::text_block(context, context.counts.output, dice);
    let container = json!({"id": dice.id("container_"), "expires_at": "2026-11-21T13:00:00.000000Z"});
    let body = Body { container: Some(container), ..Body::new(vec![call, result, text], context.counts) };
    grown(body, 1, used(0, 0), dice)
}

fn searched(searches: u64, dice: &mut Dice) -> Vec<Block> {
    let mut blocks = Vec::new();
    for _ in 0..searches {
        let id = dice.id("srvtoolu_");
        let input = json!({"query": prose::prose(dice, 6)});
        blocks.push(Block::ServerToolUse { id: id.clone(), name: "web_search", input });
        let results: Vec<Value> = (0..RESULTS).map(|number| search_result(number, dice)).collect();
        let caller = json!({"type": "direct"});
        blocks.push(Block::WebSearchToolResult { tool_use_id: id, content: Value::from(results), caller });
    }
    blocks
}

fn search_result(number: usize, dice: &mut Dice) -> Value {
    json!({
        "type": "web_search_result",
        "title": prose::prose(dice, 5),
        "url": format!("https://example.com/result/{number}"),
        "encrypted_content": dice.opaque(ENCRYPTED_BYTES),
        "page_age": null,
    })
}

fn used(web_search_requests: u64, web_fetch_requests: u64) -> ServerToolUse {
    ServerToolUse { web_search_requests, web_fetch_requests }
}

/// Adds to the final input what each round brought in: a stream that opened with 2 000 may end with 40 000 tokens.
fn grown(mut body: Body, rounds: u64, server_tools: ServerToolUse, dice: &mut Dice) -> Body {
    for _ in 0..rounds {
        let brought = dice.between(2_000, 12_000);
        body.closing.input = body.closing.input.saturating_add(brought);
        // Automatic breakpoints on tool results are always five-minute writes; only a caching request has them.
        if body.opening.cache_read > 0 {
            body.closing.write_5m = body.closing.write_5m.saturating_add(brought / 2);
        }
    }
    body.usage.server_tools = Some(server_tools);
    body
}
