//! Who watches a stream, and what they see of it. A stream does not end by itself, so its viewer's token and roles are looked at again all the
//! time: what was taken away is not shown any more [`RECHECK`] later, and what cannot be looked at for [`UNCHECKED`] counts as taken away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::access::{Access, Actor, Area, Caller, Origin, Reach};
use crate::db::sql::QueryBuilder;
use crate::db::{Db, Doing, StoreError};
use crate::http::problem::{Code, Problem, chain};
use crate::identity::{self, Resolved};

/// How often a viewer is looked at again.
const RECHECK: Duration = Duration::from_secs(2);
/// How long a stream goes on while the database cannot be asked about its viewer.
const UNCHECKED: Duration = Duration::from_secs(10);
/// What a viewer needs.
const NEED: Access = Access::read(Area::Usage);

/// Who watches.
pub(crate) struct Viewer {
    /// `None` for whoever cannot lose anything: the admin token of the configuration, which is what it is until the process ends.
    watched: Option<Watched>,
    seen: Seen,
}

struct Watched {
    db: Db,
    token: Zeroizing<Vec<u8>>,
    origin: Arc<Origin>,
    checked: Instant,
}

enum Seen {
    Everything,
    Projects(HashSet<String>),
}

impl Viewer {
    /// Whoever came with this token.
    ///
    /// # Errors
    /// 403 for who sees no project's usage.
    pub(crate) async fn new(db: &Db, caller: &Caller, token: Option<&[u8]>) -> Result<Self, Problem> {
        let reach = caller.reach(NEED)?;
        let nothing = || {
            Problem::new(Code::Forbidden, format!("no role of yours allows this anywhere; it takes {NEED}"))
        };
        if reach.is_nothing() {
            return Err(nothing());
        }
        let watched = match (caller.actor(), token) {
            (Actor::AdminToken, _) => None,
            (_, Some(token)) => Some(Watched {
                db: db.clone(),
                token: Zeroizing::new(token.to_vec()),
                origin: Arc::new(caller.origin().clone()),
                checked: Instant::now(),
            }),
            (_, None) => return Err(nothing()),
        };
        Ok(Self { watched, seen: Seen::of(db, &reach).await? })
    }

    /// Everything, for ever.
    #[cfg(test)]
    pub(crate) fn unlimited() -> Self {
        Self { watched: None, seen: Seen::Everything }
    }

    /// Whether events of this project are for them.
    pub(super) fn sees(&self, project_id: &str) -> bool {
        match &self.seen {
            Seen::Everything => true,
            Seen::Projects(projects) => projects.contains(project_id),
        }
    }

    /// Whether nothing is kept from them.
    pub(super) fn sees_everything(&self) -> bool {
        matches!(self.seen, Seen::Everything)
    }

    /// When they are to be looked at again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.watched.as_ref().map(|watched| watched.checked + RECHECK)
    }

    /// Looks at them again. Returns whether they may go on watching.
    pub(super) async fn check(&mut self) -> bool {
        let Some(watched) = &mut self.watched else { return true };
        match looked_at(watched).await {
            Ok(Some(seen)) => {
                self.seen = seen;
                watched.checked = Instant::now();
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "who watches live events could not be looked at");
                watched.checked.elapsed() < UNCHECKED
            }
        }
    }
}

/// What they see now; `None`: nothing any more.
async fn looked_at(watched: &Watched) -> Result<Option<Seen>, StoreError> {
    let Some(Resolved { actor, grants, scopes }) = identity::resolve(&watched.db, &watched.token).await?
    else {
        return Ok(None);
    };
    let caller = Caller::new(actor, grants, scopes, Arc::clone(&watched.origin));
    match caller.reach(NEED) {
        Ok(reach) if !reach.is_nothing() => Seen::of(&watched.db, &reach).await.map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}

impl Seen {
    async fn of(db: &Db, reach: &Reach) -> Result<Self, StoreError> {
        if reach.is_everything() {
            return Ok(Self::Everything);
        }
        let mut sql = QueryBuilder::new("SELECT id FROM projects WHERE true");
        reach.limit_to_projects(&mut sql, "id");
        let rows: Vec<(String,)> = sql
            .build_query_as()
            .fetch_all(db.readers())
            .await
            .doing("looking for the projects that somebody watches")?;
        Ok(Self::Projects(rows.into_iter().map(|(id,)| id).collect()))
    }
}
