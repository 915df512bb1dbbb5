//! Between knowing whose a request is and admitting it: policies decide, then limits and budgets count.
//!
//! For a principal that nothing is in force for, all of this is two look-ups, and the body streams. Where a policy decides on
//! what the body asks for, or a limit or budget counts by it, the body is held until that is known; the very same bytes then go
//! on. A body that two readers could take for two different requests is refused there, or a smuggled field would pass.

mod client_ip;
mod judge;
mod open_reservation;
mod origin;
mod record;
mod turns;
mod upkeep;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, HeaderMap};
use http::request::Parts;
use mindweave_metering::{Encoding, Endpoint, RequestReading, ScanFault, SideDecoder};
use mindweave_policy::{AdmissionControl, CredentialKind, PolicySet, Principal, Reads, Rules, Snapshot, pii};
use tokio::time::Instant;

pub(crate) use self::client_ip::client_ip;
pub(crate) use self::open_reservation::OpenReservation;
pub(crate) use self::origin::{Origin, declared_length};
use self::turns::Turns;
pub(crate) use self::upkeep::{follow, upkeep};
use crate::body::{HeldBytes, HoldFault, NoRoom, RequestBody, RequestBodyError, RequestWatch};
use crate::clock;
use crate::error::ProxyError;
use crate::exchange::{Awaiting, Unadmitted};
use crate::headers::CredentialPlan;
use crate::metrics;
use crate::settle::{AdmittedRecord, Ledger};
use crate::upstream::UpstreamError;
pub use mindweave_policy::{IpRange, IpRangeError};

/// Bodies longer than this are searched for personal data on a thread of their own, as it takes milliseconds per megabyte.
const SEARCH_INLINE_BYTES: usize = 64 * 1024;

/// What governs requests.
pub(crate) struct Governance {
    admission: Arc<AdmissionControl>,
    ledger: Arc<Ledger>,
    held: Arc<HeldBytes>,
    /// How long to wait for the next bytes of a body that is held.
    patience: Duration,
    turns: Turns,
}

/// What is in force for one principal.
pub(crate) struct InForce {
    policies: Option<Arc<PolicySet>>,
    rules: Option<Arc<Rules>>,
}

/// A request that is to be governed.
pub(crate) struct Asked<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) watch: &'a RequestWatch,
    /// How long its body may be.
    pub(crate) limit: u64,
    /// What it is judged by: in force when it came or, if its body had to be waited for, when that was there.
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) credential: CredentialKind,
    /// What becomes of its credential, also by that snapshot.
    pub(crate) plan: CredentialPlan,
    pub(crate) client_ip: IpAddr,
    pub(crate) received: Instant,
}

impl<'a> Asked<'a> {
    /// The same request as it is booked before it is admitted.
    pub(crate) fn unadmitted(&self, ledger: &'a Ledger, admitted: &'a AdmittedRecord) -> Unadmitted<'a> {
        Unadmitted { ledger, admitted, endpoint: self.endpoint, request: self.watch, received: self.received }
    }
}

/// A request that may pass.
pub(crate) struct Passed {
    /// All bytes are still to go on.
    pub(crate) body: RequestBody,
    /// What it holds of limits and budgets, where any count it.
    pub(crate) reservation: Option<OpenReservation>,
}

/// What is known of a request beyond its head when it is judged.
#[derive(Default)]
struct Known {
    reading: Option<Arc<RequestReading>>,
    /// Categories of personal data; `None` where nobody asks for them.
    personal: Option<Vec<&'static str>>,
}

impl Governance {
    pub(crate) fn new(
        admission: Arc<AdmissionControl>,
        ledger: Arc<Ledger>,
        held_bytes: u64,
        patience: Duration,
    ) -> Self {
        Self { admission, ledger, held: HeldBytes::new(held_bytes), patience, turns: Turns::new() }
    }

    /// What is in force for this principal; `None` when nothing is.
    pub(crate) fn in_force(&self, snapshot: &Snapshot, principal: &Principal) -> Option<InForce> {
        let policies = snapshot.policies.in_force(principal);
        let rules = self.admission.in_force(principal);
        (policies.is_some() || rules.is_some()).then_some(InForce { policies, rules })
    }

    /// Waits for the whole body. `record` gets how long that took, and when it was over.
    ///
    /// # Errors
    /// When the body cannot be had. The caller books that; a request whose client leaves meanwhile is booked here.
    pub(crate) async fn hold(
        &self,
        asked: &Asked<'_>,
        body: RequestBody,
        record: &mut AdmittedRecord,
    ) -> Result<RequestBody, ProxyError> {
        metrics::governance().body_held();
        let awaiting = Awaiting::new(asked.unadmitted(&self.ledger, record));
        let before = Instant::now();
        let held = body.hold(&self.held, self.patience).await;
        awaiting.over();
        record.waited = before.elapsed();
        record.timestamp = clock::now(); // an upload may last: windows and working hours count by the decision
        held.map_err(|fault| match fault {
            HoldFault::NoRoom => ProxyError::HeldBodiesFull,
            HoldFault::Stalled => ProxyError::Upstream(UpstreamError::RequestStalled),
            HoldFault::Body(RequestBodyError::TooLarge { limit }) => ProxyError::RequestTooLarge { limit },
            HoldFault::Body(RequestBodyError::Client(_)) => ProxyError::RequestIncomplete,
        })
    }

