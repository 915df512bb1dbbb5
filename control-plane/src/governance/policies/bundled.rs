//! `/governance/policies/bundled` and `/governance/policies/bundled/{name}`: policies to start from.

use axum::Json;
use axum::extract::Path;
use mindweave_policy::{BundledPolicy, bundled, bundled_policy};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Caller;
use crate::app::App;
use crate::governance::permit::READ;
use crate::http::Page;
use crate::http::problem::Problem;
use crate::http::query::Parameters;

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(bundled_list)).routes(routes!(bundled_view))
}

/// A bundled policy in a list.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = BundledPolicySummary)]
struct Summary {
    name: &'static str,
    title: &'static str,
    description: &'static str,
}

/// A bundled policy with its text.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = BundledPolicy)]
struct Template {
    #[serde(flatten)]
    summary: Summary,
    rego: &'static str,
    /// Data to start from.
    #[schema(value_type = Object)]
    example_data: Value,
}

impl From<&BundledPolicy> for Summary {
    fn from(policy: &BundledPolicy) -> Self {
        Self { name: policy.name, title: policy.title, description: policy.description }
    }
}

/// The example data of a bundled policy.
pub(super) fn example_data(policy: &BundledPolicy) -> Value {
    // A test holds every example to be an object.
    serde_json::from_str(policy.example_data).unwrap_or_else(|_| Value::Object(serde_json::Map::new()))
}

/// Policies to start from, all on one page: there are few, and they are compiled in.
#[utoipa::path(
    get, path = "/governance/policies/bundled", tag = "governance", operation_id = "bundled_policy_list",
    responses((status = 200, body = Page<Summary>)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn bundled_list(caller: Caller, query: Parameters) -> Result<Json<Page<Summary>>, Problem> {
    query.finish()?;
    caller.reach(READ)?;
    Ok(Json(Page { data: bundled().iter().map(Summary::from).collect(), next_cursor: None }))
}

/// A policy to start from, with its text.
#[utoipa::path(
    get, path = "/governance/policies/bundled/{name}", tag = "governance", operation_id = "bundled_policy_view",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = Template)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn bundled_view(caller: Caller, Path(name): Path<String>) -> Result<Json<Template>, Problem> {
    caller.reach(READ)?;
    let policy = bundled_policy(&name).ok_or_else(|| Problem::not_found("bundled policy", &name))?;
    let example_data = example_data(policy);
    Ok(Json(Template { summary: policy.into(), rego: policy.rego, example_data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_data_of_every_bundled_policy_is_an_object() {
        for policy in bundled() {
            let data: Value = serde_json::from_str(policy.example_data).unwrap();
            assert!(data.is_object(), "{}", policy.name);
        }
    }
}
