//! Real exchanges with the API, read in place.

use std::io::Read;
use std::path::PathBuf;

use base64::Engine;
use mindweave_metering::{Endpoint, MeteredResponse, Outcome, ResponseHead, ResponseTap};
use serde_json::Value;

/// One recorded exchange, as far as metering sees it.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) requested_model: Option<String>,
    pub(crate) request_body: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) expected: Value,
    pub(crate) extra: Value,
}

/// Every recorded exchange, or none, with a notice, where the recordings are not at hand.
pub(crate) fn exchanges() -> Vec<Exchange> {
    // Tests name their inputs through the environment; nothing else here reads it.
    let folder = std::env::var_os("MINDWEAVE_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/recordings"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("notice: no recordings at {}, nothing is compared", folder.display());
        return Vec::new();
    }
    let mut all = Vec::new();
    for name in ["messages", "messages_stream", "batches", "errors", "other_endpoints"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        all.extend(text.lines().map(|line| Exchange::read(&serde_json::from_str(line).unwrap())));
    }
    assert!(all.len() > 600, "only {} recordings", all.len());
    all
}

impl Exchange {
    fn read(record: &Value) -> Self {
        let request = &record["request"];
        let response = &record["response"];
        let header = |name: &str| response["headers"][name].as_str().map(str::to_owned);
        let body = match (&response["body"], response["body_base64"].as_str()) {
            (_, Some(coded)) => base64::engine::general_purpose::STANDARD.decode(coded).unwrap(),
            (Value::String(text), None) => text.clone().into_bytes(),
            (Value::Null, None) => Vec::new(),
            (parsed, None) => parsed.to_string().into_bytes(),
        };
        let request_body = match &request["body"] {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            parsed => serde_json::to_vec(parsed).unwrap(),
        };
        let requested: Value = serde_json::from_slice(&request_body).unwrap_or(Value::Null);
        Self {
            id: record["id"].as_str().unwrap().to_owned(),
            kind: record["kind"].as_str().unwrap().to_owned(),
            endpoint: Endpoint::of(request["method"].as_str().unwrap(), request["path"].as_str().unwrap()),
            requested_model: requested["model"].as_str().map(str::to_owned),
            request_body,
            status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
            content_type: header("content-type"),
            content_encoding: header("content-encoding"),
            body,
            expected: record["expected"].clone(),
            extra: record["expected_extra"].clone(),
        }
    }

    /// Meters a body in pieces of the sizes that `next_size` gives.
    pub(crate) fn meter(
        &self,
        body: &[u8],
        encoding: Option<&str>,
        mut next_size: impl FnMut() -> usize,
    ) -> MeteredResponse {
        let mut tap = ResponseTap::new(&ResponseHead {
            endpoint: &self.endpoint,
            status: self.status,
            content_type: self.content_type.as_deref(),
            content_encoding: encoding,
        });
        let mut rest = body;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(next_size().clamp(1, rest.len()));
            tap.feed(piece);
            rest = behind;
        }
        tap.finish(Outcome::Complete)
    }

    /// Meters the body as it was recorded, at once.
    pub(crate) fn metered(&self) -> MeteredResponse {
        self.meter(&self.body, self.content_encoding.as_deref(), || usize::MAX)
    }

    /// The body without its content encoding.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        match self.content_encoding.as_deref() {
            None => plain.clone_from(&self.body),
            Some("gzip") => {
                flate2::read::GzDecoder::new(self.body.as_slice()).read_to_end(&mut plain).unwrap();
            }
            Some(other) => panic!("{other} was never recorded"),
        }
        plain
    }
}
