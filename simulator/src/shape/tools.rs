//! Tools that the client runs: the simulated model picks from those the request offers.

use serde_json::{Value, json};

use super::draft::{Body, Context, Stop};
use super::{plain, schema};
use crate::dice::Dice;
use crate::inquiry::{Inquiry, ToolDefinition};
use crate::message::Block;

/// The tools of Claude Code that do no harm with a harmless input, in order of preference.
const PREFERRED: [&str; 2] = ["Bash", "Read"];
/// The name used when the request offers no tool at all.
const NO_TOOL: &str = "get_weather";

/// Whether the request leaves the model no choice but to call a tool.
pub(super) fn is_forced(inquiry: &Inquiry<'_>) -> bool {
    let forced = inquiry.tool_choice.as_ref().is_some_and(|choice| matches!(&*choice.kind, "tool" | "any"));
    forced && inquiry.tools.as_deref().is_some_and(|tools| tools.iter().any(ToolDefinition::is_client_side))
}

/// A sentence and `tool_calls` calls of one tool.
pub(super) fn client_tools(context: &Context<'_>, dice: &mut Dice) -> Body {
    let tool = chosen(context);
    let name =
        context.steering.tool.clone().or_else(|| tool?.name.clone()).unwrap_or_else(|| NO_TOOL.to_owned());
    let input = tool.and_then(|tool| tool.input_schema).and_then(schema::conforming);
    let mut blocks = vec![plain::text_block(context, context.counts.output / 2, dice)];
    for _ in 0..context.steering.tool_calls {
        blocks.push(Block::ToolUse {
            id: dice.id("toolu_"),
            name: name.clone(),
            input: input_for(&name, input.clone()),
            caller: json!({"type": "direct"}),
        });
    }
    Body { stop: Stop::ToolUse, ..Body::new(blocks, context.counts) }
}

/// The tool to call: the steered one, the forced one, a harmless one, any.
fn chosen<'a>(context: &'a Context<'_>) -> Option<&'a ToolDefinition<'a>> {
    let offered: Vec<&ToolDefinition<'_>> =
        context.inquiry.tools.as_deref()?.iter().filter(|tool| tool.is_client_side()).collect();
    let named = |wanted: &str| offered.iter().copied().find(|tool| tool.name.as_deref() == Some(wanted));
    let forced = context.inquiry.tool_choice.as_ref().and_then(|choice| choice.name.as_deref());
    if let Some(wanted) = context.steering.tool.as_deref().or(forced) {
        return named(wanted);
    }
    PREFERRED.iter().find_map(|wanted| named(wanted)).or_else(|| offered.first().copied())
}

/// Inputs of well-known tools; everything else follows its schema.
fn input_for(name: &str, from_schema: Option<Value>) -> Value {
    match name {
        "Bash" => json!({"command": "echo simulated", "description": "Print a word"}),
        "Read" => json!({"file_path": "/etc/hostname"}),
        NO_TOOL if from_schema.is_none() => json!({"location": "Lisbon"}),
        _ => from_schema.unwrap_or_else(|| json!({})),
    }
}
