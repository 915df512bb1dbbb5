//! What events keep of the input of policies, and what they do not.

use serde::Serialize;

/// Input paths of which events hold nothing: policies see `null`, an empty list, or `false` there.
const NOT_RECORDED: [&str; 19] = [
    "request.batch_requests",
    "request.cache_write",
    "request.has_container",
    "request.has_context_management",
    "request.has_default_fallback",
    "request.inference_geos",
    "request.max_tokens_sum",
    "request.mcp_tools",
    "request.metadata_user_id",
    "request.models",
    "request.path",
    "request.pii",
    "request.service_tier",
    "request.service_tiers",
    "request.speed",
    "request.speeds",
    "request.tools",
    "request.truncated",
    "usage",
];

/// Input paths that are told from something else than the event.
const APPROXIMATED: [(&str, &str); 5] = [
    (
        "principal.credential",
        "taken for a virtual key where the event has a key, else for a registered credential",
    ),
    ("principal.org_name", "as it is now"),
    ("principal.project_name", "as it is now"),
    ("principal.roles", "those that the key has now; none for other credentials"),
    ("request.mcp_servers", "names only; host and url are not kept"),
];

/// Stands for every path.
const ALL: &str = "*";

/// A path that is told from something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ApproximatedPath)]
pub(super) struct Approximated {
    #[schema(value_type = String)]
    path: &'static str,
    #[schema(value_type = String)]
    how: &'static str,
}

/// The paths among these of which events hold nothing.
pub(super) fn not_recorded(reads: &[String]) -> Vec<&'static str> {
    NOT_RECORDED.into_iter().filter(|path| is_read(reads, path)).collect()
}

/// The paths among these that are told from something else.
pub(super) fn approximated(reads: &[String]) -> Vec<Approximated> {
    let read = APPROXIMATED.into_iter().filter(|(path, _)| is_read(reads, path));
    read.map(|(path, how)| Approximated { path, how }).collect()
}

/// Whether a path is read: itself, something in it, or something that holds it.
fn is_read(reads: &[String], path: &str) -> bool {
    let inside = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    reads.iter().any(|read| read == ALL || inside(read, path) || inside(path, read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_counts_as_read_when_a_part_of_it_or_a_whole_around_it_is() {
        let reads = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        assert_eq!(not_recorded(&reads(&["request.model", "time.hour"])), [""; 0]);
        assert_eq!(not_recorded(&reads(&["request.tools", "usage.monthly"])), ["request.tools", "usage"]);
        assert_eq!(not_recorded(&reads(&["request"])).len(), NOT_RECORDED.len() - 1);
        assert_eq!(not_recorded(&reads(&["*"])).len(), NOT_RECORDED.len());
        assert_eq!(approximated(&reads(&["principal.roles"]))[0].path, "principal.roles");
    }
}
