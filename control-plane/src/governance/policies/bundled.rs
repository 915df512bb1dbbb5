//! `/governance/policies/bundled` and `/governance/policies/bundled/{name}`: policies to start from.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use mindweave_policy::{BundledPolicy, bundled, bundled_policy};
use serde::Serialize;
use serde_json::Value;

use crate::app::App;
use crate::http::Page;
use crate::http::problem::Problem;
use crate::http::query::Parameters;

/// The routes of this file.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/governance/policies/bundled", get(bundled_list))
        .route("/governance/policies/bundled/{name}", get(bundled_view))
}

/// A bundled policy in a list.
#[derive(Serialize)]
struct Summary {
    name: &'static str,
    title: &'static str,
    description: &'static str,
}

/// A bundled policy with its text.
#[derive(Serialize)]
struct Template {
    #[serde(flatten)]
    summary: Summary,
    rego: &'static str,
    /// Data to start from.
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

/// All of them on one page: there are few, and they are compiled in.
async fn bundled_list(query: Parameters) -> Result<Json<Page<Summary>>, Problem> {
    query.finish()?;
    Ok(Json(Page { data: bundled().iter().map(Summary::from).collect(), next_cursor: None }))
}

async fn bundled_view(Path(name): Path<String>) -> Result<Json<Template>, Problem> {
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
