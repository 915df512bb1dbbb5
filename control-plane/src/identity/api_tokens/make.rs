//! Makes a token.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use mindweave_policy::Fingerprint;

use super::holder::Holder;
use super::store;
use super::view::{ApiToken, NewApiToken, Scope};
use crate::access::Scopes;
use crate::audit::{self, Change};
use crate::db::Connection;
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::identity::token::TokenKind;
use crate::{clock, members, stored};

/// What ids of tokens start with.
const ID_PREFIX: &str = "tok_";
/// Days until a token ends when its maker does not say.
const DEFAULT_DAYS: i64 = 90;
/// Most days until a token ends: one that nobody knows of any more does not live for ever.
const MAX_DAYS: i64 = 366;
/// Most scopes of a token: there are no more different ones.
const MAX_SCOPES: usize = 32;
/// Most tokens of one holder that are good at a time: a bound for whoever makes them in a loop.
const MAX_TOKENS: i64 = 100;
const SECONDS_PER_DAY: i64 = 86_400;

/// A token to be made.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `make` reads")]
pub(crate) struct TokenCreate {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What the token is limited to: no more than the token with which you make it.
    #[schema(min_items = 1, max_items = 32)]
    scopes: Vec<Scope>,
    /// After how many days the token ends.
    #[schema(minimum = 1, maximum = 366, default = 90)]
    expires_in_days: Option<i64>,
}

/// Makes a token as the body says, and notes it in the audit log.
///
/// # Errors
/// When a field is refused, when the scopes are more than the maker's own, when the holder has too many.
pub(crate) async fn make(
    tx: &mut Connection,
    holder: &Holder<'_>,
    mut fields: Fields,
) -> Result<NewApiToken, Problem> {
    let now = clock::now();
    let name = fields.required_text("name");
    let (texts, scopes) = read_scopes(&mut fields);
    let days = fields.number("expires_in_days", 1..=MAX_DAYS).unwrap_or(DEFAULT_DAYS);
    fields.finish()?;
    let maker = holder.caller();
    if !covers(maker.scopes(), &scopes) {
        let detail = "scopes: a token makes only tokens that may do no more than itself";
        return Err(Problem::new(Code::ScopeMissing, detail));
    }
    if store::token_count(tx, holder, now).await? >= MAX_TOKENS {
        let detail = format!("there may be at most {MAX_TOKENS} tokens; revoke one first");
        return Err(Problem::new(Code::TooMany, detail));
    }
    let token = TokenKind::Api.generate().map_err(|error| Problem::internal(&error))?;
    let lifetime = SignedDuration::from_secs(days.saturating_mul(SECONDS_PER_DAY));
    let shown = ApiToken {
        id: members::id_generate(ID_PREFIX, now).map_err(|error| Problem::internal(&error))?,
        name,
        hint: stored::hint(token.expose_secret()),
        scopes: texts,
        created_by: maker.actor().id().to_owned(),
        created_at: now,
        expires_at: now.checked_add(lifetime).ok(),
        last_used_at: None,
        revoked_at: None,
    };
    store::token_insert(tx, holder, &shown, &Fingerprint::of(token.expose_secret().as_bytes())).await?;
    let change = Change::new(holder.chain(), "token.created", "token", &shown.id).after(&shown);
    audit::record(tx, maker, change).await?;
    Ok(NewApiToken { shown, token: token.expose_secret().to_owned() })
}

/// The answer to the making of a token below this path.
pub(crate) fn answer(token: NewApiToken, path: &str) -> Response {
    let location = format!("{path}/{}", token.shown.id);
    let headers = [(CACHE_CONTROL, "no-store".to_owned()), (LOCATION, location)];
    (StatusCode::CREATED, headers, Json(token)).into_response()
}

fn read_scopes(fields: &mut Fields) -> (Vec<Scope>, Scopes) {
    let mut texts = match fields.texts("scopes", MAX_SCOPES) {
        Some(texts) if texts.is_empty() => {
            fields.refuse("scopes", "must name at least one scope");
            texts
        }
        Some(texts) => texts,
        None => {
            fields.require_if_absent("scopes");
            Vec::new()
        }
    };
    texts.sort_unstable();
    texts.dedup();
    let scopes = Scopes::parse(texts.iter().map(String::as_str)).unwrap_or_else(|_| {
        fields
            .refuse("scopes", "entries must be `*`, `read`, or an area with a verb, for example keys:write");
        Scopes::Only(Vec::new())
    });
    (texts.into_iter().map(Scope).collect(), scopes)
}

/// Whether whoever has these scopes may make a token with those.
fn covers(own: &Scopes, made: &Scopes) -> bool {
    match (own, made) {
        (Scopes::All, _) => true,
        (Scopes::Only(_), Scopes::All) => false,
        (Scopes::Only(_), Scopes::Only(made)) => made.iter().all(|access| own.allow(*access)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> Scopes {
        Scopes::parse(texts.iter().copied()).unwrap()
    }

    #[test]
    fn a_token_makes_no_token_that_may_do_more() {
        let covered = |own: &[&str], made: &[&str]| covers(&scopes(own), &scopes(made));
        assert!(covered(&["*"], &["*"]) && covered(&["*"], &["installation:write", "read"]));
        assert!(covered(&["members:write"], &["members:read", "members:write"]));
        assert!(covered(&["read"], &["read", "usage:read"]));
        assert!(!covered(&["members:write"], &["*"]) && !covered(&["members:write"], &["read"]));
        assert!(!covered(&["members:write", "keys:read"], &["keys:write"]));
        assert!(!covered(&["read"], &["keys:write"]));
    }
}
