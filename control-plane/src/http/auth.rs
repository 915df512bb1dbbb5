//! Finds out who calls: the admin token of the configuration, a session, an access token. What they may is asked of the
//! [`Caller`]. What proxies call, `crate::proxies` guards.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mindweave_policy::Secret;
use ring::hmac;
use zeroize::Zeroizing;

use super::problem::{Code, Problem};
use super::rates::Rates;
use crate::access::{Actor, Caller, Grants, Origin, Scopes};
use crate::db::Db;
use crate::entropy::{self, NoEntropy};
use crate::identity::api_tokens::Uses;
use crate::identity::{self, Resolved};

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

/// What knows tokens. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) admin: AdminToken,
    pub(crate) db: Db,
    pub(crate) rates: Rates,
    /// Notes which tokens are used.
    pub(crate) uses: Uses,
}

impl Gate {
    /// Whoever has this token.
    pub(crate) async fn caller(&self, token: &[u8], origin: Arc<Origin>) -> Result<Caller, Problem> {
        if self.admin.matches(token) {
            return Ok(Caller::new(Actor::AdminToken, Grants::default(), Scopes::All, origin));
        }
        match identity::resolve(&self.db, token).await? {
            Some(Resolved { actor, grants, scopes }) => {
                if let Some(token_id) = actor.token_id() {
                    self.uses.used(token_id);
                }
                Ok(Caller::new(actor, grants, scopes, origin))
            }
            None => Err(refused("this token is unknown here, or it has expired or was revoked")),
        }
    }
}

fn refused(detail: &'static str) -> Problem {
    Problem::new(Code::Unauthorized, detail)
}

/// Lets a request through whose sender is known, with a [`Caller`] as its extension, as often as a caller may. Who is not known
/// uses up what the address may.
pub(crate) async fn require(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let origin = request.extensions().get::<Arc<Origin>>().cloned().unwrap_or_default();
    let address = origin.address;
    let caller = match presented(&request) {
        Presented::Token(token) => {
            let token = Zeroizing::new(token.to_vec());
            gate.caller(&token, origin).await
        }
        Presented::NoBearer => Err(refused("the authorization header must be: Bearer <token>")),
        Presented::Nothing => Err(refused("send a token: authorization: Bearer <token>")),
    };
    match caller {
        Ok(caller) => match gate.rates.caller(caller.actor().id()) {
            Ok(left) => {
                request.extensions_mut().insert(caller);
                left.tell(next.run(request).await)
            }
            Err(exceeded) => exceeded.into_response(),
        },
        Err(problem) if problem.code() == Code::Unauthorized => match gate.rates.address(address) {
            Ok(left) => left.tell(problem.into_response()),
            Err(exceeded) => exceeded.into_response(),
        },
        Err(problem) => problem.into_response(),
    }
}

/// Lets every request through, as often as its address may, with an anonymous [`Caller`]: for what comes before a sign-in.
pub(crate) async fn anonymous(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if request.uri().path() == HEALTH_PATH {
        return next.run(request).await; // probes come often, and from the same address as everybody behind a load balancer
    }
    let origin = request.extensions().get::<Arc<Origin>>().cloned().unwrap_or_default();
    match gate.rates.address(origin.address) {
        Ok(left) => {
            let caller = Caller::new(Actor::Anonymous, Grants::default(), Scopes::All, origin);
            request.extensions_mut().insert(caller);
            left.tell(next.run(request).await)
        }
        Err(exceeded) => exceeded.into_response(),
    }
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
