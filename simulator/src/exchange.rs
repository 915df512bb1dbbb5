//! One request with everything an endpoint needs to answer it.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::answer::{self, Answer};
use crate::dice::Dice;
use crate::encoding::Encoding;
use crate::fault::Fault;
use crate::heads::{self, Content};
use crate::inquiry::ApiVersion;
use crate::steering::Steering;

/// A request whose head has been judged.
pub(crate) struct Exchange {
    pub(crate) parts: Parts,
    pub(crate) steering: Steering,
    pub(crate) version: ApiVersion,
    pub(crate) dice: Dice,
    pub(crate) request_id: String,
}

impl Exchange {
    pub(crate) fn new(parts: Parts, steering: Steering, version: ApiVersion, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let request_id = dice.id("req_");
        Self { parts, steering, version, dice, request_id }
    }

    /// The value of a request header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The value of a query parameter, undecoded: the simulator's own are plain.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let query = self.parts.uri.query()?;
        query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    pub(crate) fn head(&mut self, content: Content) -> HeaderMap {
        heads::success(&self.request_id, content, &mut self.dice)
    }

    pub(crate) fn encoding(&self, streamed: bool) -> Encoding {
        answer::negotiate(&self.steering, self.header("accept-encoding"), streamed)
    }

    /// A JSON answer outside of inference.
    pub(crate) fn json(&mut self, body: &impl Serialize) -> Result<Answer, Fault> {
        let headers = self.head(Content::Json);
        self.json_with(headers, body)
    }

    pub(crate) fn json_with(&mut self, headers: HeaderMap, body: &impl Serialize) -> Result<Answer, Fault> {
        let bytes = serde_json::to_vec(body).map_err(|_| internal())?;
        self.pieces(headers, vec![bytes.into()], false)
    }

    /// An answer of ready pieces.
    pub(crate) fn pieces(
        &self,
        headers: HeaderMap,
        pieces: Vec<Bytes>,
        streamed: bool,
    ) -> Result<Answer, Fault> {
        let encoding = self.encoding(streamed);
        Answer::ready(StatusCode::OK, headers, pieces, encoding, &self.steering).map_err(|_| internal())
    }

    /// An error answer. Its body is never compressed by an encoding the client has not offered.
    pub(crate) fn fault(&mut self, fault: &Fault) -> Answer {
        let headers = heads::failure(&self.request_id, fault, &mut self.dice);
        let body = fault.body(&self.request_id, &mut self.dice);
        let encoding = if fault.is_html() { Encoding::Identity } else { self.encoding(false) };
        let pieces = vec![body];
        let made = Answer::ready(fault.status, headers.clone(), pieces.clone(), encoding, &self.steering);
        made.unwrap_or_else(|_| Answer::plain(fault.status, headers, pieces))
    }
}

/// The simulator failed at something that cannot fail: writing to memory.
pub(crate) fn internal() -> Fault {
    Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
}
