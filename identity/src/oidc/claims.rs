//! Who somebody is, from what a provider says. Providers differ in what they call it, and in what they leave out.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::fault::TokenFault;
use super::id_token::subject;

/// Most groups of one person that are looked at.
const MAX_GROUPS: usize = 5_000;
/// Longest e-mail address (RFC 5321, section 4.5.3.1.3).
const MAX_EMAIL_BYTES: usize = 254;
/// Longest name that is kept, in characters.
const MAX_NAME_CHARS: usize = 200;

/// The one provider whose word about addresses is only as good as another claim:
/// <https://developers.google.com/identity/openid-connect/openid-connect#obtainuserinfo>.
const GOOGLE: &str = "https://accounts.google.com";
/// The domain for which Google is the provider of mail itself.
const GOOGLE_MAIL: &str = "gmail.com";

/// What a provider says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailTrust {
    /// It has made sure that the address is this person's.
    Verified,
    /// Nothing, or the address is only the name they sign in with.
    Unstated,
    /// It has not: the person may have typed it in.
    Unverified,
}

/// A person, as a provider knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Unique at the issuer, and never given to somebody else.
    pub subject: String,
    /// An address, if the provider tells one.
    pub email: Option<String>,
    /// What the provider says of the address.
    pub email_trust: EmailTrust,
    /// What to call them.
    pub name: Option<String>,
    /// The groups, or app roles, that the configured claim names.
    pub groups: BTreeSet<String>,
    /// Whether the provider says that it asked for more than one factor (`amr` of RFC 8176).
    pub multi_factor: bool,
}

impl Person {
    /// Reads the claims of an ID token, and where those of userinfo are given, what only they have.
    ///
    /// # Errors
    /// When there is no subject, or the token says that it left the groups out because they are too many.
    pub fn read(
        token: &Map<String, Value>,
        userinfo: Option<&Map<String, Value>>,
        groups_claim: Option<&str>,
    ) -> Result<Self, TokenFault> {
        let subject = subject(token).ok_or(TokenFault::Subject)?.to_owned();
        if groups_claim.is_some_and(|claim| left_out(token, claim)) {
            return Err(TokenFault::GroupsOverage);
        }
        let sources: Vec<_> = [Some(token), userinfo].into_iter().flatten().collect();
        let (email, email_trust) = email(&sources);
        let name = sources.iter().find_map(|claims| name(claims));
        let groups =
            groups_claim.and_then(|claim| sources.iter().find_map(|source| find(source, claim))).map(texts);
        let methods = token.get("amr").map(texts).unwrap_or_default();
        let multi_factor = methods.contains("mfa");
        Ok(Self { subject, email, email_trust, name, groups: groups.unwrap_or_default(), multi_factor })
    }
}

/// Whether the userinfo endpoint has to be asked: the token lacks an address or the groups.
pub(super) fn is_incomplete(token: &Map<String, Value>, groups_claim: Option<&str>) -> bool {
    let lacks_groups =
        groups_claim.is_some_and(|claim| find(token, claim).is_none() && !left_out(token, claim));
    lacks_groups || !token.contains_key("email")
}

/// Entra ID leaves groups out above 200 and says where they can be asked for, in place of them:
/// <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference#groups-overage-claim>. To go on would take
/// everybody's roles away who has many groups.
fn left_out(token: &Map<String, Value>, claim: &str) -> bool {
    let named = token.get("_claim_names").and_then(|names| names.get(claim)).is_some();
    let marked = claim == "groups" && token.get("hasgroups").is_some_and(is_true);
    named || marked
}

/// The address, and what is known of it. Without one (Entra ID sends none for people without a mailbox) the name they sign in
/// with, which looks like an address.
fn email(sources: &[&Map<String, Value>]) -> (Option<String>, EmailTrust) {
    for claims in sources {
        let Some(email) = claims.get("email").and_then(Value::as_str).and_then(address) else { continue };
        let trust = trust(claims, &email, sources);
        return (Some(email), trust);
    }
    let names = ["preferred_username", "upn"];
    let name = sources.iter().find_map(|claims| {
        names.iter().find_map(|name| claims.get(*name).and_then(Value::as_str).and_then(address))
    });
    (name, EmailTrust::Unstated)
}

fn trust(claims: &Map<String, Value>, email: &str, sources: &[&Map<String, Value>]) -> EmailTrust {
    // Entra ID's `email` can be set by any tenant's admins; `xms_edov` says that the tenant owns its domain.
    let said = ["email_verified", "xms_edov"].iter().find_map(|name| claims.get(*name));
    let Some(said) = said else { return EmailTrust::Unstated };
    if !is_true(said) {
        return EmailTrust::Unverified;
    }
    // An account of Google's can have anybody's address, verified once; that it is an organisation's own, `hd` says.
    let text = |name: &str| sources.iter().find_map(|claims| claims.get(name)).and_then(Value::as_str);
    if text("iss") == Some(GOOGLE) {
        let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
        let own = text("hd").is_some_and(|hosted| hosted.eq_ignore_ascii_case(domain));
        if !own && !domain.eq_ignore_ascii_case(GOOGLE_MAIL) {
            return EmailTrust::Unverified;
        }
    }
    EmailTrust::Verified
}

/// `true`, as booleans, texts and numbers say it: Cognito sends texts, Entra ID numbers.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => *truth,
        Value::String(text) => text == "true" || text == "1",
        Value::Number(number) => number.as_i64() == Some(1),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn address(text: &str) -> Option<String> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@')?;
    let plain =
        !text.contains(|char: char| char.is_whitespace() || char.is_control() || "<>,;\"".contains(char));
    let fits =
        !local.is_empty() && domain.contains('.') && !local.contains('@') && text.len() <= MAX_EMAIL_BYTES;
    (plain && fits).then(|| text.to_owned())
}

fn name(claims: &Map<String, Value>) -> Option<String> {
    let text =
        |name: &str| claims.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let parts = || {
        let parts: Vec<_> = [text("given_name"), text("family_name")].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    };
    let name = text("name").map(str::to_owned).or_else(parts)?;
    let name: String = name.chars().filter(|char| !char.is_control()).take(MAX_NAME_CHARS).collect();
    (!name.trim().is_empty()).then_some(name)
}

/// A claim by its name, which may be a URL, or else by the way to it: `realm_access.roles`.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, part| value.get(part))
}

fn texts(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) => [text.clone()].into(),
        Value::Array(values) => {
            values.iter().take(MAX_GROUPS).filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => BTreeSet::new(),
    }
}
