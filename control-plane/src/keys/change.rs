//! What clients say about keys.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::store::Key;
use crate::http::body::Fields;

/// A new key.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `key_create` reads")]
pub(super) struct NewKey {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
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
    /// Lies in the future.
    expires_at: Option<Timestamp>,
}

/// What can be changed of a key. What is not given stays, and `null` clears what is optional.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `key_change` reads")]
pub(super) struct KeyChange {
    #[schema(min_length = 1, max_length = 200, required = false)]
    name: String,
    #[schema(min_length = 1, max_length = 200)]
    user_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    team_id: Option<String>,
    #[schema(max_items = 32)]
    roles: Option<Vec<String>>,
    /// At most 32. Names and values have 1 to 200 characters.
    labels: Option<BTreeMap<String, String>>,
    /// Lies in the future.
    expires_at: Option<Timestamp>,
    /// Whether it is refused until it is enabled again.
    disabled: Option<bool>,
}

/// What the client says about a new key; the rest is filled in by the caller.
pub(super) fn read_key(fields: &mut Fields, now: Timestamp) -> Key {
    let key = Key {
        id: String::new(),
        project_id: String::new(),
        name: fields.required_text("name"),
        hint: String::new(),
        team_id: fields.text("team_id"),
        user_id: fields.text("user_id"),
        roles: fields.roles("roles"),
        labels: fields.labels("labels"),
        created_at: now,
        expires_at: fields.time("expires_at"),
        disabled_at: None,
        revoked_at: None,
        rotated_at: None,
        previous_expires_at: None,
    };
    check_expiry(fields, key.expires_at, now);
    key
}

fn check_expiry(fields: &mut Fields, expires_at: Option<Timestamp>, now: Timestamp) {
    if expires_at.is_some_and(|at| at <= now) {
        fields.refuse("expires_at", "must lie in the future; leave it out for a key that does not expire");
    }
}

/// What the client says about a key that there is: what is not given stays, and `null` clears what is optional.
pub(super) fn changed_key(fields: &mut Fields, before: &Key, now: Timestamp) -> Key {
    let mut key = before.clone();
    if fields.given("name") {
        key.name = fields.required_text("name");
    }
    if fields.given("team_id") {
        key.team_id = fields.text("team_id");
    }
    if fields.given("user_id") {
        key.user_id = fields.text("user_id");
    }
    if fields.given("roles") {
        key.roles = fields.roles("roles");
    }
    if fields.given("labels") {
        key.labels = fields.labels("labels");
    }
    if fields.given("expires_at") {
        key.expires_at = fields.time("expires_at");
        check_expiry(fields, key.expires_at, now);
    }
    if fields.given("disabled") {
        key.disabled_at = match fields.any("disabled").as_ref().map(serde_json::Value::as_bool) {
            None | Some(Some(false)) => None,
            Some(Some(true)) => before.disabled_at.or(Some(now)),
            Some(None) => {
                fields.refuse("disabled", "must be true or false");
                None
            }
        };
    }
    key
}
