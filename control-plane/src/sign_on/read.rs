//! Reads what a client says about a provider.

use mindweave_identity::oidc::Issuer;
use mindweave_policy::Secret;
use serde_json::Value;

use super::provider::{GOOGLE, MappedPlace, MappedRole, Provider, Provisioning};
use crate::access::{ROLES, Role};
use crate::http::body::Fields;

/// Longest id: it stands in URLs, cookies' paths and the audit log.
const MAX_ID_CHARS: usize = 40;
/// Ids with another meaning: paths beside `/auth/oauth/{provider}`, and what sessions and roles call their origin otherwise.
const RESERVED_IDS: [&str; 6] = ["callback", "token", "manual", "password", "passkey", "invitation"];
/// Most scopes.
const MAX_SCOPES: usize = 20;
/// Most mapped groups: each is compared at every sign-in.
const MAX_MAPPED: usize = 500;
/// Most domains of an organisation.
const MAX_DOMAINS: usize = 100;
/// Longest name of a domain (RFC 1035, section 2.3.4).
const MAX_DOMAIN_CHARS: usize = 253;
/// Longest group, as other texts.
const MAX_GROUP_CHARS: usize = 200;
const PLACES: [(&str, MappedPlace); 3] =
    [("org", MappedPlace::Org), ("team", MappedPlace::Team), ("project", MappedPlace::Project)];
const PROVISIONING: [(&str, Provisioning); 2] =
    [("just_in_time", Provisioning::JustInTime), ("members_only", Provisioning::MembersOnly)];

/// What a client says of the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretChange {
    Stays,
    Goes,
    Becomes(Secret),
}

/// Reads the id of a new provider.
pub(super) fn read_id(fields: &mut Fields) -> String {
    let id = fields.required_text("id");
    let starts = id.starts_with(|char: char| char.is_ascii_lowercase());
    let fits = id.len() <= MAX_ID_CHARS
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let sound = starts && fits;
    if !(id.is_empty() || sound) {
        fields.refuse("id", "must have 1 to 40 small letters, digits and hyphens, and begin with a letter");
    }
    if RESERVED_IDS.contains(&id.as_str()) {
        fields.refuse("id", "is a reserved word; choose another");
    }
    id
}

/// Reads everything else into `provider`: what is not given stays as it is there.
pub(super) fn read_provider(fields: &mut Fields, provider: &mut Provider, is_new: bool) -> SecretChange {
    for (name, value) in [
        ("name", &mut provider.name),
        ("issuer", &mut provider.issuer),
        ("client_id", &mut provider.client_id),
    ] {
        if is_new || fields.given(name) {
            *value = fields.required_text(name);
        }
    }
    if !provider.issuer.is_empty()
        && let Err(fault) = Issuer::new(&provider.issuer)
    {
        fields.refuse("issuer", &fault.to_string());
    }
    read_settings(fields, provider);
    if fields.given("enabled") {
        provider.enabled = read_enabled(fields).unwrap_or(provider.enabled);
    }
    if provider.issuer == GOOGLE && provider.settings.domains.is_empty() {
        fields.refuse("domains", "must name your domains for Google: its accounts are everybody's");
    }
    if !fields.given("client_secret") {
        return SecretChange::Stays;
    }
    match fields.any("client_secret") {
        None => SecretChange::Goes,
        Some(Value::String(text)) if is_secret(&text) => SecretChange::Becomes(Secret::new(text)),
        Some(_) => {
            fields.refuse("client_secret", "must be a text of 1 to 4096 visible ASCII characters, or null");
            SecretChange::Stays
        }
    }
}

