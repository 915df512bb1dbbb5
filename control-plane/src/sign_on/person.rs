//! From who somebody is at a provider to who they are here.
//!
//! Whoever administers a provider can have it say anything about anybody, so its word opens an account that was there before only
//! where its organisation could open it anyway: to somebody who belongs to this organisation alone, owns nothing and runs nothing, whose
//! address was verified here, is verified there, and is of a domain of the provider. Everybody else links the provider while signed in.
//! For the same reason, an address that a provider brings along is not taken as verified.

use mindweave_identity::oidc::{EmailTrust, Person};

use super::person_store::{self, Identity, Membership};
use super::provider::{Provider, Provisioning};
use super::refusal::Refusal;
use crate::access::{Access, Actor, Area, Caller, Grants, OrgPermit, Place, Role, Scopes};
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::Connection;
use crate::http::problem::Problem;
use crate::identity::session::acting_as;
use crate::identity::users::{self, Account, NewUser};
use crate::members::roles_from_sign_on;

/// Admits a person, or refuses them. What was noted in `tx` is to be committed in both cases: who lost their groups loses their roles,
/// also if that leaves nothing to sign in for.
pub(super) async fn admit(
    tx: &mut Connection,
    caller: &Caller,
    provider: &Provider,
    person: &Person,
) -> Result<Result<String, Refusal>, Problem> {
    let permit = system_permit(tx, caller, &provider.org_id).await?;
    let identity = Identity { issuer: &provider.issuer, subject: &person.subject };
    let known = person_store::identity_find(tx, identity).await?;
    let roles = roles(provider, person);
    if let Err(refusal) = check_address(provider, person) {
        // Who may not come in by it any more has nothing from it any more.
        if let Some(user_id) = known {
            apply_roles(tx, &permit, provider, &user_id, Vec::new()).await?;
        }
        return Ok(Err(refusal));
    }
    let found = match known {
        Some(user_id) => users::account_by_id(tx, &user_id).await?.ok_or(Refusal::Disabled),
        None => by_address(tx, provider, person).await?,
    };
    let account = match found {
        Ok(account) => account,
        Err(Refusal::NotAMember) if provider.settings.provisioning == Provisioning::JustInTime => {
            if roles.is_empty() {
                return Ok(Err(Refusal::NoRole));
            }
            provision(tx, caller, provider, person).await?
        }
        Err(refusal) => return Ok(Err(refusal)),
    };
    let user_id = account.user.id.as_str();
    if account.disabled {
        return Ok(Err(Refusal::Disabled));
    }
    let before = person_store::membership(tx, user_id, &provider.org_id).await?;
    if provider.settings.provisioning == Provisioning::MembersOnly && !before.is_here() {
        return Ok(Err(Refusal::NotAMember));
    }
    apply_roles(tx, &permit, provider, user_id, roles).await?;
    if !person_store::membership(tx, user_id, &provider.org_id).await?.is_here() {
        return Ok(Err(Refusal::NoRole));
    }
    person_store::identity_note(tx, identity, user_id, &provider.id, clock::now()).await?;
    Ok(Ok(account.user.id))
}

/// Links an identity to somebody who is signed in and wants it.
pub(super) async fn link(
    tx: &mut Connection,
    caller: &Caller,
    provider: &Provider,
    person: &Person,
    user_id: &str,
) -> Result<Result<String, Refusal>, Problem> {
    let identity = Identity { issuer: &provider.issuer, subject: &person.subject };
    match person_store::identity_find(tx, identity).await? {
        Some(other) if other != user_id => return Ok(Err(Refusal::IdentityTaken)),
        _ => {}
    }
    let account = users::account_by_id(tx, user_id).await?.filter(|account| !account.disabled);
    let Some(Account { user, .. }) = account else { return Ok(Err(Refusal::Disabled)) };
    person_store::identity_note(tx, identity, user_id, &provider.id, clock::now()).await?;
    let change = Change::new(Chain::Installation, "user.identity_linked", "user", user_id);
    let shown = serde_json::json!({ "provider_id": provider.id, "issuer": provider.issuer });
    audit::record(tx, &acting_as(caller, &user, None), change.after(&shown)).await?;
    Ok(Ok(user.id))
}

