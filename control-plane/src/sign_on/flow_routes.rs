//! `/auth/oauth/..` and `/auth/providers`: what comes before a sign-in, and linking.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mindweave_policy::Secret;
use serde::Serialize;
use url::form_urlencoded;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::code::{self, SignedOn};
use super::flow::{self, Begun, Returned, Start};
use super::return_to::{REFUSED, ReturnTo};
use super::store;
use crate::access::Caller;
use crate::app::App;
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::identity::SignedIn;
use crate::identity::throttle::{self, Action, Attempt};

/// Most providers of an installation that are looked through for one address.
const MAX_KNOWN: i64 = 1_000;
/// Longest query that a provider sends a browser back with. Codes have some hundred characters, Entra ID's a thousand or two.
const MAX_QUERY_BYTES: usize = 16 * 1024;
/// Length of a challenge of the method S256 (RFC 7636, section 4.2).
const CHALLENGE_CHARS: usize = 43;

/// The routes of this module that want no token.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(providers))
        .routes(routes!(sign_on_start))
        .routes(routes!(sign_on_callback))
        .routes(routes!(sign_on_token))
}

/// A provider that people may sign in by.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct KnownProvider {
    /// For `/auth/oauth/{id}`.
    id: String,
    name: String,
}

/// The sign-on providers that one may sign in by.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct KnownProviders {
    data: Vec<KnownProvider>,
}

/// The sign-on providers for an e-mail address, by its domain alone: whether anybody has the address, nobody is told. Without an address, and
/// for addresses of no provider's domain, those without domains, where there is one organisation only.
#[utoipa::path(
    get, path = "/auth/providers", tag = "auth", operation_id = "sign_on_providers",
    params(("email" = Option<String>, Query, description = "An e-mail address")),
    responses((status = 200, body = KnownProviders)),
    extensions(("x-access" = json!("public"))),
)]
async fn providers(State(app): State<App>, mut query: Parameters) -> Result<Json<KnownProviders>, Problem> {
    let email = query.text("email");
    query.finish()?;
    let domain = email.as_deref().map(|email| email.rsplit_once('@').map_or("", |(_, domain)| domain.trim()));
    let mut tx = app.db.begin_read().await?;
    let known = store::providers_known(&mut tx, MAX_KNOWN).await?;
    let sole = store::is_sole_org(&mut tx).await?;
    let fits = |domains: &[String]| match domain {
        Some(domain) if domains.iter().any(|own| own.eq_ignore_ascii_case(domain)) => true,
        Some(_) => sole && domains.is_empty(),
        None => sole,
    };
    let known = known.into_iter().filter(|provider| fits(&provider.domains));
    let data = known.map(|provider| KnownProvider { id: provider.id, name: provider.name }).collect();
    Ok(Json(KnownProviders { data }))
}

/// Begins a sign-on: sends the browser to the provider. With `return_to`, the browser comes back there in the end with a `code` (or an
/// `error`), which `POST /auth/oauth/token` exchanges for a session; without, the session is the answer.
#[utoipa::path(
    get, path = "/auth/oauth/{provider}", tag = "auth", operation_id = "sign_on_start",
    params(
        ("provider" = String, Path, description = "Its id"),
        ("return_to" = Option<String>, Query, description = "A path of this site, or `http://127.0.0.1:PORT/..` of a program on this machine"),
        ("code_challenge" = Option<String>, Query, description = "S256 of a secret that is shown when the code is exchanged (RFC 7636); required for a program", pattern = "^(|[A-Za-z0-9_-]{43})$"),
    ),
    responses(
        (status = 302, description = "To the provider"),
        (status = 502, description = "The provider cannot be used now"),
    ),
    extensions(("x-access" = json!("public"))),
)]
async fn sign_on_start(
    State(app): State<App>,
    Path(provider): Path<String>,
    mut query: Parameters,
) -> Result<Response, Problem> {
    let (return_to, challenge) = (query.text("return_to"), query.text("code_challenge"));
    let parsed = return_to.as_deref().map(ReturnTo::parse);
    if let Some(None) = parsed {
        query.refuse("return_to", REFUSED);
    }
    let return_to = parsed.flatten();
    if challenge.as_deref().is_some_and(|challenge| !is_challenge(challenge)) {
        query.refuse("code_challenge", "must be the base64url of a SHA-256, 43 characters");
    }
    if challenge.is_none() && return_to.as_ref().is_some_and(ReturnTo::needs_proof) {
        query.refuse("code_challenge", "is required when return_to is a program on a machine");
    }
    if challenge.is_some() && return_to.is_none() {
        query.refuse("code_challenge", "is for sign-ons with return_to");
    }
    query.finish()?;
    let begun = flow::begin(&app, &provider, Start { return_to, challenge, links_to: None }).await?;
    let location = HeaderValue::from_str(&begun.location).map_err(|error| Problem::internal(&error))?;
    let mut response = (StatusCode::FOUND, [(LOCATION, location)]).into_response();
    keep(&mut response, begun.cookie);
    Ok(response)
}

