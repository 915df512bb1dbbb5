//! `/analytics/usage` and `/v1/usage/summary`.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use mindweave_metering::NanoUsd;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schema::{Interval, UsageSummary, UsageSumsRow};
use super::store::{Answer, GroupBy, UsageQuery, UsageRow, usage_query};
use crate::access::{Access, Area, Caller, Reach};
use crate::app::App;
use crate::clock;
use crate::db::StoreError;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::rollup::Level;
use crate::stored::timestamp;
use crate::usage::totals::Totals;

/// Most buckets of one answer: a week of minutes, a year of hours.
const MAX_BUCKETS: i64 = 10_080;
/// Most rows of one answer.
const MAX_ROWS: u64 = 50_000;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(usage)).routes(routes!(summary))
}

/// What it takes to look at usage.
const NEED: Access = Access::read(Area::Usage);

/// An answer: the time it covers, in whole buckets, and its rows.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = UsageSums)]
struct UsageAnswer {
    from: Timestamp,
    to: Timestamp,
    #[schema(value_type = Interval)]
    interval: &'static str,
    group_by: Vec<GroupBy>,
    #[schema(value_type = Vec<UsageSumsRow>)]
    data: Vec<Map<String, Value>>,
}

/// Sums of usage that are in your reach, one row for each bucket and group.
#[utoipa::path(
    get, path = "/analytics/usage", tag = "usage", operation_id = "usage_sums",
    params(
        ("interval" = Option<Interval>, Query, description = "The length of a bucket, `hour` by default"),
        ("group_by" = Option<String>, Query, description = "Comma-separated: `model`, `project`, `team`, `user`, `key`"),
        ("model" = Option<String>, Query, description = "Only of this model"),
        ("project_id" = Option<String>, Query, description = "Only of this project"),
        ("team_id" = Option<String>, Query, description = "Only of this team"),
        ("user_id" = Option<String>, Query, description = "Only of this user"),
        ("key_id" = Option<String>, Query, description = "Only of this key"),
        ("from" = Option<Timestamp>, Query, description = "In or after this bucket; by default an hour of minutes, a day of hours or a month of days ago"),
        ("to" = Option<Timestamp>, Query, description = "Before; now by default"),
    ),
    responses((status = 200, body = UsageAnswer)),
    extensions(("x-access" = json!("usage:read"))),
)]
async fn usage(
    State(app): State<App>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<Json<UsageAnswer>, Problem> {
    let query = read_query(&mut parameters, clock::now());
    parameters.finish()?;
    let reach = caller.reach(NEED)?;
    check_range(&query)?;
    let rows = answer(&app, &reach, &query).await?;
    let data = rows.iter().map(|row| row_json(row, &query.group_by)).collect::<Result<_, StoreError>>()?;
    Ok(Json(UsageAnswer {
        from: timestamp(query.from)?,
        to: timestamp(query.to)?,
        interval: query.interval.name(),
        group_by: query.group_by,
        data,
    }))
}

/// The total of whole UTC days, today by default, of usage that is in your reach.
#[utoipa::path(
    get, path = "/v1/usage/summary", tag = "usage", operation_id = "usage_summary",
    params(
        ("model" = Option<String>, Query, description = "Only of this model"),
        ("project_id" = Option<String>, Query, description = "Only of this project"),
        ("team_id" = Option<String>, Query, description = "Only of this team"),
        ("user_id" = Option<String>, Query, description = "Only of this user"),
        ("key_id" = Option<String>, Query, description = "Only of this key"),
        ("from" = Option<Timestamp>, Query, description = "In or after this day"),
        ("to" = Option<Timestamp>, Query, description = "Before the end of this day"),
    ),
    responses((status = 200, body = UsageSummary)),
    extensions(("x-access" = json!("usage:read"))),
)]
async fn summary(
    State(app): State<App>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let now = clock::now();
    let only = read_only(&mut parameters);
    let (from, to) = (parameters.time("from").unwrap_or(now), parameters.time("to").unwrap_or(now));
    parameters.finish()?;
    let reach = caller.reach(NEED)?;
    let day = Level::Day;
    let from = day.floor(from.as_microsecond());
    let to = day.ceil(to.as_microsecond()).max(from.saturating_add(day.micros()));
    let query = UsageQuery { interval: day, from, to, group_by: Vec::new(), only };
    check_range(&query)?;
    let mut totals = Totals::default();
    for row in answer(&app, &reach, &query).await? {
        totals.add(&row.totals);
    }
    let mut body = totals_json(&totals);
    body.insert("from".to_owned(), json!(timestamp(from)?));
    body.insert("to".to_owned(), json!(timestamp(to)?));
    Ok(Json(Value::Object(body)))
}

