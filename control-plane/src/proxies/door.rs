//! The way in for proxies.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tokio::sync::watch;

use super::scope::Scope;
use super::tokens::{Allowed, Known, Tag, Tokens};
use crate::http::auth::{Presented, presented};
use crate::http::problem::{Code, Problem};
use crate::http::tls::{PeerCertificate, Tls};
use crate::metrics::{self, ProxyRefusal};

/// The paths that belong to what is in force; all others deliver.
const WATCH_PATHS: [&str; 2] = ["/internal/v1/watch", "/internal/v1/demand"];

/// Decides who comes in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    tokens: Tokens,
    tls: Option<Tls>,
}

/// Why somebody did not come in.
struct Refused {
    reason: ProxyRefusal,
    code: Code,
    detail: &'static str,
}

impl Refused {
    fn certificate(detail: &'static str) -> Self {
        Self { reason: ProxyRefusal::Certificate, code: Code::ClientCertificateRequired, detail }
    }

    fn token(detail: &'static str) -> Self {
        Self { reason: ProxyRefusal::Token, code: Code::Unauthorized, detail }
    }
}

impl Door {
    /// A door that these tokens open, and where the listener has authorities for clients, a certificate beside them.
    pub(crate) fn new(tokens: Tokens, tls: Option<Tls>) -> Self {
        Self { tokens, tls }
    }

    /// The tokens that open it.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    fn admit(&self, request: &Request) -> Result<Pass, Refused> {
        let certificate = self.certificate(request)?;
        let known = self.tokens.known();
        let token = match presented(request) {
            Presented::Token(token) => token,
            Presented::NoBearer => {
                return Err(Refused::token("the authorization header must be: Bearer <proxy token>"));
            }
            Presented::Nothing => {
                return Err(Refused::token("send the proxy token: authorization: Bearer <proxy token>"));
            }
        };
        let tag = self.tokens.tag(token);
        let allowed = known.borrow().allowed(tag).ok_or_else(|| not_known(&known.borrow()))?;
        let scope = if WATCH_PATHS.contains(&request.uri().path()) { Scope::Watch } else { Scope::Deliver };
        if !allowed.scopes.contains(&scope) {
            return Err(Refused {
                reason: ProxyRefusal::Scope,
                code: Code::ScopeMissing,
                detail: match scope {
                    Scope::Watch => "this proxy token has not the scope watch",
                    Scope::Deliver => "this proxy token has not the scope deliver",
                },
            });
        }
        if !made_out_to(certificate.as_ref(), &allowed) {
            return Err(Refused {
                reason: ProxyRefusal::CertificateName,
                code: Code::CertificateNameMismatch,
                detail: "this proxy token may be used with the certificate of another name only",
            });
        }
        self.tokens.used(&allowed);
        Ok(Pass { door: self.clone(), known, tag, scope, certificate })
    }

    /// As [`Self::admit`], for tests.
    #[cfg(test)]
    pub(super) fn admitted(&self, request: &Request) -> Result<Pass, Code> {
        self.admit(request).map_err(|refused| refused.code)
    }

    /// The certificate of whoever calls, if one is wanted.
    fn certificate(&self, request: &Request) -> Result<Option<PeerCertificate>, Refused> {
        let shown = request.extensions().get::<PeerCertificate>();
        let Some(tls) = self.tls.as_ref().filter(|tls| tls.wants_certificates()) else { return Ok(None) };
        let Some(shown) = shown else {
            return Err(Refused::certificate(
                "proxies need a client certificate here, beside their token: set proxy.control_plane_cert_file and proxy.control_plane_key_file",
            ));
        };
        if !tls.vouches_for(shown) {
            return Err(Refused::certificate(
                "this client certificate has expired, or no authority that is trusted here vouches for it any more",
            ));
        }
        Ok(Some(shown.clone()))
    }
}

fn not_known(known: &Known) -> Refused {
    if known.is_stale() {
        return Refused {
            reason: ProxyRefusal::Token,
            code: Code::Busy,
            detail: "this proxy token is not known yet, and the database cannot be asked; try again in a second",
        };
    }
    if known.is_empty() {
        return Refused::token("this control plane takes no proxies: there is no proxy token");
    }
    Refused::token("this is not a proxy token of this control plane, or one that was revoked or has expired")
}

/// Whether the certificate is one with which the token may be used. A token that is bound to a name cannot be used where nobody
/// vouches for names.
fn made_out_to(certificate: Option<&PeerCertificate>, allowed: &Allowed) -> bool {
    match &allowed.certificate_name {
        None => true,
        Some(name) => certificate.is_some_and(|certificate| certificate.is_for(name)),
    }
}

/// What somebody came in with.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    door: Door,
    known: watch::Receiver<Arc<Known>>,
    tag: Tag,
    scope: Scope,
    /// Where one is wanted.
    certificate: Option<PeerCertificate>,
}

impl Pass {
    /// Whether its owner would be let in again now. That counts as a use.
    pub(crate) fn holds(&self) -> bool {
        let allowed = self.known.borrow().allowed(self.tag);
        let Some(allowed) = allowed.filter(|allowed| allowed.scopes.contains(&self.scope)) else {
            return false;
        };
        let vouched_for = match (&self.door.tls, &self.certificate) {
            (Some(tls), Some(certificate)) => tls.vouches_for(certificate),
            (Some(tls), None) => !tls.wants_certificates(),
            (None, _) => true,
        };
        let holds = vouched_for && made_out_to(self.certificate.as_ref(), &allowed);
        if holds {
            self.door.tokens.used(&allowed);
        }
        holds
    }

    /// Waits until something has changed that it depends on. What time alone changes is for [`Self::holds`] to see.
    pub(crate) async fn changed(&mut self) {
        let tls = async {
            match &mut self.door.tls {
                Some(tls) => tls.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = self.known.changed() => {}
            () = tls => {}
            else => std::future::pending().await,
        }
    }

    /// Whose it is, for the log: the token's id, and the name on the certificate.
    pub(crate) fn owner(&self) -> (Option<String>, Option<&str>) {
        let allowed = self.known.borrow().allowed(self.tag);
        let id = allowed.and_then(|allowed| allowed.id.clone());
        (id, self.certificate.as_ref().and_then(PeerCertificate::name))
    }
}

/// Lets a request through that a proxy may make, with a [`Pass`] as its extension.
pub(crate) async fn require(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    match door.admit(&request) {
        Ok(pass) => {
            request.extensions_mut().insert(pass);
            next.run(request).await
        }
        Err(Refused { reason, code, detail }) => {
            metrics::proxy_refused(reason);
            Problem::new(code, detail).into_response()
        }
    }
}