    /// Lets a request pass or refuses it; its body is held if what is in force [`waits for it`](InForce::waits_for_body).
    /// `record` gets what was decided either way.
    ///
    /// # Errors
    /// When it is refused. The caller books that; a request whose client leaves meanwhile is booked here.
    pub(crate) async fn pass(
        &self,
        in_force: &InForce,
        asked: &Asked<'_>,
        body: RequestBody,
        record: &mut AdmittedRecord,
    ) -> Result<Passed, ProxyError> {
        let known = if in_force.waits_for_body(asked) {
            let awaiting = Awaiting::new(asked.unadmitted(&self.ledger, record));
            let known = self.read(in_force, asked, &body).await;
            awaiting.over();
            known?
        } else {
            Known::default()
        };
        if let Some(reading) = &known.reading {
            record.requested_model.clone_from(&reading.facts.model);
        }
        let reservation = self.judge(in_force, asked, &known, record).await?;
        Ok(Passed { body, reservation })
    }

    /// What a held body says, if it says it clearly enough for what is in force.
    async fn read(
        &self,
        in_force: &InForce,
        asked: &Asked<'_>,
        body: &RequestBody,
    ) -> Result<Known, ProxyError> {
        let Some(reading) = asked.watch.reading() else { return Ok(Known::default()) };
        if let Some(fault) = reading.fault {
            return Err(ProxyError::BodyUnreadable(fault));
        }
        let reads = in_force.reads();
        if reading.facts.truncated && (reads.body_facts || reads.pii) {
            return Err(ProxyError::BodyTooVaried);
        }
        let personal = if reads.pii { Some(self.search(asked, body).await?) } else { None };
        Ok(Known { reading: Some(reading), personal })
    }

    /// The categories of personal data in a held body.
    async fn search(&self, asked: &Asked<'_>, body: &RequestBody) -> Result<Vec<&'static str>, ProxyError> {
        let encoding = encoding(&asked.head.headers);
        let mut share = self.held.share(); // copies count like what they are made of
        let text = body.whole(&mut share).map_err(|NoRoom| ProxyError::HeldBodiesFull)?;
        if encoding == Encoding::Identity && text.len() <= SEARCH_INLINE_BYTES {
            return Ok(pii::detect(&text));
        }
        let limit = asked.limit;
        let searching = tokio::task::spawn_blocking(move || {
            if encoding == Encoding::Identity {
                return Ok(pii::detect(&text));
            }
            let mut plain = Vec::new();
            let mut room = Ok(());
            let mut decoder = SideDecoder::new(encoding);
            let decoded = decoder.feed(&text, &mut |piece| {
                let length = plain.len().saturating_add(piece.len());
                if room.is_ok() && u64::try_from(length).is_ok_and(|length| length > limit) {
                    room = Err(ProxyError::RequestTooLarge { limit });
                }
                if room.is_ok() && share.grow(piece.len()).is_err() {
                    room = Err(ProxyError::HeldBodiesFull);
                }
                if room.is_ok() {
                    plain.extend_from_slice(piece);
                }
            });
            room?;
            let decoded = decoded.and_then(|()| decoder.finish());
            decoded.map_err(|fault| ProxyError::BodyUnreadable(ScanFault::Encoding(fault)))?;
            Ok(pii::detect(&plain))
        });
        // The search does not panic; if it did, nobody would know what is in the body.
        searching.await.unwrap_or(Err(ProxyError::HeldBodiesFull))
    }
}

impl InForce {
    fn reads(&self) -> Reads {
        self.policies.as_ref().map(|policies| policies.reads()).unwrap_or_default()
    }

    /// Whether the request has to be held until its body is there.
    pub(crate) fn waits_for_body(&self, asked: &Asked<'_>) -> bool {
        let reads = self.reads();
        let by_rules = || self.rules.as_ref().is_some_and(|rules| rules.needs_body());
        (reads.body_facts || reads.pii || by_rules()) && asked.watch.is_read()
    }
}

/// How a body is coded. Several fields are several codings, as one field with a list is.
pub(crate) fn encoding(headers: &HeaderMap) -> Encoding {
    let mut fields = headers.get_all(CONTENT_ENCODING).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Encoding::Identity,
        (Some(only), None) => Encoding::from_header(Some(only.to_str().unwrap_or("?"))), // unreadable is unknown
        (Some(_), Some(_)) => Encoding::Unknown,
    }
}
