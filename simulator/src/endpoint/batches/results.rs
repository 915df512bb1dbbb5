//! The lines of a results file, made one by one while they are sent.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::store::{Batch, ItemOutcome};
use crate::dice::Dice;
use crate::inquiry::Inquiry;
use crate::message::Message;
use crate::shape::draft;

#[derive(Serialize)]
struct Line<'a> {
    custom_id: &'a str,
    result: ItemResult,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ItemResult {
    Succeeded { message: Box<Message> },
    Errored { error: serde_json::Value },
    Canceled,
    Expired,
}

/// All lines, last item first: the order of results means nothing, and clients should notice.
pub(super) fn lines(batch: Arc<Batch>) -> impl Iterator<Item = Bytes> + Send {
    (0..batch.items.len()).rev().filter_map(move |index| {
        let item = batch.items.get(index)?;
        let result = result(&batch, index, &item.params);
        let mut line = serde_json::to_vec(&Line { custom_id: &item.custom_id, result }).ok()?;
        line.push(b'\n');
        Some(line.into())
    })
}

fn result(batch: &Batch, index: usize, params: &Bytes) -> ItemResult {
    let number = u64::try_from(index).unwrap_or(u64::MAX);
    let mut dice = Dice::new(batch.seed.wrapping_add(number));
    match batch.outcome(index) {
        ItemOutcome::Canceled => ItemResult::Canceled,
        ItemOutcome::Expired => ItemResult::Expired,
        ItemOutcome::Errored => errored("The item was told to fail", &mut dice),
        ItemOutcome::Succeeded => match Inquiry::read(params, batch.version) {
            Ok(inquiry) => {
                let mut draft = draft(&inquiry, &batch.steering, &mut dice);
                draft.message.usage.service_tier = Some("batch".to_owned());
                ItemResult::Succeeded { message: Box::new(draft.message) }
            }
            Err(_) => errored("The parameters of the item are not valid", &mut dice),
        },
    }
}

/// The error of an item is a whole envelope.
fn errored(message: &str, dice: &mut Dice) -> ItemResult {
    let error = serde_json::json!({
        "type": "error",
        "error": {"type": "invalid_request_error", "message": message},
        "request_id": dice.id("req_"),
    });
    ItemResult::Errored { error }
}