fn read_query(parameters: &mut Parameters, now: Timestamp) -> UsageQuery {
    let intervals = [Level::Minute, Level::Hour, Level::Day].map(|level| (level.name(), level));
    let interval = parameters.choice("interval", &intervals, Level::Hour);
    let to = parameters.time("to").unwrap_or(now).as_microsecond();
    let from = parameters
        .time("from")
        .map_or_else(|| to.saturating_sub(default_span(interval)), Timestamp::as_microsecond);
    let group_by = read_group_by(parameters);
    let only = read_only(parameters);
    // A bucket that has just begun is part of the answer when `to` is its start and `to` was not asked for.
    UsageQuery { interval, from: interval.floor(from), to: interval.ceil(to), group_by, only }
}

/// How far back an answer goes by default, in microseconds: an hour of minutes, a day of hours, a month of days.
fn default_span(interval: Level) -> i64 {
    let hours = match interval {
        Level::Minute => 1,
        Level::Hour => 24,
        Level::Day => 30 * 24,
    };
    i64::try_from(SignedDuration::from_hours(hours).as_micros()).unwrap_or(i64::MAX)
}

fn read_group_by(parameters: &mut Parameters) -> Vec<GroupBy> {
    let text = parameters.text("group_by").unwrap_or_default();
    let mut group_by = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        // `project` and `project_id` mean the same: the second is the field's name in the answer.
        let found = GroupBy::ALL.into_iter().find(|dimension| {
            let column = dimension.column();
            word == column || Some(word) == column.strip_suffix("_id")
        });
        match found {
            Some(dimension) if !group_by.contains(&dimension) => group_by.push(dimension),
            Some(_) => {}
            None => parameters
                .refuse("group_by", "must be a comma-separated list of: model, project, team, user, key"),
        }
    }
    group_by
}

fn read_only(parameters: &mut Parameters) -> Vec<(GroupBy, String)> {
    let only = GroupBy::ALL.map(|dimension| Some((dimension, parameters.text(dimension.column())?)));
    only.into_iter().flatten().collect()
}

fn check_range(query: &UsageQuery) -> Result<(), Problem> {
    if query.from >= query.to {
        return Err(Problem::new(Code::RangeTooWide, "from: must be before to"));
    }
    let buckets = query.to.saturating_sub(query.from) / query.interval.micros();
    if buckets > MAX_BUCKETS {
        let detail = format!(
            "from, to: span {buckets} buckets of one {}, at most {MAX_BUCKETS} are answered; ask for a shorter time or a longer interval",
            query.interval.name()
        );
        return Err(Problem::new(Code::RangeTooWide, detail));
    }
    Ok(())
}

async fn answer(app: &App, reach: &Reach, query: &UsageQuery) -> Result<Vec<UsageRow>, Problem> {
    match usage_query(&app.db, reach, query, MAX_ROWS.saturating_add(1)).await? {
        Answer::Rows(rows) if u64::try_from(rows.len()).is_ok_and(|rows| rows > MAX_ROWS) => {
            let detail = format!(
                "from, to, group_by: give more than {MAX_ROWS} rows; ask for less time or fewer groups"
            );
            Err(Problem::new(Code::RangeTooWide, detail))
        }
        Answer::Rows(rows) => Ok(rows),
        Answer::NotKept { from } => {
            let (name, from) = (query.interval.name(), timestamp(from)?);
            let detail = format!(
                "interval: sums by {name} are kept from {from} on; ask for a longer interval or a later from"
            );
            Err(Problem::new(Code::IntervalNotKept, detail))
        }
    }
}

fn row_json(row: &UsageRow, group_by: &[GroupBy]) -> Result<Map<String, Value>, StoreError> {
    let mut json = totals_json(&row.totals);
    json.insert("bucket".to_owned(), json!(timestamp(row.bucket)?));
    for dimension in group_by {
        let value = match dimension {
            GroupBy::Model => &row.model,
            GroupBy::Project => &row.project_id,
            GroupBy::Team => &row.team_id,
            GroupBy::User => &row.user_id,
            GroupBy::Key => &row.key_id,
        };
        let value = if value.is_empty() { Value::Null } else { Value::from(value.as_str()) };
        json.insert(dimension.column().to_owned(), value);
    }
    Ok(json)
}

/// Every sum by its column's name, and the cost in dollars beside it.
fn totals_json(totals: &Totals) -> Map<String, Value> {
    let figures = Totals::COLUMNS.iter().zip(totals.values());
    let mut json: Map<_, _> = figures.map(|(name, value)| ((*name).to_owned(), Value::from(value))).collect();
    json.insert("cost_usd".to_owned(), Value::from(NanoUsd(totals.cost_nano_usd).to_string()));
    json
}
