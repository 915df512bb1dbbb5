//! The part of an erasure that is in force when it is answered.

use mindweave_policy::{LimitSpec, QuotaSpec, Subject, SubjectKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::account::{self, Member};
use super::arrivals::digest;
use super::store::{self, Erasure, Person};
use crate::access::OrgPermit;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::{Connection, StoreError};
use crate::entropy;
use crate::http::problem::Problem;
use crate::identity::users::email_key;
use crate::usage::counters::rules_count;

/// Bytes of the salt under which erased people are remembered.
const SALT_BYTES: usize = 32;
/// What pseudonyms start with.
const PSEUDONYM_PREFIX: &str = "erased_";

/// Replaces who somebody is by a new pseudonym. The transaction must be one of [`crate::db::Db::begin_write`], and raise the revision of
/// snapshots.
///
/// # Errors
/// 404 when nothing names such a person, 409 when they are the last owner.
pub(super) async fn person_erase(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
) -> Result<Erasure, Problem> {
    let org_id = permit.org_id();
    let member = account::member_find(tx, org_id, user_id).await?;
    if member.is_none() && !store::person_known(tx, permit, user_id).await? {
        return Err(Problem::not_found("person in this organisation", user_id));
    }
    let fault = |error| Problem::internal(&error);
    let now = clock::now();
    let salt = store::salt_ensure(tx, &entropy::bytes::<SALT_BYTES>().map_err(fault)?).await?;
    let digest = digest(&salt, org_id, user_id);
    let (id, pseudonym) = match store::erasure_before(tx, permit, &digest).await? {
        Some(before) => before,
        None => (
            store::new_id("era_", now, entropy::bytes().map_err(fault)?),
            store::new_id(PSEUDONYM_PREFIX, now, entropy::bytes().map_err(fault)?),
        ),
    };
    let erasure =
        Erasure { id, org_id: org_id.to_owned(), pseudonym, events: 0, created_at: now, finished_at: None };
    let email = member.as_ref().map(Member::email);
    store::erasure_note(tx, &erasure, &Person { digest: &digest, user_id, email }).await?;
    account::invitations_erase(tx, org_id, &email_key(user_id), &erasure.pseudonym).await?; // whoever was only invited
    if let Some(member) = member {
        account::member_erase(tx, permit, &member, &erasure.pseudonym).await?;
    }
    store::carriers_replace(tx, permit, user_id, &erasure.pseudonym).await?;
    store::sums_replace(tx, permit, user_id, &erasure.pseudonym).await?;
    specs_replace(tx, permit, user_id, &erasure.pseudonym).await?;
    rules_count(tx, now).await?; // how budgets were counted names whom they are about
    store::audit_erase(tx, permit, user_id).await?;
    let change = Change::new(Chain::Org(org_id), "person.erased", "person", &erasure.pseudonym);
    audit::record(tx, permit.caller(), change).await?;
    Ok(erasure)
}

/// Limits and budgets of this one person are about the pseudonym from now on.
async fn specs_replace(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
    pseudonym: &str,
) -> Result<(), StoreError> {
    let renamed = |scope: &Subject| {
        let theirs = scope.kind == SubjectKind::User && scope.id.as_deref() == Some(user_id);
        theirs.then(|| Subject { kind: SubjectKind::User, id: Some(pseudonym.into()) })
    };
    for (id, spec) in store::specs_read(tx, permit, store::Specs::Limits).await? {
        let mut spec: LimitSpec = read(&spec, "a rate limit")?;
        if let Some(scope) = renamed(&spec.scope) {
            spec.scope = scope;
            store::spec_write(tx, permit, store::Specs::Limits, &id, &written(&spec)).await?;
        }
    }
    for (id, spec) in store::specs_read(tx, permit, store::Specs::Quotas).await? {
        let mut spec: QuotaSpec = read(&spec, "a budget")?;
        if spec.scope.kind == SubjectKind::User {
            store::subject_replace(tx, &id, user_id, pseudonym).await?;
        }
        if let Some(scope) = renamed(&spec.scope) {
            spec.scope = scope;
            store::spec_write(tx, permit, store::Specs::Quotas, &id, &written(&spec)).await?;
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(spec: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(spec).map_err(|_| StoreError::Corrupt { what })
}

fn written(spec: &impl Serialize) -> String {
    serde_json::to_string(spec).unwrap_or_default() // what was read from JSON can be written as JSON
}