fn is_secret(text: &str) -> bool {
    const MAX_BYTES: usize = 4_096;
    (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read_enabled(fields: &mut Fields) -> Option<bool> {
    match fields.any("enabled") {
        Some(Value::Bool(enabled)) => Some(enabled),
        _ => {
            fields.refuse("enabled", "must be true or false");
            None
        }
    }
}

fn read_settings(fields: &mut Fields, provider: &mut Provider) {
    let settings = &mut provider.settings;
    if fields.given("scopes") {
        settings.scopes = read_scopes(fields);
    }
    if fields.given("groups_claim") {
        settings.groups_claim = fields.text("groups_claim");
    }
    if fields.given("role_mapping") {
        settings.role_mapping = read_mapping(fields);
    }
    if fields.given("default_role") {
        settings.default_role = fields.choice("default_role", &ROLES.map(|role| (role.as_str(), role)));
    }
    if fields.given("domains") {
        settings.domains = read_domains(fields);
    }
    if fields.given("provisioning") {
        let chosen = fields.choice("provisioning", &PROVISIONING);
        settings.provisioning = chosen.unwrap_or(Provisioning::JustInTime);
    }
    if settings.groups_claim.is_none() && !settings.role_mapping.is_empty() {
        fields.refuse("groups_claim", "must name the claim with the groups that role_mapping maps");
    }
}

/// `openid` always comes first: without it there is no ID token.
fn read_scopes(fields: &mut Fields) -> Vec<String> {
    const OPENID: &str = "openid";
    let given = fields.texts("scopes", MAX_SCOPES).unwrap_or_default();
    // RFC 6749, section 3.3.
    let fits =
        |scope: &String| scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if !given.iter().all(fits) {
        fields.refuse("scopes", "entries must be of visible ASCII characters without quotes and backslashes");
    }
    let mut scopes = vec![OPENID.to_owned()];
    for scope in given {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

fn read_domains(fields: &mut Fields) -> Vec<String> {
    let given = fields.texts("domains", MAX_DOMAINS).unwrap_or_default();
    let mut domains: Vec<String> = given.iter().map(|domain| domain.to_ascii_lowercase()).collect();
    if !domains.iter().all(|domain| is_domain(domain)) {
        fields.refuse("domains", "entries must be domains as in e-mail addresses, for example example.com");
    }
    domains.sort_unstable();
    domains.dedup();
    domains
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_DOMAIN_CHARS && text.contains('.') && text.split('.').all(label)
}

fn read_mapping(fields: &mut Fields) -> Vec<MappedRole> {
    let entries = fields.list("role_mapping", MAX_MAPPED).unwrap_or_default();
    let mut mapping = Vec::with_capacity(entries.len());
    for (number, entry) in entries.into_iter().enumerate() {
        match read_mapped(entry) {
            Ok(mapped) => mapping.push(mapped),
            Err(why) => fields.refuse("role_mapping", &format!("entry {}: {why}", number.saturating_add(1))),
        }
    }
    mapping
}

fn read_mapped(entry: Value) -> Result<MappedRole, &'static str> {
    const KNOWN: [&str; 4] = ["group", "role", "place", "place_id"];
    let Value::Object(mut entry) = entry else { return Err("must be an object with group and role") };
    if entry.keys().any(|key| !KNOWN.contains(&key.as_str())) {
        return Err("has a field that is none of group, role, place and place_id");
    }
    let mut text = |name: &str| match entry.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err("its fields must be texts"),
    };
    let group = text("group")?.ok_or("group is required")?;
    let fits = (1..=MAX_GROUP_CHARS).contains(&group.chars().count()) && !group.contains(char::is_control);
    if !fits {
        return Err("group must have 1 to 200 characters");
    }
    let role = text("role")?.as_deref().and_then(Role::from_text);
    let role = role.ok_or("role must be one of: owner, admin, developer, billing, auditor")?;
    let place = text("place")?;
    let place = match place.as_deref() {
        None => MappedPlace::Org,
        Some(word) => PLACES
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, place)| *place)
            .ok_or("place must be one of: org, team, project")?,
    };
    let place_id = text("place_id")?;
    match (place, &place_id) {
        (MappedPlace::Org, Some(_)) => Err("place_id is for teams and projects only"),
        (MappedPlace::Team | MappedPlace::Project, None) => Err("place_id must name the team or project"),
        _ => Ok(MappedRole { group, role, place, place_id }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(value: Value) -> Result<MappedRole, &'static str> {
        read_mapped(value)
    }

    #[test]
    fn an_entry_names_a_group_a_role_and_where() {
        let org = entry(json!({ "group": "eng", "role": "developer" })).unwrap();
        assert_eq!((org.place, org.place_id), (MappedPlace::Org, None));
        let team =
            entry(json!({ "group": "eng", "role": "admin", "place": "team", "place_id": "team_1" })).unwrap();
        assert_eq!((team.place, team.place_id.as_deref()), (MappedPlace::Team, Some("team_1")));
        for bad in [
            json!("eng"),
            json!({ "role": "admin" }),
            json!({ "group": "", "role": "admin" }),
            json!({ "group": "eng", "role": "king" }),
            json!({ "group": "eng", "role": "admin", "place": "team" }),
            json!({ "group": "eng", "role": "admin", "place_id": "team_1" }),
            json!({ "group": "eng", "role": "admin", "place": "world" }),
            json!({ "group": "eng", "role": "admin", "more": 1 }),
            json!({ "group": 7, "role": "admin" }),
        ] {
            assert!(entry(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_domain_is_one_of_e_mail_addresses() {
        for good in ["example.com", "a-b.example.co", "xn--bcher-kva.example"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", "com", "@example.com", "example..com", "-a.com", "a-.com", "exa mple.com", ".com"] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
