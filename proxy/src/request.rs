//! One request, read from top to bottom.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use jiff::Timestamp;
use mindweave_eventlog::{Admission, AppendError};
use mindweave_metering::{DecisionRecord, Endpoint, RequestScan};
use mindweave_policy::{Principal, SnapshotStore};
use tokio::time::{Duration, Instant};

use crate::attribution::Attribution;
use crate::batches::{ResultsUrls, may_hold_results_url};
use crate::body::RequestBody;
use crate::clock;
use crate::config::{BodyLimits, JournalFull, Unregistered};
use crate::error::{ProxyError, chain};
use crate::exchange::{OpenExchange, Opening};
use crate::governance::{
    Asked, Governance, InForce, IpRange, Origin, Passed, client_ip, declared_length, encoding,
};
use crate::headers::{self, ForwardRules};
use crate::identity::{Identity, identify};
use crate::method::method_name;
use crate::metrics;
use crate::project_rules::{self, Presented};
use crate::server::{Handler, Peer};
use crate::settle::{AdmittedRecord, Ledger};
use crate::tap::{EmptyBody, ResponseBody, Source, TapBody};
use crate::upstream::{Upstream, UpstreamError};

/// What every request needs, and nothing that belongs to one of them.
pub(crate) struct RequestService {
    pub(crate) unregistered: Unregistered,
    pub(crate) body_limits: BodyLimits,
    pub(crate) journal_full: JournalFull,
    /// `None` where batch objects pass as they are.
    pub(crate) results_urls: Option<ResultsUrls>,
    /// What `host` says upstream.
    pub(crate) host: HeaderValue,
    pub(crate) trusted_proxies: Vec<IpRange>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) governance: Governance,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) upstream: Upstream<RequestBody>,
}

impl Handler for RequestService {
    type Body = ResponseBody;

    async fn handle(self: &Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<ResponseBody> {
        match self.serve(request, peer).await {
            Ok(response) => response,
            Err(error) => {
                metrics::own_answer(error.reason());
                match &error {
                    ProxyError::Upstream(cause) if !matches!(cause, UpstreamError::BreakerOpen { .. }) => {
                        tracing::warn!(
                            reason = error.reason(),
                            error = chain(cause),
                            "no answer from upstream"
                        );
                    }
                    _ => tracing::debug!(reason = error.reason(), "answered by the proxy"),
                }
                error.response()
            }
        }
    }
}

impl RequestService {
    async fn serve(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let received = Instant::now();
        let (head, body) = request.into_parts();
        let client = head.version;
        let endpoint = Endpoint::of(head.method.as_str(), head.uri.path());
        // First, so that every refusal below drops it: a dropped body is read on for a while, or its sender might never
        // see the refusal.
        let limit = self.body_limits.of(endpoint.kind);
        let (body, watch) = RequestBody::new(&head, body, limit, scan(&head, &endpoint, limit));

        // What two readers could take for two different requests is not read at all.
        headers::check_unambiguous(&head.headers)?;
        let target = target(&head)?;

        // One version of keys and projects from here to the end, unless the body has to be waited for.
        let snapshot = self.snapshots.load();
        let now = clock::now();
        let Identity { principal, credential, kind } =
            identify(&head.headers, &snapshot, self.unregistered, now)?;
        let client_ip = client_ip(peer.addr.ip(), &head.headers, &self.trusted_proxies);

        let mut admitted = AdmittedRecord {
            snapshot_revision: snapshot.revision,
            origin: Some(Origin::of(&head.headers, client_ip)),
            ..self.record(&head, &endpoint, principal, now)
        };

        // Decide: what the API would refuse for its size, what policies deny, what limits and budgets have no room for.
        let mut asked = Asked {
            head: &head,
            endpoint: &endpoint,
            watch: &watch,
            limit,
            snapshot,
            credential: kind,
            plan: credential,
            client_ip,
            received,
        };
        let Passed { body, reservation } = match self.govern(&mut asked, body, &mut admitted).await {
            Ok(passed) => passed,
            Err(error) => {
                asked.unadmitted(&self.ledger, &admitted).refuse(&error);
                return Err(error);
            }
        };

        let credential = asked.plan;

        // Admit: whatever happens next, this request will be in the ledger.
        let admission = self.admit(&admitted)?;
        let must_sync = admission.as_ref().map(Admission::sequence);
        let request = Arc::clone(&watch);
        let opening = Opening { admitted, endpoint: endpoint.clone(), request, received, reservation };
        let mut exchange = OpenExchange::new(Arc::clone(&self.ledger), admission, opening);
        if let Some(sequence) = must_sync
            && let Err(error) = self.ledger.journal().admission_durable(sequence).await
        {
            tracing::error!(error = chain(&error), "journal cannot be synced");
            exchange.fail(&ProxyError::JournalFailed);
            return Err(ProxyError::JournalFailed);
        }

        // Forward. No retry here: the client owns retries, and a call that failed half-way may have been billed.
        let own_origin =
            self.results_urls.as_ref().and_then(|urls| urls.own_origin(&head, &endpoint, peer.scheme()));
        let request = self.forwarded(head, target, credential, body);
        exchange.forwarding();
        let response = match self.upstream.send(request).await {
            Ok(response) => response,
            Err(error) => {
                let error = ProxyError::unanswered(error, watch.end());
                exchange.fail(&error);
                return Err(error);
            }
        };

        // Stream. Batch objects are read ahead, all else passes as it comes.
        let response = match (&self.results_urls, own_origin) {
            (Some(urls), Some(origin)) if may_hold_results_url(endpoint.kind, &response) => {
                urls.rewrite(response, &origin).await
            }
            (Some(_) | None, _) => response.map(Source::Upstream),
        };
        Ok(returned(response, exchange, client))
    }

