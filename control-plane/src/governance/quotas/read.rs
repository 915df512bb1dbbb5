//! Reads a budget from a request's fields.

use crate::db::Connection;
use mindweave_metering::{OrgId, QuotaId};
use mindweave_policy::{OnError, OnStale, QuotaAction, QuotaSpec, QuotaUnit, QuotaWindow, Reserve};

use super::money::nano_of;
use crate::governance::models::models_read;
use crate::governance::schema::{
    ModelWord, OnErrorWord, OnStaleWord, QuotaActionWord, QuotaUnitWord, QuotaWindowWord, ReserveWord, Scope,
    ThresholdWord,
};
use crate::governance::scope::{Scopes, scope_read};
use crate::http::body::{Fields, whole};
use crate::http::problem::Problem;

/// Greatest limit: a thousand million dollars, or as many tokens as that is nano-dollars. Sums of that size fit 64 bits.
const MAX_LIMIT: i64 = 1_000_000_000_000_000_000;
/// Most thresholds of a budget.
const MAX_THRESHOLDS: usize = 10;
/// Greatest threshold, in percent: a budget that only warns may go over its limit.
const MAX_THRESHOLD: i64 = 200;
/// What is worth telling when nobody says.
const DEFAULT_THRESHOLDS: [u8; 3] = [50, 80, 100];

const UNITS: [(&str, QuotaUnit); 3] =
    [("requests", QuotaUnit::Requests), ("tokens", QuotaUnit::Tokens), ("cost", QuotaUnit::Cost)];
const WINDOWS: [(&str, QuotaWindow); 5] = [
    ("minute", QuotaWindow::Minute),
    ("hour", QuotaWindow::Hour),
    ("day", QuotaWindow::Day),
    ("week", QuotaWindow::Week),
    ("month", QuotaWindow::Month),
];
const ACTIONS: [(&str, QuotaAction); 2] = [("block", QuotaAction::Block), ("warn", QuotaAction::Warn)];
const RESERVES: [(&str, Reserve); 2] = [("max", Reserve::Max), ("expected", Reserve::Expected)];
const ON_UNKNOWN_PRICE: [(&str, OnError); 2] = [("deny", OnError::Deny), ("allow", OnError::Allow)];
const ON_STALE: [(&str, OnStale); 3] =
    [("open", OnStale::Open), ("closed", OnStale::Closed), ("capped", OnStale::Capped)];

/// A new budget. One of `limit` and `limit_usd` is required.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `read_quota` reads")]
pub(super) struct NewBudget {
    /// Whose; can be left out by who belongs to one organisation.
    #[schema(min_length = 1, max_length = 200)]
    org_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    scope: Option<Scope>,
    unit: QuotaUnitWord,
    window: QuotaWindowWord,
    /// Requests, tokens or nano-dollars.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_000_u64, required = false)]
    limit: i64,
    /// For the unit `cost`: a decimal above 0 with at most nine places, for example `49.99`.
    #[schema(pattern = r"^[0-9]{1,10}(\.[0-9]{1,9})?$", required = false)]
    limit_usd: String,
    action: Option<QuotaActionWord>,
    reserve: Option<ReserveWord>,
    #[schema(max_items = 64)]
    models: Option<Vec<ModelWord>>,
    /// Whole percentages from 1 to 200.
    #[schema(max_items = 10)]
    thresholds: Option<Vec<ThresholdWord>>,
    on_unknown_price: Option<OnErrorWord>,
    on_stale: Option<OnStaleWord>,
}

/// What can be changed of a budget. What is not given stays, `null` stands for the default. A new `unit` needs a new limit.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `read_quota` reads")]
pub(super) struct BudgetChange {
    #[schema(min_length = 1, max_length = 200, required = false)]
    name: String,
    scope: Option<Scope>,
    #[schema(required = false)]
    unit: QuotaUnitWord,
    #[schema(required = false)]
    window: QuotaWindowWord,
    /// Requests, tokens or nano-dollars.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_000_u64, required = false)]
    limit: i64,
    /// For the unit `cost`: a decimal above 0 with at most nine places, for example `49.99`.
    #[schema(pattern = r"^[0-9]{1,10}(\.[0-9]{1,9})?$", required = false)]
    limit_usd: String,
    action: Option<QuotaActionWord>,
    reserve: Option<ReserveWord>,
    #[schema(max_items = 64)]
    models: Option<Vec<ModelWord>>,
    /// Whole percentages from 1 to 200.
    #[schema(max_items = 10)]
    thresholds: Option<Vec<ThresholdWord>>,
    on_unknown_price: Option<OnErrorWord>,
    on_stale: Option<OnStaleWord>,
}