/// What a mapping of groups does, MindWeave does itself; the request it does it in is the person's.
pub(super) async fn system_permit(
    tx: &mut Connection,
    caller: &Caller,
    org_id: &str,
) -> Result<OrgPermit, Problem> {
    let origin = std::sync::Arc::new(caller.origin().clone());
    let system = Caller::new(Actor::System, Grants::default(), Scopes::All, origin);
    system.org(tx, org_id, Access::write(Area::Members)).await
}

/// The roles that somebody's groups give, or else the default one.
fn roles(provider: &Provider, person: &Person) -> Vec<(Place, Role)> {
    let settings = &provider.settings;
    let mapped = settings.role_mapping.iter().filter(|mapped| person.groups.contains(&mapped.group));
    let mut roles: Vec<_> = mapped.map(|mapped| (mapped.place(), mapped.role)).collect();
    if let (true, Some(role)) = (roles.is_empty(), settings.default_role) {
        roles.push((Place::Org, role));
    }
    roles
}

/// Makes somebody's roles what their groups give. Who would be the last owner to go stays one.
async fn apply_roles(
    tx: &mut Connection,
    permit: &OrgPermit,
    provider: &Provider,
    user_id: &str,
    mut roles: Vec<(Place, Role)>,
) -> Result<(), Problem> {
    let owner = (Place::Org, Role::Owner);
    if !roles.contains(&owner)
        && person_store::is_last_owner_by(tx, permit.org_id(), user_id, &provider.id).await?
    {
        tracing::warn!(
            org_id = permit.org_id(),
            user_id,
            "the last owner left the group of owners, and stays one"
        );
        roles.push(owner);
    }
    roles_from_sign_on(tx, permit, user_id, &provider.id, &roles).await
}

/// Whether somebody with this address may come in by this provider.
fn check_address(provider: &Provider, person: &Person) -> Result<(), Refusal> {
    if provider.settings.domains.is_empty() {
        return Ok(());
    }
    let email = person.email.as_deref().ok_or(Refusal::EmailMissing)?;
    // One that anybody could have typed in there says nothing of where they belong.
    if person.email_trust == EmailTrust::Unverified {
        return Err(Refusal::EmailUnverified);
    }
    let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
    if provider.takes_domain(domain) { Ok(()) } else { Err(Refusal::Domain) }
}

/// Whoever has this address here, if the provider's word is enough to be them.
async fn by_address(
    tx: &mut Connection,
    provider: &Provider,
    person: &Person,
) -> Result<Result<Account, Refusal>, Problem> {
    let Some(email) = person.email.as_deref() else { return Ok(Err(Refusal::EmailMissing)) };
    let Some(account) = users::user_by_email(tx, email).await? else { return Ok(Err(Refusal::NotAMember)) };
    let membership = person_store::membership(tx, &account.user.id, &provider.org_id).await?;
    let opens = person.email_trust == EmailTrust::Verified
        && !provider.settings.domains.is_empty()
        && account.user.email_verified
        && !account.user.installation_admin
        && belongs_here_alone(membership);
    Ok(if opens { Ok(account) } else { Err(Refusal::AccountExists) })
}

fn belongs_here_alone(membership: Membership) -> bool {
    membership.is_here() && !membership.is_elsewhere() && !membership.is_owner()
}

/// Makes an account for somebody who is new.
async fn provision(
    tx: &mut Connection,
    caller: &Caller,
    provider: &Provider,
    person: &Person,
) -> Result<Account, Problem> {
    let email = person.email.as_deref().unwrap_or_default();
    let name = person.name.as_deref().unwrap_or(email);
    let new = NewUser { email, email_verified: false, name, password_hash: None, installation_admin: false };
    let id = users::user_insert(tx, new).await?;
    let account = users::account_by_id(tx, &id).await?;
    let account = account.ok_or_else(|| Problem::not_found("user", &id))?;
    let change = Change::new(Chain::Installation, "user.created", "user", &id).identifying();
    let shown = serde_json::json!({ "email": email, "name": name, "provider_id": provider.id });
    audit::record(tx, caller, change.after(&shown)).await?;
    Ok(account)
}
