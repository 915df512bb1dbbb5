//! All SQL of snapshots.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mindweave_metering::{KeyId, OrgId, ProjectId, TeamId, UserId};
use mindweave_policy::{Fingerprint, Governance, KeyEntry, Principal, ProjectEntry, ProjectRules, Snapshot};
use sqlx::FromRow;

use crate::app::Home;
use crate::db::{Connection, Db, Doing, Engine, StoreError, Topic, sql};
use crate::governance::{governance_read, governance_revision};
use crate::projects::{ProjectSettings, upstream_owner};
use crate::secrets::MasterKey;
use crate::stored::{labels, roles, timestamp};

/// What governs, and of which revision of its own it is.
#[derive(Clone, Debug)]
pub(crate) struct Governing {
    pub(crate) revision: i64,
    pub(crate) governance: Arc<Governance>,
}

/// A snapshot as it was read.
pub(crate) struct Stored {
    pub(crate) snapshot: Snapshot,
    /// Of the governance in it.
    pub(crate) governance_revision: i64,
    /// Projects whose upstream key did not open.
    pub(crate) unreadable: Vec<ProjectId>,
}

/// Raises the revision, in the transaction of the change that proxies must see. Returns the new one.
pub(crate) async fn revision_raise(tx: &mut Connection) -> Result<u64, StoreError> {
    let revision: i64 = sql::query_scalar(
        "UPDATE installation SET snapshot_revision = snapshot_revision + 1 RETURNING snapshot_revision",
    )
    .fetch_one(&mut *tx)
    .await
    .doing("raising the snapshot revision")?;
    if tx.engine() == Engine::Postgres {
        // With the commit the other control planes hear of it.
        sql::query("SELECT pg_notify(?, '')")
            .bind(Topic::Revision.channel())
            .execute(tx)
            .await
            .doing("telling of the snapshot revision")?;
    }
    u64::try_from(revision).map_err(|_| StoreError::Corrupt { what: "a snapshot revision" })
}

/// The revision of the last committed change.
pub(crate) async fn revision_view(db: &Db) -> Result<u64, StoreError> {
    let mut tx = db.begin_read().await?;
    revision_read(&mut tx).await
}

/// The revision of the last change that this transaction sees.
pub(crate) async fn revision_read(tx: &mut Connection) -> Result<u64, StoreError> {
    let revision: i64 = sql::query_scalar("SELECT snapshot_revision FROM installation")
        .fetch_one(tx)
        .await
        .doing("reading the snapshot revision")?;
    u64::try_from(revision).map_err(|_| StoreError::Corrupt { what: "a snapshot revision" })
}

/// Reads the snapshot of one state of the database. Its policies are not compiled yet. What governs is not read again when it is
/// still what is `known`: there may be many megabytes of it.
pub(crate) async fn snapshot_read(
    db: &Db,
    master_key: &MasterKey,
    home: &Home,
    known: Option<&Governing>,
) -> Result<Stored, StoreError> {
    let mut tx = db.begin_read().await?;
    let revision = revision_read(&mut tx).await?;
    let Projects { projects, project_rules, unreadable } = projects_read(&mut tx, master_key).await?;
    let keys = keys_read(&mut tx).await?;
    let client_credentials = credentials_read(&mut tx).await?;
    let default_principal = Arc::new(Principal {
        org_id: home.org_id.clone(),
        project_id: home.default_project_id.clone(),
        team_id: None,
        user_id: None,
        key_id: None,
        roles: Vec::new(),
        labels: BTreeMap::new(),
    });
    let default_principal = Some(default_principal);
    let governance_revision = governance_revision(&mut tx).await?;
    let governance = match known {
        Some(known) if known.revision == governance_revision => Arc::clone(&known.governance),
        _ => Arc::new(governance_read(&mut tx).await?),
    };
    let policies = Arc::default(); // compiled by the publisher
    let snapshot = Snapshot {
        revision,
        keys,
        client_credentials,
        projects,
        project_rules,
        default_principal,
        governance,
        policies,
    };
    Ok(Stored { snapshot, governance_revision, unreadable })
}

/// What a snapshot has of projects.
#[derive(Default)]
struct Projects {
    projects: HashMap<ProjectId, ProjectEntry>,
    project_rules: HashMap<ProjectId, Arc<ProjectRules>>,
    /// See [`Stored::unreadable`].
    unreadable: Vec<ProjectId>,
}

