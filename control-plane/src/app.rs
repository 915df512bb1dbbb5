//! What the handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use mindweave_metering::{OrgId, ProjectId};

use crate::db::Db;
use crate::secrets::MasterKey;
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
    pub(crate) stop: Stop,
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
