//! What clients say about credentials.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mindweave_policy::Fingerprint;

use super::store::Credential;
use crate::http::body::Fields;
use crate::http::problem::Problem;
use crate::keys::SECRET_PREFIX;
use crate::{clock, entropy, stored};

/// What a credential's id starts with.
const ID_PREFIX: &str = "cred_";
/// The name of a credential whose owner gave none.
const UNNAMED: &str = "unnamed";

/// A credential of a client.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `credential_register` reads")]
pub(super) struct NewCredential {
    /// The bare Claude key or login token. Not a MindWeave key.
    #[schema(min_length = 1, max_length = 4096, pattern = "^(?!mw_)[!-~]+$", write_only)]
    api_key: String,
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// The person whose requests these are.
    #[schema(min_length = 1, max_length = 200)]
    user_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    team_id: Option<String>,
    /// For policies.
    #[schema(max_items = 32)]
    roles: Option<Vec<String>>,
    /// At most 32. Names and values have 1 to 200 characters.
    labels: Option<BTreeMap<String, String>>,
}

/// What can be changed of a credential. What is not given stays, and `null` clears it.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `credential_change` reads")]
pub(super) struct CredentialChange {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    user_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    team_id: Option<String>,
    #[schema(max_items = 32)]
    roles: Option<Vec<String>>,
    /// At most 32. Names and values have 1 to 200 characters.
    labels: Option<BTreeMap<String, String>>,
}

/// What the client says about a credential, and its fingerprint. The credential itself goes no further.
pub(super) fn read_credential(fields: &mut Fields) -> (Credential, Fingerprint) {
    let api_key = fields.required_secret("api_key");
    if api_key.expose_secret().starts_with(SECRET_PREFIX) {
        fields.refuse("api_key", "is a MindWeave key, which belongs to its project already");
    }
    let credential = Credential {
        id: String::new(),
        project_id: String::new(),
        name: fields.text("name").unwrap_or_else(|| UNNAMED.to_owned()),
        hint: stored::hint(api_key.expose_secret()),
        team_id: fields.text("team_id"),
        user_id: fields.text("user_id"),
        roles: fields.roles("roles"),
        labels: fields.labels("labels"),
        created_at: clock::now(),
    };
    (credential, Fingerprint::of(api_key.expose_secret().as_bytes()))
}

pub(super) fn new_id(now: Timestamp) -> Result<String, Problem> {
    let random = entropy::bytes().map_err(|error| Problem::internal(&error))?;
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    Ok(format!("{ID_PREFIX}{}", id.simple()))
}

/// What the client says about a credential that there is: what is not given stays, and `null` clears it.
pub(super) fn changed_credential(fields: &mut Fields, before: &Credential) -> Credential {
    let mut credential = before.clone();
    if fields.given("name") {
        credential.name = fields.text("name").unwrap_or_else(|| UNNAMED.to_owned());
    }
    if fields.given("team_id") {
        credential.team_id = fields.text("team_id");
    }
    if fields.given("user_id") {
        credential.user_id = fields.text("user_id");
    }
    if fields.given("roles") {
        credential.roles = fields.roles("roles");
    }
    if fields.given("labels") {
        credential.labels = fields.labels("labels");
    }
    credential
}