async fn projects_read(tx: &mut Connection, master_key: &MasterKey) -> Result<Projects, StoreError> {
    let rows: Vec<(String, String, Option<Vec<u8>>, String)> = sql::query_as(
        "SELECT p.id, p.name, u.sealed, p.settings FROM projects p
         JOIN orgs o ON o.id = p.org_id LEFT JOIN upstream_credentials u ON u.project_id = p.id
         WHERE p.deleted_at IS NULL AND o.deleted_at IS NULL",
    )
    .fetch_all(tx)
    .await
    .doing("reading projects for a snapshot")?;
    let mut read = Projects::default();
    for (id, name, sealed, settings) in rows {
        let rules = ProjectSettings::stored(&settings)?.rules();
        let upstream_key = sealed.map(|sealed| master_key.open(&upstream_owner(&id), &sealed)).transpose();
        let id = ProjectId::new(id);
        if upstream_key.is_err() {
            read.unreadable.push(id.clone());
        }
        let upstream_key = upstream_key.ok().flatten();
        if !rules.is_empty() {
            read.project_rules.insert(id.clone(), Arc::new(rules));
        }
        read.projects.insert(id, ProjectEntry { name: name.into(), upstream_key });
    }
    Ok(read)
}

#[derive(FromRow)]
struct PrincipalRow {
    fingerprint: Vec<u8>,
    key_id: Option<String>,
    org_id: String,
    project_id: String,
    team_id: Option<String>,
    user_id: Option<String>,
    roles: String,
    labels: String,
}

#[derive(FromRow)]
struct KeyRow {
    #[sqlx(flatten)]
    principal: PrincipalRow,
    expires_at: Option<i64>,
    previous_fingerprint: Option<Vec<u8>>,
    previous_expires_at: Option<i64>,
}

fn fingerprint(stored: &[u8]) -> Result<Fingerprint, StoreError> {
    Fingerprint::from_bytes(stored).ok_or(StoreError::Corrupt { what: "a fingerprint" })
}

impl PrincipalRow {
    fn fingerprint(&self) -> Result<Fingerprint, StoreError> {
        fingerprint(&self.fingerprint)
    }

    fn principal(self) -> Result<Arc<Principal>, StoreError> {
        Ok(Arc::new(Principal {
            org_id: OrgId::new(self.org_id),
            project_id: ProjectId::new(self.project_id),
            team_id: self.team_id.map(TeamId::new),
            user_id: self.user_id.map(UserId::new),
            key_id: self.key_id.map(KeyId::new),
            roles: roles(&self.roles)?,
            labels: labels(&self.labels)?,
        }))
    }
}

async fn keys_read(tx: &mut Connection) -> Result<HashMap<Fingerprint, KeyEntry>, StoreError> {
    let rows: Vec<KeyRow> = sql::query_as(
        "SELECT k.fingerprint, k.id AS key_id, p.org_id, k.project_id, k.team_id, k.user_id, k.roles, k.labels,
                k.expires_at, k.previous_fingerprint, k.previous_expires_at
         FROM keys k JOIN projects p ON p.id = k.project_id JOIN orgs o ON o.id = p.org_id
         WHERE k.revoked_at IS NULL AND k.disabled_at IS NULL AND p.deleted_at IS NULL AND o.deleted_at IS NULL",
    )
    .fetch_all(tx)
    .await
    .doing("reading keys for a snapshot")?;
    let mut keys = HashMap::with_capacity(rows.len());
    for KeyRow { principal, expires_at, previous_fingerprint, previous_expires_at } in rows {
        let expires_at = expires_at.map(timestamp).transpose()?;
        let current = principal.fingerprint()?;
        let principal = principal.principal()?;
        // The secret before the last rotation. It has an end of its own, which every proxy keeps by itself.
        if let (Some(previous), Some(ends)) = (previous_fingerprint, previous_expires_at) {
            let ends = timestamp(ends)?;
            let ends = expires_at.map_or(ends, |expiry| expiry.min(ends));
            let principal = Arc::clone(&principal);
            keys.insert(fingerprint(&previous)?, KeyEntry { expires_at: Some(ends), principal });
        }
        keys.insert(current, KeyEntry { expires_at, principal });
    }
    Ok(keys)
}

async fn credentials_read(tx: &mut Connection) -> Result<HashMap<Fingerprint, Arc<Principal>>, StoreError> {
    let rows: Vec<PrincipalRow> = sql::query_as(
        "SELECT c.fingerprint, NULL AS key_id, p.org_id, c.project_id, c.team_id, c.user_id, c.roles, c.labels
         FROM client_credentials c JOIN projects p ON p.id = c.project_id JOIN orgs o ON o.id = p.org_id
         WHERE p.deleted_at IS NULL AND o.deleted_at IS NULL",
    )
    .fetch_all(tx)
    .await
    .doing("reading credentials for a snapshot")?;
    rows.into_iter().map(|row| Ok((row.fingerprint()?, row.principal()?))).collect()
}
