//! `/v1/skills`: the other multipart upload.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::{Upload, wrong_method};
use crate::answer::Answer;
use crate::clock::Moment;
use crate::exchange::{Exchange, internal};
use crate::fault::Fault;
use crate::heads::Content;

/// Size of a made archive.
const ARCHIVE_BYTES: usize = 4_096;

pub(super) fn create(exchange: &mut Exchange, upload: &Upload) -> Result<Answer, Fault> {
    let id = exchange.dice.id("skill_");
    let folder = upload.file.name.split('/').next().unwrap_or_default();
    let name = upload.display_name.as_deref().unwrap_or(folder).to_owned();
    let body = skill(exchange, &id, &name);
    exchange.json(&body)
}

pub(super) fn route(exchange: &mut Exchange, rest: &[&str]) -> Result<Answer, Fault> {
    let method = exchange.parts.method.clone();
    match (&method, rest) {
        (&Method::GET, [] | [_, "versions"]) => {
            exchange.json(&json!({"data": [], "has_more": false, "next_page": null}))
        }
        (&Method::GET, [id]) => {
            let body = skill(exchange, id, "Simulated skill");
            exchange.json(&body)
        }
        (&Method::GET, [_, "versions", _, "content"]) => archive(exchange),
        (&Method::DELETE, [id]) => exchange.json(&json!({"id": id, "type": "skill_deleted"})),
        (_, [] | [_] | [_, "versions"]) => Err(wrong_method()),
        _ => Err(Fault::not_found("Not Found")),
    }
}

fn skill(exchange: &mut Exchange, id: &str, name: &str) -> Value {
    let created = Moment::draw(&mut exchange.dice);
    let version = exchange.dice.id("skillver_");
    json!({
        "id": id, "type": "skill", "display_name": name, "display_title": name, "source": {"type": "custom"},
        "created_at": created.rfc3339(), "updated_at": created.rfc3339(),
        "latest_version": version, "latest_version_id": version,
    })
}

fn archive(exchange: &mut Exchange) -> Result<Answer, Fault> {
    let mut bytes = b"PK\x03\x04".to_vec();
    exchange.dice.fill(ARCHIVE_BYTES, &mut bytes);
    let length = u64::try_from(bytes.len()).ok();
    let headers = exchange.head(Content::Binary);
    let pieces = Box::new(std::iter::once(Bytes::from(bytes)));
    let encoding = exchange.encoding(true);
    Answer::made(headers, pieces, length, encoding, &exchange.steering).map_err(|_| internal())
}
