//! The journal's events, delivered to the control plane over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use mindweave_eventlog::{
    Batch, ClaimAnswer, ClaimRequest, DELIVERY_CONTENT_TYPE, Delivery, EventSink, PoisonAnswer, Sequence,
    SinkError,
};
use serde::de::DeserializeOwned;

use super::client::{CallError, Client, Connection};

const CLAIM_PATH: &str = "/internal/v1/events/claim";
const DELIVERY_PATH: &str = "/internal/v1/events";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const DELIVERY: HeaderValue = HeaderValue::from_static(DELIVERY_CONTENT_TYPE);

/// Where a proxy in a process of its own ships its journal.
///
/// A delivery that another consumer's claim has fenced is claimed anew with the next attempt: two processes with one journal
/// then book in turns, loudly, and no event is lost to whoever comes last.
pub struct ControlPlaneSink {
    client: Arc<Client>,
    connection: Option<Connection>,
    epoch: Option<i64>,
}

impl ControlPlaneSink {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, connection: None, epoch: None }
    }

    async fn claim(&mut self, source: &str) -> Result<ClaimAnswer, CallError> {
        let request = ClaimRequest { source: source.to_owned() };
        let body = serde_json::to_vec(&request).map_err(|_| CallError::Request)?;
        let (status, answer) = self.post(CLAIM_PATH, JSON, body).await?;
        if !status.is_success() {
            return Err(CallError::refusal(status, &answer));
        }
        let answer: ClaimAnswer = decoded(&answer)?;
        self.epoch = Some(answer.epoch);
        Ok(answer)
    }

    async fn delivered(&mut self, batch: &Batch) -> Result<(), DeliveryFault> {
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => self.claim(&batch.source).await?.epoch,
        };
        let (status, answer) = self.post(DELIVERY_PATH, DELIVERY, Delivery::encode(epoch, batch)).await?;
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::CONFLICT => {
                self.epoch = None;
                Err(CallError::Fenced.into())
            }
            StatusCode::UNPROCESSABLE_ENTITY => Err(DeliveryFault::Poison(decoded(&answer)?)),
            other => Err(CallError::refusal(other, &answer).into()),
        }
    }

    /// Posts on the open connection, else on a new one. A failure closes it: what it still carries is nobody's.
    async fn post(
        &mut self,
        path: &str,
        content_type: HeaderValue,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let mut connection = match self.connection.take().filter(|open| self.client.keeps(open)) {
            Some(connection) => connection,
            None => self.client.connect().await?,
        };
        let answer = self.client.post(&mut connection, path, content_type, body).await?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

/// Why a delivery failed.
enum DeliveryFault {
    Call(CallError),
    Poison(PoisonAnswer),
}

impl From<CallError> for DeliveryFault {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl EventSink for ControlPlaneSink {
    async fn position(&mut self, source: &str) -> Result<Option<Sequence>, SinkError> {
        let answer = self.claim(source).await.map_err(|error| SinkError::Retry(error.into()))?;
        Ok(answer.position.map(Sequence::new))
    }

    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        self.delivered(batch).await.map_err(|fault| match fault {
            DeliveryFault::Call(error) => SinkError::Retry(error.into()),
            DeliveryFault::Poison(poison) => {
                SinkError::Poison { sequence: Sequence::new(poison.sequence), reason: poison.reason }
            }
        })
    }
}

fn decoded<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|_| CallError::Malformed("an answer of another form"))
}
