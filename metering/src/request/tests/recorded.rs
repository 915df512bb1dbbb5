//! Recorded request bodies, read in place where they are present.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

fn recordings() -> Option<PathBuf> {
    let given = std::env::var_os("MINDWEAVE_RECORDINGS").map(PathBuf::from);
    let folder =
        given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/recordings"));
    folder.is_dir().then_some(folder)
}

#[test]
fn recorded_bodies_are_read_as_serde_reads_them_in_any_chunking() {
    let Some(folder) = recordings() else {
        println!("no recordings: set MINDWEAVE_RECORDINGS to their folder");
        return;
    };
    let mut read_bodies = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let exchange: Value = serde_json::from_str(line).unwrap();
            read_bodies += u32::from(check(&exchange));
        }
    }
    assert!(read_bodies > 500, "only {read_bodies} bodies found");
}

/// Whether the exchange has a body that is scanned.
fn check(exchange: &Value) -> bool {
    let request = &exchange["request"];
    let endpoint =
        crate::Endpoint::of(request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
    let body = match &request["body"] {
        Value::Null => return false,
        Value::String(text) => text.clone().into_bytes(),
        parsed => serde_json::to_vec(parsed).unwrap(),
    };
    if RequestScan::new(endpoint.kind, Encoding::Identity).is_none() {
        return false;
    }
    let id = &exchange["id"];
    let reading = read(endpoint.kind, &body);
    for size in [1, 13, 1460] {
        let chunked = read_chunks(endpoint.kind, Encoding::Identity, body.chunks(size));
        assert_eq!(chunked, reading, "{id} in chunks of {size}");
    }
    match endpoint.kind {
        EndpointKind::Messages => match oracle::facts(&body) {
            Some(expected) => {
                assert_eq!((reading.fault, oracle::comparable(reading.facts)), (None, expected), "{id}");
            }
            None => assert!(reading.fault.is_some(), "{id}: serde refuses it"),
        },
        EndpointKind::Batches(_) => {
            let parsed: Value = serde_json::from_slice(&body).unwrap();
            let requests = parsed["requests"].as_array().unwrap();
            assert_eq!(reading.facts.batch_requests, length(requests.len()), "{id}");
            for request in requests {
                let model = request["params"]["model"].as_str().unwrap();
                assert!(reading.facts.models.iter().any(|known| **known == *model), "{id}: {model}");
            }
        }
        _ => {
            let parsed: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(reading.facts.model.as_deref(), parsed["model"].as_str(), "{id}");
            assert_eq!(reading.facts.max_tokens, parsed["max_tokens_to_sample"].as_u64(), "{id}");
        }
    }
    true
}
