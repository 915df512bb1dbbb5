//! `POST /v1/chat/completions`, the OpenAI-compatible endpoint.

use serde::Deserialize;
use serde_json::json;

use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::heads::Content;
use crate::inquiry::estimated_tokens;
use crate::intake::RawBody;
use crate::models;
use crate::prose;
use crate::sse::EventWriter;

/// The `created` of every answer: noon of the simulated day.
const CREATED: u64 = 1_795_262_400;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    #[serde(default)]
    stream: bool,
}

pub(super) fn create(exchange: &mut Exchange, body: &RawBody) -> Result<Answer, Fault> {
    let body = body.decoded()?;
    let request: Request =
        serde_json::from_slice(&body).map_err(|_| Fault::invalid("The request body is not valid JSON"))?;
    let requested = request.model.ok_or_else(|| Fault::missing("model"))?;
    let model = models::served_id(&requested);
    let dice = &mut exchange.dice;
    let id = dice.id("msg_");
    let (input, output) = (estimated_tokens(body.len()), exchange.steering.output_tokens.unwrap_or(40));
    let text = prose::prose(dice, prose::words_for(output).max(1));
    let usage = json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input.saturating_add(output),
    });
    if !request.stream {
        return exchange.json(&json!({
            "id": id, "object": "chat.completion", "created": CREATED, "model": model, "usage": usage,
            "choices": [{
                "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text},
            }],
        }));
    }
    let pieces = prose::cut_naturally(&text, &mut crate::dice::Dice::new(dice.next()));
    let mut writer = EventWriter::new(dice);
    let chunk = |delta: serde_json::Value, finish: Option<&str>| {
        json!({
            "id": id, "object": "chat.completion.chunk", "created": CREATED, "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        })
        .to_string()
    };
    for piece in pieces {
        writer.unnamed(&chunk(json!({"content": piece}), None));
    }
    writer.unnamed(&chunk(json!({}), Some("stop")));
    writer.unnamed("[DONE]");
    let events = writer.finish();
    let headers = exchange.head(Content::EventStream);
    exchange.pieces(headers, events, true)
}