/// What the client says about a budget of this organisation. In a change, what is not given stays, and `null` stands for the default.
pub(super) async fn read_quota(
    tx: &mut Connection,
    org_id: &str,
    mut fields: Fields,
    id: QuotaId,
    before: Option<&QuotaSpec>,
) -> Result<QuotaSpec, Problem> {
    let fields = &mut fields;
    let name = match before {
        Some(before) if !fields.given("name") => before.name.clone(),
        _ => fields.required_text("name").into(),
    };
    let scope = scope_read(tx, org_id, fields, Scopes::Counted, before.map(|before| &before.scope)).await?;
    let unit = required(fields, "unit", &UNITS, before.map(|before| before.unit), QuotaUnit::Requests);
    let window = required(fields, "window", &WINDOWS, before.map(|before| before.window), QuotaWindow::Day);
    let limit = read_limit(fields, unit, before);
    let spec = QuotaSpec {
        id,
        org_id: OrgId::new(org_id),
        name,
        scope,
        unit,
        window,
        limit,
        models: models_read(fields, before.map(|before| before.models.as_slice())),
        action: optional(fields, "action", &ACTIONS, before.map(|before| before.action)),
        reserve: optional(fields, "reserve", &RESERVES, before.map(|before| before.reserve)),
        thresholds: read_thresholds(fields, before),
        on_unknown_price: optional(
            fields,
            "on_unknown_price",
            &ON_UNKNOWN_PRICE,
            before.map(|before| before.on_unknown_price),
        ),
        on_stale: optional(fields, "on_stale", &ON_STALE, before.map(|before| before.on_stale)),
    };
    std::mem::take(fields).finish()?;
    Ok(spec)
}

fn required<T: Copy>(
    fields: &mut Fields,
    name: &'static str,
    choices: &[(&str, T)],
    before: Option<T>,
    refused: T,
) -> T {
    match before {
        Some(before) if !fields.given(name) => before,
        _ => fields.choice(name, choices).unwrap_or_else(|| {
            fields.require_if_absent(name);
            refused
        }),
    }
}

fn optional<T: Copy + Default>(
    fields: &mut Fields,
    name: &'static str,
    choices: &[(&str, T)],
    before: Option<T>,
) -> T {
    match before {
        Some(before) if !fields.given(name) => before,
        _ => fields.choice(name, choices).unwrap_or_default(),
    }
}

/// The limit, from one of its two fields.
fn read_limit(fields: &mut Fields, unit: QuotaUnit, before: Option<&QuotaSpec>) -> i64 {
    let (plain, usd) = (fields.given("limit"), fields.given("limit_usd"));
    match (plain, usd, before) {
        (true, true, _) => {
            // Both are taken out, so that neither is called unknown besides.
            let _given = (fields.any("limit"), fields.any("limit_usd"));
            fields.refuse("limit_usd", "says the same as limit; give one of them");
        }
        (false, true, _) if unit == QuotaUnit::Cost => return read_usd(fields),
        (false, true, _) => {
            let _given = fields.any("limit_usd");
            fields.refuse("limit_usd", "is for budgets of the unit cost; give limit");
        }
        (false, false, Some(before)) if before.unit == unit => return before.limit,
        (false, false, Some(_)) => fields.refuse("unit", "changes what limit means; give limit as well"),
        (true, false, _) | (false, false, None) => {
            let limit = fields.number("limit", 1..=MAX_LIMIT);
            if limit.is_none() {
                fields.require_if_absent("limit");
            }
            return limit.unwrap_or(1);
        }
    }
    1
}

fn read_usd(fields: &mut Fields) -> i64 {
    // A whole number is exact in JSON, a fraction is not: those are texts.
    let text = match fields.any("limit_usd") {
        Some(serde_json::Value::String(text)) => Some(text),
        Some(serde_json::Value::Number(number)) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    };
    let nano = text.and_then(|text| nano_of(&text)).filter(|nano| (1..=MAX_LIMIT).contains(nano));
    nano.unwrap_or_else(|| {
        let message = "must be a text with a decimal above 0, at most nine places and at most 1000000000, for example \"49.99\"";
        fields.refuse("limit_usd", message);
        1
    })
}

fn read_thresholds(fields: &mut Fields, before: Option<&QuotaSpec>) -> Vec<u8> {
    if let Some(before) = before.filter(|_| !fields.given("thresholds")) {
        return before.thresholds.clone();
    }
    let Some(values) = fields.list("thresholds", MAX_THRESHOLDS) else { return DEFAULT_THRESHOLDS.to_vec() };
    let percent = |value: serde_json::Value| {
        let number = whole(&value).filter(|number| (1..=MAX_THRESHOLD).contains(number))?;
        u8::try_from(number).ok()
    };
    let Some(mut thresholds) = values.into_iter().map(percent).collect::<Option<Vec<u8>>>() else {
        fields.refuse("thresholds", &format!("entries must be whole percentages from 1 to {MAX_THRESHOLD}"));
        return Vec::new();
    };
    thresholds.sort_unstable();
    thresholds.dedup();
    thresholds
}
