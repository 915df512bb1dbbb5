//! HTTP/1.1 to the control plane: one connection for the watch, one for events, both with the proxy token.
//!
//! Connections are made as those to the API are (name look-up, TLS, time limits) but live apart from them: the API's
//! circuit breaker, pool and metrics are about the API.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, InvalidHeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use mindweave_policy::{MAX_REPORTED_LIMITS, Secret, WireError, WrongBase};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

use super::certificate::CertificateError;
use crate::error::chain;
use crate::upstream::{Target, UpstreamConfigError, UpstreamError};

/// From the last byte of a request to the head of its answer, the time of a ledger's transaction included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Answers to calls are a few fields; the longest names every limit that may be divided, with ids of twice the usual length.
const MAX_ANSWER_BYTES: usize = 512 * MAX_REPORTED_LIMITS;
/// How long a connection that has failed may take to say why.
const LAST_WORD: Duration = Duration::from_millis(100);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a call of the control plane failed. Displays without any content of the exchange.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No connection.
    #[error("no connection to the control plane")]
    Connect(#[source] io::Error),
    /// No secure connection: above all, the control plane's certificate is not believed.
    #[error("no secure connection to the control plane")]
    Tls(#[source] io::Error),
    /// The connection broke.
    #[error("the connection to the control plane broke")]
    Http(#[source] hyper::Error),
    /// Silence.
    #[error("the control plane is silent")]
    TimedOut,
    /// The token is not accepted.
    #[error("the control plane does not accept this proxy token")]
    Unauthorized,
    /// There is no certificate to show, or one that is not vouched for.
    #[error(
        "the control plane wants a client certificate of an authority that it trusts: set proxy.control_plane_cert_file and proxy.control_plane_key_file"
    )]
    CertificateRequired,
    /// The control plane ended the connection over this proxy's certificate.
    #[error("the control plane refuses this proxy's certificate: {0}")]
    CertificateRefused(&'static str),
    /// The token belongs to another certificate.
    #[error("the control plane accepts this proxy token from the certificate of another name only")]
    CertificateName,
    /// The token is not made for this.
    #[error("the control plane does not accept this proxy token for this call: it lacks the scope")]
    Scope,
    /// Another status than success.
    #[error("the control plane answers with status {0}")]
    Status(StatusCode),
    /// A line beyond every bound.
    #[error("the control plane sends a line that does not end")]
    LineTooLong,
    /// An answer is not what the protocol says.
    #[error("the control plane sends what this proxy does not understand: {0}")]
    Malformed(&'static str),
    /// A line of the watch is not what the protocol says.
    #[error("the control plane sends a line that this proxy does not understand")]
    Line(#[source] WireError),
    /// A change of another snapshot than the one that is known here.
    #[error("the control plane sends a change that does not fit")]
    Change(#[source] WrongBase),
    /// A snapshot could not be made: its compiler broke down.
    #[error("the snapshot cannot be put in force")]
    Compile,
    /// Another process delivers events of this journal.
    #[error("another process has taken over this proxy's journal: is its data folder in use twice?")]
    Fenced,
    /// The stream ended, as at every stop of the control plane.
    #[error("the control plane ended the watch")]
    Ended,
    /// The request cannot be expressed.
    #[error("the request cannot be made")]
    Request,
}

impl CallError {
    /// Why connecting failed, in words that are not about the API.
    fn no_connection(error: UpstreamError) -> Self {
        Self::Connect(match error {
            UpstreamError::Connect(cause) => cause,
            UpstreamError::Tls(cause) => match Self::alert(&cause) {
                Some(refused) => return refused,
                None => return Self::Tls(cause),
            },
            UpstreamError::ConnectTimeout => io::ErrorKind::TimedOut.into(),
            other => io::Error::other(other),
        })
    }
}

/// Why the control plane's address or token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneConfigError {
    /// Its URL or its certificate authorities.
    #[error("the control plane cannot be called")]
    Target(#[source] UpstreamConfigError),
    /// The certificate that is to be shown.
    #[error("the certificate for the control plane cannot be used")]
    Certificate(#[source] CertificateError),
    /// A token that no header can carry.
    #[error("the proxy token has characters that cannot be sent")]
    Token(#[source] InvalidHeaderValue),
}

/// Where the control plane is and how a proxy proves that it may call it.
pub(super) struct Client {
    /// As the files say it now.
    target: watch::Receiver<Arc<Target>>,
    bearer: HeaderValue,
}

impl Client {
    pub(super) fn new(
        target: watch::Receiver<Arc<Target>>,
        token: &Secret,
    ) -> Result<Self, ControlPlaneConfigError> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(ControlPlaneConfigError::Token)?;
        bearer.set_sensitive(true);
        Ok(Self { target, bearer })
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<Connection, CallError> {
        let target = Arc::clone(&self.target.borrow());
        let stream = target.connect().await.map_err(CallError::no_connection)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(CallError::Http)?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Connection { sender, driver, target })
    }

    /// Says when connections should be made anew, because the files hold another certificate or other authorities.
    pub(super) fn renewals(&self) -> watch::Receiver<Arc<Target>> {
        let mut renewals = self.target.clone();
        renewals.mark_unchanged();
        renewals
    }

    /// Whether another request may be sent on a connection, and whether it is still the one that would be made now.
    pub(super) fn keeps(&self, connection: &Connection) -> bool {
        !connection.sender.is_closed() && Arc::ptr_eq(&connection.target, &self.target.borrow())
    }

    /// Asks for a path; the answer's body is the caller's to read.
    pub(super) async fn get(
        &self,
        connection: &mut Connection,
        path_and_query: &str,
    ) -> Result<Incoming, CallError> {
        let request = self.request(&connection.target, Method::GET, path_and_query, JSON, Bytes::new())?;
        let answer = connection.send(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect();
        // Whether the reason arrives or not, it is a refusal.
        let body = timeout(ANSWER_TIMEOUT, body).await.ok().and_then(Result::ok);
        Err(CallError::refusal(status, &body.map(http_body_util::Collected::to_bytes).unwrap_or_default()))
    }

    /// Posts a body and reads the answer, whatever its status.
    pub(super) async fn post(
        &self,
        connection: &mut Connection,
        path: &str,
        content_type: HeaderValue,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let request =
            self.request(&connection.target, Method::POST, path, content_type, Bytes::from(body))?;
        let answer = connection.send(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect();
        let body = timeout(ANSWER_TIMEOUT, body).await.map_err(|_elapsed| CallError::TimedOut)?;
        let body = body.map_err(|_| CallError::Malformed("an answer that breaks off or is too long"))?;
        Ok((status, body.to_bytes()))
    }

    fn request(
        &self,
        server: &Target,
        method: Method,
        path_and_query: &str,
        content_type: HeaderValue,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let uri: Uri = path_and_query.parse().map_err(|_| CallError::Request)?;
        let uri = server.origin_form(&uri).ok_or(CallError::Request)?;
        Request::builder()
            .method(method)
            .uri(uri)
            .header(HOST, server.host_header())
            .header(AUTHORIZATION, &self.bearer)
            .header(CONTENT_TYPE, content_type)
            .body(Full::new(body))
            .map_err(|_| CallError::Request)
    }
}

/// An open connection. Dropping it closes it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves its bytes; ends with the connection, and then says why.
    driver: JoinSet<Result<(), hyper::Error>>,
    /// What it leads to.
    target: Arc<Target>,
}

impl Connection {
    /// Sends a request and waits for the answer's head.
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, CallError> {
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let answer = timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_elapsed| CallError::TimedOut)?;
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failure(error).await),
        }
    }

    /// Why a request failed. A server that refuses our certificate says so once we take the connection for made, so that it may
    /// be the connection that heard it, and not the request.
    async fn failure(&mut self, error: hyper::Error) -> CallError {
        if let Some(refused) = CallError::alert(&error) {
            return refused;
        }
        match timeout(LAST_WORD, self.driver.join_next()).await {
            Ok(Some(Ok(Err(ended)))) => {
                tracing::debug!(error = chain(&ended), "connection to the control plane ended");
                CallError::alert(&ended).unwrap_or(CallError::Http(error))
            }
            _ => CallError::Http(error),
        }
    }
}
