//! What the handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use mindweave_metering::{OrgId, ProjectId, QuotaId};

use crate::db::Db;
use crate::governance::{Checker, Replays, ReservedSource};
use crate::identity::Identity;
use crate::secrets::MasterKey;
use crate::sign_on::SignOn;
use crate::snapshot::Publisher;
use crate::tasks::Stop;
use crate::usage::LiveEvents;

/// The parts of the control plane that handlers use. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) db: Db,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) live: LiveEvents,
    pub(crate) master_key: MasterKey,
    pub(crate) home: Arc<Home>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) sign_on: SignOn,
    pub(crate) checker: Checker,
    pub(crate) replays: Replays,
    pub(crate) reserved: ReservedSource,
    /// What this process measures, as text; `None` where nobody said how.
    pub(crate) metrics: Option<fn() -> String>,
    pub(crate) stop: Stop,
}

impl App {
    /// What open requests hold of a budget; `None` without a proxy in this process.
    pub(crate) fn reserved(&self, quota: &QuotaId, subject: &str) -> Option<i64> {
        Some(self.reserved.get()?.reserved(quota, subject))
    }
}

/// What was made at the first start: the organisation, and the project that unregistered credentials are booked on.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) org_id: OrgId,
    pub(crate) default_project_id: ProjectId,
}

impl FromRef<App> for Db {
    fn from_ref(app: &App) -> Self {
        app.db.clone()
    }
}
