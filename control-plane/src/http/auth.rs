//! Who may call the API: whoever has the admin token. What proxies call, `crate::proxies` guards.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mindweave_policy::Secret;
use ring::hmac;

use super::problem::{Code, Problem};
use crate::entropy::{self, NoEntropy};

/// Answers without a token, for load balancers and probes. Says nothing but that the process answers.
pub(crate) const HEALTH_PATH: &str = "/v1/health";

/// A token as it is kept: an HMAC under a key of this process, whose verification takes the same time for every wrong token.
#[derive(Clone)]
struct Token(Arc<(hmac::Key, hmac::Tag)>);

impl Token {
    fn new(token: &Secret) -> Result<Self, NoEntropy> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &entropy::bytes::<32>()?);
        let tag = hmac::sign(&key, token.expose_secret().as_bytes());
        Ok(Self(Arc::new((key, tag))))
    }

    fn matches(&self, presented: &[u8]) -> bool {
        let (key, tag) = &*self.0;
        hmac::verify(key, presented, tag.as_ref()).is_ok()
    }
}

/// The admin token.
#[derive(Clone)]
pub(crate) struct AdminToken(Token);

impl AdminToken {
    /// Takes the configured token.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub(crate) fn new(token: &Secret) -> Result<Self, NoEntropy> {
        Token::new(token).map(Self)
    }

    /// Whether this is it.
    pub(crate) fn matches(&self, presented: &[u8]) -> bool {
        self.0.matches(presented)
    }
}

/// Lets a request through that carries the admin token.
pub(crate) async fn require(State(token): State<AdminToken>, request: Request, next: Next) -> Response {
    if request.uri().path() == HEALTH_PATH {
        return next.run(request).await;
    }
    let detail = match presented(&request) {
        Presented::Token(presented) if token.0.matches(presented) => return next.run(request).await,
        Presented::Token(_) => "this is not the admin token of this installation",
        Presented::NoBearer => "the authorization header must be: Bearer <admin token>",
        Presented::Nothing => "send the admin token: authorization: Bearer <admin token>",
    };
    Problem::new(Code::Unauthorized, detail).into_response()
}

/// What a request carries to prove who it is from.
pub(crate) enum Presented<'a> {
    /// A bearer token.
    Token(&'a [u8]),
    /// Something else.
    NoBearer,
    /// Nothing.
    Nothing,
}

/// The token that a request carries.
pub(crate) fn presented(request: &Request) -> Presented<'_> {
    let Some(value) = request.headers().get(AUTHORIZATION) else { return Presented::Nothing };
    bearer(value.as_bytes()).map_or(Presented::NoBearer, Presented::Token)
}

/// The token of a `Bearer` credential; the scheme's letter case does not matter (RFC 9110, section 11.1).
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