    /// What an event of this request starts from.
    fn record(
        &self,
        head: &Parts,
        endpoint: &Endpoint,
        principal: Arc<Principal>,
        now: Timestamp,
    ) -> AdmittedRecord {
        AdmittedRecord {
            event_id: self.ledger.next_event_id(now),
            timestamp: now,
            principal,
            method: method_name(&head.method),
            endpoint: Arc::clone(&endpoint.template),
            attribution: Attribution::of(&head.headers),
            snapshot_revision: 0,
            proxy_id: self.ledger.proxy_id().clone(),
            decision: DecisionRecord::allowed(),
            requested_model: None,
            origin: None,
            waited: Duration::ZERO,
        }
    }

    async fn govern(
        &self,
        asked: &mut Asked<'_>,
        body: RequestBody,
        admitted: &mut AdmittedRecord,
    ) -> Result<Passed, ProxyError> {
        if declared_length(&asked.head.headers).is_some_and(|length| length > asked.limit) {
            return Err(ProxyError::RequestTooLarge { limit: asked.limit });
        }
        check_project_rules(asked, admitted)?;
        match self.governance.in_force(&asked.snapshot, &admitted.principal) {
            // Boxed: every connection's task has room for this, and most never need it.
            Some(in_force) => Box::pin(self.pass(in_force, asked, body, admitted)).await,
            None => Ok(Passed { body, reservation: None }),
        }
    }

    /// Waits for the body if that is needed, and lets the request pass or refuses it.
    async fn pass(
        &self,
        in_force: InForce,
        asked: &mut Asked<'_>,
        body: RequestBody,
        admitted: &mut AdmittedRecord,
    ) -> Result<Passed, ProxyError> {
        if !in_force.waits_for_body(asked) {
            return self.governance.pass(&in_force, asked, body, admitted).await;
        }
        let body = self.governance.hold(asked, body, admitted).await?;
        self.renew(asked, admitted)?;
        match self.governance.in_force(&asked.snapshot, &admitted.principal) {
            Some(in_force) => self.governance.pass(&in_force, asked, body, admitted).await,
            None => Ok(Passed { body, reservation: None }),
        }
    }

