//! What sums are kept apart by, as small numbers: an upsert by number is several times cheaper than one by seven texts.

use std::collections::HashMap;

use mindweave_metering::{EventType, UsageEvent};
use parking_lot::Mutex;
use sqlx::SqliteConnection;

use crate::db::{Doing, StoreError};

/// Most dimensions kept in memory; beyond it the memory is emptied and filled again as they are met.
const MAX_CACHED: usize = 50_000;

/// One combination of what sums are kept apart by. Empty texts stand for "none".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dim {
    org_id: String,
    project_id: String,
    team_id: String,
    user_id: String,
    key_id: String,
    model: String,
    event_type: &'static str,
}

impl Dim {
    /// The dimension of an event.
    pub(crate) fn of(event: &UsageEvent) -> Self {
        Self {
            org_id: event.org_id.to_string(),
            project_id: event.project_id.to_string(),
            team_id: event.team_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            user_id: event.user_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            key_id: event.key_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            model: model(event).unwrap_or_default().to_owned(),
            event_type: match event.event_type {
                EventType::ApiCall => "api_call",
                EventType::McpTool => "mcp_tool",
                EventType::Session => "session",
            },
        }
    }
}

/// The model that an event is listed and summed under: the one that served, or else the one asked for.
pub(crate) fn model(event: &UsageEvent) -> Option<&str> {
    event.model.as_deref().or(event.requested_model.as_deref())
}

/// The numbers of dimensions that are in the database.
#[derive(Debug, Default)]
pub(crate) struct DimCache(Mutex<HashMap<Dim, i64>>);

impl DimCache {
    /// The number of a dimension, if it is known here.
    pub(crate) fn get(&self, dim: &Dim) -> Option<i64> {
        self.0.lock().get(dim).copied()
    }

    /// Remembers numbers. Only to be called once their transaction is committed: one that was rolled back is given out
    /// again, to another dimension.
    pub(crate) fn remember(&self, new: HashMap<Dim, i64>) {
        let mut cache = self.0.lock();
        if cache.len().saturating_add(new.len()) > MAX_CACHED {
            cache.clear();
        }
        cache.extend(new);
    }
}

/// The number of a dimension; gives it one if it has none.
pub(crate) async fn dim_ensure(tx: &mut SqliteConnection, dim: &Dim) -> Result<i64, StoreError> {
    sqlx::query_scalar(
        "INSERT INTO usage_dims (org_id, project_id, team_id, user_id, key_id, model, event_type)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET org_id = excluded.org_id RETURNING dim_id",
    )
    .bind(&dim.org_id)
    .bind(&dim.project_id)
    .bind(&dim.team_id)
    .bind(&dim.user_id)
    .bind(&dim.key_id)
    .bind(&dim.model)
    .bind(dim.event_type)
    .fetch_one(tx)
    .await
    .doing("numbering a dimension")
}
