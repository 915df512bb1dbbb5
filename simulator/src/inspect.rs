//! The simulator's own pages, for tests in other processes: what was asked, and how it ended.
//!
//! `GET /_simulator/requests[?last=N]`, `DELETE /_simulator/requests`, `GET /_simulator/counts`.

use http::request::Parts;
use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::request_log::RequestLog;
use crate::service::page;

pub(crate) fn answer(log: &RequestLog, parts: &Parts, name: &str) -> Answer {
    match (&parts.method, name) {
        (&Method::GET, "requests") => {
            let mut requests = log.requests();
            let last = parts.uri.query().and_then(|query| query.strip_prefix("last=")?.parse::<usize>().ok());
            let surplus = last.map_or(0, |last| requests.len().saturating_sub(last));
            requests.drain(..surplus);
            json(&requests)
        }
        (&Method::DELETE, "requests") => {
            log.clear();
            json(&log.counts())
        }
        (&Method::GET, "counts") => json(&log.counts()),
        _ => page(StatusCode::NOT_FOUND, "{\"error\":\"no such page of the simulator\"}".to_owned()),
    }
}

fn json(value: &impl serde::Serialize) -> Answer {
    page(StatusCode::OK, serde_json::to_string(value).unwrap_or_default())
}
