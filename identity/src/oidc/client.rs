//! The client of all providers: what they said of themselves is kept for a while, and one that is away is left in peace.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mindweave_policy::Secret;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use url::Url;

use super::binding::Binding;
use super::claims::{self, Person};
use super::exchange::{self, Callback};
use super::fault::{Document, FetchFault, OidcError, TokenFault};
use super::fetch::{Credentials, Deadline, Http};
use super::id_token::{self, Expected};
use super::issuer::Issuer;
use super::jws::Unverified;
use super::keys::KeySet;
use super::metadata::Metadata;

/// How long all requests of one step of a sign-on may take together: less than any request of the API.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a discovery document and keys are good. A key that is not among them is looked for at once.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// How long a provider that did not answer is not asked again.
const REST: Duration = Duration::from_secs(3);
/// How long no unknown key is looked for again after a look in vain: else any provider could have its list of keys, which may lie
/// with somebody else, asked for at every sign-on.
const KEYS_REST: Duration = Duration::from_secs(10);
/// Most issuers that something is kept of; beyond, the oldest is forgotten.
const MAX_ISSUERS: usize = 512;
/// Most sign-ons that wait for one issuer: a slow one must not hold up the others.
const MAX_WAITING: usize = 8;

/// What MindWeave is to a provider.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The provider.
    pub issuer: Issuer,
    /// The id that it gave us.
    pub client_id: String,
    /// The secret, unless we are a public client.
    pub client_secret: Option<Secret>,
    /// What is asked for; `openid` among it.
    pub scopes: Vec<String>,
    /// Where the groups are.
    pub groups_claim: Option<String>,
}

impl Registration {
    /// Where to send the browser: the provider's [`Oidc::authorization_endpoint`] with the request.
    pub fn authorization_url(
        &self,
        endpoint: &Url,
        binding: &Binding,
        state: &str,
        redirect_uri: &str,
    ) -> Url {
        let mut url = endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.scopes.join(" "))
            .append_pair("state", state)
            .append_pair("nonce", &binding.nonce())
            .append_pair("code_challenge", &binding.challenge())
            .append_pair("code_challenge_method", "S256");
        url
    }
}

/// What is kept of an issuer.
#[derive(Default)]
struct Kept {
    metadata: Option<(Instant, Arc<Metadata>)>,
    keys: Option<(Instant, Arc<KeySet>)>,
    /// When the keys were last asked for another one in vain.
    in_vain: Option<Instant>,
    failed: Option<Instant>,
    touched: Option<Instant>,
    waiting: usize,
}

/// The client of all providers.
pub struct Oidc {
    http: Http,
    kept: Mutex<HashMap<String, Kept>>,
}

impl Default for Oidc {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Oidc(..)")
    }
}

/// One of those who may ask an issuer now.
struct Waiting<'a> {
    oidc: &'a Oidc,
    issuer: &'a Issuer,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.oidc.with(self.issuer, |kept| kept.waiting = kept.waiting.saturating_sub(1));
    }
}

impl Oidc {
    /// A client that knows no provider yet.
    pub fn new() -> Self {
        Self { http: Http::new(), kept: Mutex::new(HashMap::new()) }
    }

