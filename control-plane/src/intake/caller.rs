//! Who sends events: whoever holds a MindWeave key, for its project; whoever may deliver events of projects, for those.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jiff::Timestamp;
use mindweave_metering::{OrgId, ProjectId};
use mindweave_policy::{Fingerprint, Principal, Snapshot};

use crate::access::{self, Access, Actor, Area};
use crate::db::sql::QueryBuilder;
use crate::db::{Db, Doing};
use crate::http::auth::bearer;
use crate::http::problem::{Code, Problem};
use crate::keys::SECRET_PREFIX;

/// Where a key may stand beside `authorization`: where the API's own clients put one, and where the proxy takes one.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "x-mindweave-key"];
/// What it takes to deliver events without a key.
const NEED: Access = Access::write(Area::Events);

/// What a request carries to prove who it is from.
#[derive(Clone, Debug)]
pub(super) enum Credential<'a> {
    /// A key in force.
    Key(Arc<Principal>),
    /// A bearer token that is no key.
    Token(&'a [u8]),
}

impl<'a> Credential<'a> {
    /// The first of these headers that is good, or what is wrong with them.
    pub(super) fn of(
        headers: &'a HeaderMap,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Self, &'static str> {
        let mut refusal =
            "send a MindWeave key (x-api-key: mw_...), or a token of yours (authorization: Bearer ...)";
        let keys = KEY_HEADERS.iter().filter_map(|name| headers.get(*name));
        let keys = keys.map(|value| value.as_bytes().trim_ascii());
        let bearer = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        let mut token = None;
        for credential in keys.chain(bearer) {
            if !credential.starts_with(SECRET_PREFIX.as_bytes()) {
                token = Some(Self::Token(credential)); // the last one: `authorization`, if that is one
                continue;
            }
            match snapshot.keys.get(&Fingerprint::of(credential)) {
                None => refusal = "this MindWeave key is not known here, or it was revoked",
                Some(entry) if entry.expires_at.is_some_and(|expiry| expiry <= now) => {
                    refusal = "this MindWeave key has expired";
                }
                Some(entry) => return Ok(Self::Key(Arc::clone(&entry.principal))),
            }
        }
        token.ok_or(refusal)
    }
}

/// Who sends.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// The holder of a key.
    Key(Arc<Principal>),
    /// Somebody who may deliver events of these projects.
    Member {
        /// Who; nothing for the admin token.
        id: Arc<str>,
        /// The projects, and whose they are.
        projects: Arc<HashMap<ProjectId, OrgId>>,
    },
}

impl Caller {
    /// Somebody who came with a token.
    ///
    /// # Errors
    /// 403 for who may deliver events nowhere.
    pub(super) async fn member(db: &Db, caller: &access::Caller) -> Result<Self, Problem> {
        let reach = caller.reach(NEED)?;
        if reach.is_nothing() {
            let detail = format!("no role of yours allows this anywhere; it takes {NEED}");
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let mut sql = QueryBuilder::new("SELECT id, org_id FROM projects WHERE deleted_at IS NULL");
        reach.limit_to_projects(&mut sql, "id");
        let rows: Result<Vec<(String, String)>, _> = sql
            .build_query_as()
            .fetch_all(db.readers())
            .await
            .doing("looking for the projects that somebody delivers events of");
        let projects = rows?.into_iter().map(|(id, org_id)| (ProjectId::new(id), OrgId::new(org_id)));
        let id = match caller.actor() {
            Actor::AdminToken => "",
            actor => actor.id(),
        };
        Ok(Self::Member { id: id.into(), projects: Arc::new(projects.collect()) })
    }

    /// What an `idempotency-key` of this caller is one of: the same key of somebody else's is another one.
    pub(super) fn scope(&self) -> &str {
        match self {
            Self::Key(principal) => principal.project_id.as_str(),
            Self::Member { id, .. } => id,
        }
    }
}
