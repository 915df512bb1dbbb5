//! `POST /v1/complete`, the legacy text endpoint: no usage at all, and its stream has CRLF line ends.

use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::heads::{self, Content};
use crate::inquiry::{ApiVersion, estimated_tokens};
use crate::intake::RawBody;
use crate::prose;
use crate::sse::EventWriter;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    max_tokens_to_sample: Option<u64>,
    #[serde(default)]
    stream: bool,
}

#[derive(Serialize)]
struct Completion<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    completion: &'a str,
    stop_reason: Option<&'static str>,
    model: &'a str,
    stop: Option<&'a str>,
    log_id: &'a str,
}

pub(super) fn create(exchange: &mut Exchange, body: &RawBody) -> Result<Answer, Fault> {
    if exchange.version == ApiVersion::October2026 {
        return Err(Fault::not_found("Not Found"));
    }
    let body = body.decoded()?;
    let request: Request =
        serde_json::from_slice(&body).map_err(|_| Fault::invalid("The request body is not valid JSON"))?;
    let model = request.model.ok_or_else(|| Fault::missing("model"))?;
    let limit = request.max_tokens_to_sample.ok_or_else(|| Fault::missing("max_tokens_to_sample"))?;
    let dice = &mut exchange.dice;
    let id = dice.id("compl_");
    let tokens = exchange.steering.output_tokens.unwrap_or_else(|| dice.between(24, 90)).min(limit);
    let text = format!(" {}", prose::prose(dice, prose::words_for(tokens).max(1)));
    let stop = "\n\nHuman:";
    let part = |completion, stop_reason: Option<&'static str>| Completion {
        kind: "completion",
        id: &id,
        completion,
        stop_reason,
        model: &model,
        stop: stop_reason.map(|_| stop),
        log_id: &id,
    };
    let content = if request.stream { Content::EventStream } else { Content::Json };
    let mut headers = heads::success(&exchange.request_id, content, dice);
    heads::add_limits(&mut headers, estimated_tokens(body.len()), dice);
    if !request.stream {
        return exchange.json_with(headers, &part(&text, Some("stop_sequence")));
    }
    let pieces = prose::cut_naturally(&text, &mut crate::dice::Dice::new(dice.next()));
    let mut writer = EventWriter::new(dice).with_crlf();
    for (number, piece) in pieces.into_iter().enumerate() {
        writer.event("completion", &part(piece, None));
        if number == 1 {
            writer.ping();
        }
    }
    writer.event("completion", &part("", Some("stop_sequence")));
    let events = writer.finish();
    exchange.pieces(headers, events, true)
}