    /// Looks whether a provider can be used, and says what is wrong if not. Asks it even if it is known.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub fn check(&self, registration: &Registration) -> Result<(), OidcError> {
        let deadline = Deadline::after(STEP_TIMEOUT);
        let metadata = self.fetch_metadata(&registration.issuer, deadline)?;
        self.fetch_keys(&registration.issuer, &metadata, deadline)?;
        if registration.client_secret.is_some() && !metadata.secret_in_basic && !metadata.secret_in_post {
            return Err(super::fault::MetadataFault::NoClientAuthentication.into());
        }
        Ok(())
    }

    /// Where the provider lets people sign in.
    ///
    /// # Errors
    /// When the provider's discovery document cannot be had or used.
    pub fn authorization_endpoint(&self, issuer: &Issuer) -> Result<Url, OidcError> {
        let _waiting = self.wait(issuer)?;
        let metadata = self.metadata(issuer, Deadline::after(STEP_TIMEOUT))?;
        Ok(metadata.authorization_endpoint.clone())
    }

    /// Ends a sign-on: exchanges the code, checks what it gets, and says who it is. `now` in seconds since 1970.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub fn sign_on(
        &self,
        registration: &Registration,
        binding: &Binding,
        callback: &Callback,
        now: i64,
    ) -> Result<Person, OidcError> {
        let deadline = Deadline::after(STEP_TIMEOUT);
        let _waiting = self.wait(&registration.issuer)?;
        let metadata = self.metadata(&registration.issuer, deadline)?;
        exchange::check_answer(registration, &metadata, callback)?;
        let tokens = exchange::exchange(&self.http, registration, &metadata, callback, binding, deadline)?;
        let token = Unverified::parse(&tokens.id_token)?;
        self.verify(&registration.issuer, &metadata, &token, deadline)?;
        let algorithm = token.algorithm;
        let claims = token.into_claims();
        let nonce = binding.nonce();
        id_token::check(
            &claims,
            &Expected {
                issuer: registration.issuer.as_str(),
                client_id: &registration.client_id,
                nonce: &nonce,
                access_token: tokens.access_token.as_ref().map(|token| (token, algorithm)),
                now,
            },
        )?;
        let groups_claim = registration.groups_claim.as_deref();
        let userinfo = if claims::is_incomplete(&claims, groups_claim) {
            self.userinfo(&metadata, &claims, tokens.access_token.as_ref(), deadline)?
        } else {
            None
        };
        Ok(Person::read(&claims, userinfo.as_ref(), groups_claim)?)
    }

    /// Checks the signature; with a key that is not known, after a second look at the issuer's keys, which it may have changed.
    fn verify(
        &self,
        issuer: &Issuer,
        metadata: &Metadata,
        token: &Unverified<'_>,
        deadline: Deadline,
    ) -> Result<(), OidcError> {
        let may_be_new = |fault: TokenFault| match fault {
            TokenFault::UnknownKey => true,
            // Without a name any of them was tried, and the right one may be new.
            TokenFault::Signature => token.key_id.is_none(),
            _ => false,
        };
        let (kept, in_vain) = self.with(issuer, |kept| (fresh(kept.keys.as_ref()), kept.in_vain));
        if let Some(keys) = kept {
            let resting = in_vain.is_some_and(|since| since.elapsed() < KEYS_REST);
            match keys.verify(token) {
                Err(fault) if may_be_new(fault) && !resting => {}
                verified => return Ok(verified?),
            }
        }
        let verified = self.fetch_keys(issuer, metadata, deadline)?.verify(token);
        if verified.is_err_and(may_be_new) {
            self.with(issuer, |kept| kept.in_vain = Some(Instant::now()));
        }
        Ok(verified?)
    }

    fn userinfo(
        &self,
        metadata: &Metadata,
        claims: &Map<String, Value>,
        access_token: Option<&Secret>,
        deadline: Deadline,
    ) -> Result<Option<Map<String, Value>>, OidcError> {
        let (Some(url), Some(token)) = (&metadata.userinfo_endpoint, access_token) else { return Ok(None) };
        let userinfo = self.http.get(Document::UserInfo, url, &Credentials::Bearer(token), deadline)?;
        // Section 5.3.2 of OpenID Connect Core 1.0: or the token was put in another's place.
        if id_token::subject(&userinfo) != id_token::subject(claims) {
            return Err(TokenFault::UserInfoSubject.into());
        }
        Ok(Some(userinfo))
    }

    fn metadata(&self, issuer: &Issuer, deadline: Deadline) -> Result<Arc<Metadata>, OidcError> {
        match self.with(issuer, |kept| fresh(kept.metadata.as_ref())) {
            Some(metadata) => Ok(metadata),
            None => self.fetch_metadata(issuer, deadline),
        }
    }

    fn fetch_metadata(&self, issuer: &Issuer, deadline: Deadline) -> Result<Arc<Metadata>, OidcError> {
        let url = Url::parse(&issuer.discovery_url()).map_err(|_| super::issuer::IssuerFault::NoUrl)?;
        let document =
            self.noting(issuer, || self.http.get(Document::Discovery, &url, &Credentials::None, deadline))?;
        let metadata = Arc::new(Metadata::read(issuer, &document)?);
        self.with(issuer, |kept| kept.metadata = Some((Instant::now(), Arc::clone(&metadata))));
        Ok(metadata)
    }

    fn fetch_keys(
        &self,
        issuer: &Issuer,
        metadata: &Metadata,
        deadline: Deadline,
    ) -> Result<Arc<KeySet>, OidcError> {
        let document = self.noting(issuer, || {
            self.http.get(Document::Keys, &metadata.jwks_uri, &Credentials::None, deadline)
        })?;
        let failed = OidcError::Fetch { document: Document::Keys, fault: FetchFault::NotJson };
        let keys = Arc::new(KeySet::read(&document).ok_or(failed)?);
        self.with(issuer, |kept| kept.keys = Some((Instant::now(), Arc::clone(&keys))));
        Ok(keys)
    }

    /// Notes whether the issuer answered.
    fn noting<T>(
        &self,
        issuer: &Issuer,
        call: impl FnOnce() -> Result<T, OidcError>,
    ) -> Result<T, OidcError> {
        let result = call();
        let away = result.as_ref().err().is_some_and(OidcError::is_away);
        self.with(issuer, |kept| kept.failed = away.then(Instant::now));
        result
    }

    /// Takes a place among those who wait for this issuer.
    fn wait<'a>(&'a self, issuer: &'a Issuer) -> Result<Waiting<'a>, OidcError> {
        let admitted = self.with(issuer, |kept| {
            let resting = kept.failed.is_some_and(|failed| failed.elapsed() < REST);
            let admitted = !resting && kept.waiting < MAX_WAITING;
            if admitted {
                kept.waiting = kept.waiting.saturating_add(1);
            }
            admitted
        });
        let resting = OidcError::Fetch { document: Document::Discovery, fault: FetchFault::Resting };
        if admitted { Ok(Waiting { oidc: self, issuer }) } else { Err(resting) }
    }

    fn with<T>(&self, issuer: &Issuer, look: impl FnOnce(&mut Kept) -> T) -> T {
        let mut all = self.kept.lock();
        if !all.contains_key(issuer.as_str()) && all.len() >= MAX_ISSUERS {
            let oldest =
                all.iter().filter(|(_, kept)| kept.waiting == 0).min_by_key(|(_, kept)| kept.touched);
            if let Some(oldest) = oldest.map(|(issuer, _)| issuer.clone()) {
                all.remove(&oldest);
            }
        }
        let kept = all.entry(issuer.as_str().to_owned()).or_default();
        kept.touched = Some(Instant::now());
        look(kept)
    }
}

fn fresh<T>(kept: Option<&(Instant, Arc<T>)>) -> Option<Arc<T>> {
    let (since, value) = kept?;
    (since.elapsed() < KEPT).then(|| Arc::clone(value))
}