    /// Takes what is in force now. A body may have taken hours to come, and whoever sent its first byte in time must not escape
    /// what was decided since, be it that the key was revoked.
    fn renew(&self, asked: &mut Asked<'_>, admitted: &mut AdmittedRecord) -> Result<(), ProxyError> {
        let snapshot = self.snapshots.load();
        admitted.snapshot_revision = snapshot.revision;
        asked.snapshot = snapshot;
        let identity = identify(&asked.head.headers, &asked.snapshot, self.unregistered, admitted.timestamp)?;
        (admitted.principal, asked.credential, asked.plan) =
            (identity.principal, identity.kind, identity.credential);
        check_project_rules(asked, admitted)
    }

    fn admit(&self, admitted: &AdmittedRecord) -> Result<Option<Admission>, ProxyError> {
        let Ok(payload) = serde_json::to_vec(admitted) else { return Err(ProxyError::JournalFailed) };
        match (
            self.ledger.journal().append_admitted(*admitted.event_id.as_bytes(), &payload),
            self.journal_full,
        ) {
            (Ok(admission), _) => Ok(Some(admission)),
            (Err(_), JournalFull::Drop) => {
                metrics::admission_dropped();
                Ok(None)
            }
            (Err(AppendError::Full), JournalFull::Refuse) => Err(ProxyError::JournalFull),
            (Err(error), JournalFull::Refuse) => {
                tracing::error!(error = chain(&error), "journal cannot be written");
                Err(ProxyError::JournalFailed)
            }
        }
    }

    fn forwarded(
        &self,
        head: Parts,
        target: Uri,
        credential: headers::CredentialPlan,
        body: RequestBody,
    ) -> Request<RequestBody> {
        let rules = ForwardRules { credential, host: &self.host, version: head.version };
        let length_unknown = head.version >= Version::HTTP_2 && !body.is_end_stream();
        let permission = body.permission();
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = target;
        *request.version_mut() = Version::HTTP_11; // our own, not the client's (RFC 9112, section 2.3)
        *request.headers_mut() = headers::for_upstream(head.headers, &rules);
        if length_unknown && !request.headers().contains_key(CONTENT_LENGTH) {
            // Unasked, hyper sends no body with GET over HTTP/1.1. Over HTTP/2 it drops the field.
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        *request.extensions_mut() = head.extensions; // the letter case of header names is in there
        if let Some(permission) = permission {
            hyper::ext::on_informational(&mut request, move |interim| {
                if interim.status() == StatusCode::CONTINUE {
                    permission.give();
                }
            });
        }
        request
    }
}

/// Refuses what the request's project does not take.
fn check_project_rules(asked: &Asked<'_>, admitted: &AdmittedRecord) -> Result<(), ProxyError> {
    let presented = Presented {
        headers: &asked.head.headers,
        principal: &admitted.principal,
        kind: asked.credential,
        metadata: &admitted.attribution.metadata,
    };
    project_rules::check(&asked.snapshot, &presented)
}

/// The request target to send: path and query byte for byte.
fn target(head: &Parts) -> Result<Uri, ProxyError> {
    if head.method == Method::CONNECT {
        return Err(ProxyError::MethodNotSupported);
    }
    head.uri.path_and_query().cloned().map(Uri::from).ok_or(ProxyError::TargetInvalid)
}

/// What a body may not have on the wire, it may not have behind its coding either.
fn scan(head: &Parts, endpoint: &Endpoint, limit: u64) -> Option<RequestScan> {
    RequestScan::new(endpoint.kind, encoding(&head.headers)).map(|scan| scan.at_most(limit))
}

/// The answer as the client gets it, watched to its end.
fn returned(
    response: Response<Source>,
    mut exchange: OpenExchange,
    client: Version,
) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    exchange.answered(&head);
    head.headers = headers::for_client(head.headers, client);
    let empty = if client < Version::HTTP_2 && head.headers.contains_key(CONTENT_LENGTH) {
        EmptyBody::of(&body)
    } else {
        EmptyBody::Declared
    };
    exchange.returning();
    Response::from_parts(head, ResponseBody::Tapped(Box::new(TapBody::new(body, exchange, empty))))
}
