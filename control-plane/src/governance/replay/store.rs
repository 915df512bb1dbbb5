//! All SQL of replays.

use jiff::Timestamp;
use mindweave_metering::UsageEvent;
use sqlx::FromRow;

use crate::db::{Connection, Doing, StoreError, sql::QueryBuilder};
use crate::governance::stored_specs::parse;
use crate::usage::Within;

/// Which events are replayed.
#[derive(Clone, Debug)]
pub(super) struct Span {
    /// At or after.
    pub(super) from: Timestamp,
    /// Before.
    pub(super) to: Timestamp,
    pub(super) project_id: Option<String>,
}

/// A place among them: behind the event with this time and order of arrival.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    ended_at: i64,
    landed: i64,
}

#[derive(FromRow)]
struct PastRow {
    landed: i64,
    ended_at: i64,
    event: String,
}

/// At most `limit` requests behind a place, newest first, and the place of the last.
pub(super) async fn requests_list(
    tx: &mut Connection,
    within: &Within,
    span: &Span,
    after: Option<Place>,
    limit: usize,
) -> Result<(Vec<UsageEvent>, Option<Place>), StoreError> {
    let matching = |sql: &mut QueryBuilder| {
        sql.push(
            "SELECT landed, ended_at, event FROM usage_events WHERE event_type = 'api_call' AND ended_at >= ",
        );
        sql.push_bind(span.from.as_microsecond());
        sql.push(" AND ended_at < ").push_bind(span.to.as_microsecond());
        if let Some(Place { ended_at, landed }) = after {
            sql.push(" AND (ended_at, landed) < (");
            sql.push_bind(ended_at).push(", ").push_bind(landed).push(")");
        }
    };
    let sql = within.select(matching, " ORDER BY ended_at DESC, landed DESC", limit);
    let rows: Vec<PastRow> = sql.build_query_as().fetch_all(tx).await.doing("reading events for a replay")?;
    let place = rows.last().map(|row| Place { ended_at: row.ended_at, landed: row.landed });
    let events = rows.iter().map(|row| parse(&row.event, "an event")).collect::<Result<_, _>>()?;
    Ok((events, place))
}