fn is_challenge(text: &str) -> bool {
    text.len() == CHALLENGE_CHARS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn keep(response: &mut Response, cookie: Option<(axum::http::HeaderName, HeaderValue)>) {
    if let Some((name, value)) = cookie {
        response.headers_mut().append(name, value);
    }
}

/// Where providers send browsers back to.
#[utoipa::path(
    get, path = "/auth/oauth/callback", tag = "auth", operation_id = "sign_on_callback",
    params(
        ("state" = Option<String>, Query, description = "What the sign-on began with"),
        ("code" = Option<String>, Query, description = "The provider's code"),
        ("error" = Option<String>, Query, description = "Why there is none"),
        ("iss" = Option<String>, Query, description = "The provider's issuer (RFC 9207)"),
    ),
    responses(
        (status = 200, body = SignedOn),
        (status = 303, description = "To `return_to`"),
        (status = 403, description = "Nobody was signed in"),
        (status = 502, description = "The provider cannot be used now"),
    ),
    extensions(("x-access" = json!("public"))),
)]
async fn sign_on_callback(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let returned = returned(query.as_deref().unwrap_or_default())?;
    flow::end(&app, &caller, &headers, returned).await
}

/// Reads what a provider sent along. It may send more than is known here, but nothing twice (RFC 6749, section 3.1).
fn returned(query: &str) -> Result<Returned, Problem> {
    let refused = |detail: &'static str| Problem::new(Code::InvalidParameter, detail);
    if query.len() > MAX_QUERY_BYTES {
        return Err(refused("the query is longer than any provider's"));
    }
    let mut returned = Returned::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        let repeated = match &*name {
            "state" => returned.state.replace(value).is_some(),
            "code" => returned.code.replace(Secret::new(value)).is_some(),
            "error" => returned.error.replace(value).is_some(),
            "iss" => returned.issuer.replace(value).is_some(),
            _ => false,
        };
        if repeated {
            return Err(refused("a parameter is given more than once"));
        }
    }
    Ok(returned)
}

/// A code to be exchanged.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `sign_on_token` reads")]
struct SignOnCode {
    /// What the browser brought to `return_to`.
    #[schema(min_length = 1, max_length = 4096, pattern = "^[!-~]+$", example = "mwo_..")]
    code: String,
    /// The secret of `code_challenge`, if the sign-on began with one.
    #[schema(min_length = 1, max_length = 4096, pattern = "^[!-~]+$", required = false)]
    code_verifier: String,
}

/// Exchanges the code of a sign-on for a session.
#[utoipa::path(
    post, path = "/auth/oauth/token", tag = "auth", operation_id = "sign_on_token",
    request_body = SignOnCode,
    responses((status = 200, body = SignedOn)),
    extensions(("x-access" = json!("public"))),
)]
async fn sign_on_token(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<SignedOn>, Problem> {
    let code = fields.required_secret("code");
    let verifier = fields.given("code_verifier").then(|| fields.required_secret("code_verifier"));
    fields.finish()?;
    match code::exchange(&app, &caller, &code, verifier.as_ref()).await {
        Err(problem) if problem.code() == Code::InvalidLink => {
            throttle::check(&app.db, &Attempt::new(Action::Link, None, caller.origin())).await?;
            Err(problem)
        }
        answer => answer.map(Json),
    }
}

/// Where to go to link an identity.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct LinkStart {
    /// To be opened in the browser that asked: it has been given a cookie.
    #[schema(format = "uri")]
    authorization_url: String,
}

/// How to link an identity.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `sign_on_link` reads")]
struct LinkRequest {
    /// A path of this site, to which the browser comes back in the end with `linked` or an `error`.
    #[schema(min_length = 1, max_length = 200, pattern = "^/[!-~]*$")]
    return_to: Option<String>,
}

/// Begins to link your account with who you are at a provider, so that you can sign in by it.
#[utoipa::path(
    post, path = "/auth/oauth/{provider}/link", tag = "auth", operation_id = "sign_on_link",
    params(("provider" = String, Path, description = "Its id")),
    request_body = LinkRequest,
    responses((status = 200, body = LinkStart), (status = 502, description = "The provider cannot be used now")),
    extensions(("x-access" = json!("self"))),
)]
pub(super) async fn sign_on_link(
    State(app): State<App>,
    caller: Caller,
    Path(provider): Path<String>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let signed_in = SignedIn::of(&caller)?;
    let return_to = fields.text("return_to");
    let parsed = return_to.as_deref().map(ReturnTo::parse);
    if parsed.as_ref().is_some_and(|place| !matches!(place, Some(ReturnTo::Page(_)))) {
        fields.refuse("return_to", "must be a path of this site, for example /account");
    }
    fields.finish()?;
    let links_to = Some(signed_in.user_id.to_string());
    let start = Start { return_to: parsed.flatten(), challenge: None, links_to };
    let Begun { location, cookie } = flow::begin(&app, &provider, start).await?;
    let mut response = Json(LinkStart { authorization_url: location }).into_response();
    keep(&mut response, cookie);
    Ok(response)
}
