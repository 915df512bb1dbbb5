//! The policies that come with MindWeave: complete, driven by data, and tested by the cases beside them.

/// A policy that comes with MindWeave. An admin takes its text and gives it data of their own.
#[derive(Clone, Copy, Debug)]
pub struct BundledPolicy {
    /// By what it is asked for: `model_allow_list`.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    /// The Rego v1 module.
    pub rego: &'static str,
    /// Data to start from: a JSON object.
    pub example_data: &'static str,
    /// Its cases, as [`crate::CaseFile`] reads them.
    pub cases: &'static str,
}

macro_rules! policy {
    ($name:literal, $title:literal, $description:literal) => {
        BundledPolicy {
            name: $name,
            title: $title,
            description: $description,
            rego: include_str!(concat!("../rego/", $name, ".rego")),
            example_data: include_str!(concat!("../rego/", $name, ".json")),
            cases: include_str!(concat!("../cases/", $name, "_cases.toml")),
        }
    };
}

/// Every bundled policy, by name.
const POLICIES: &[BundledPolicy] = &[
    policy!("batch_size_cap", "Batch size cap", "How many requests a batch may hold, by role."),
    policy!("budget_soft_warning", "Budget warning", "Warns when a budget is nearly used up."),
    policy!(
        "client_version_minimum",
        "Client version minimum",
        "The oldest versions of clients that are accepted."
    ),
    policy!(
        "data_residency",
        "Data residency",
        "Where a project's prompts may be processed, and by which models."
    ),
    policy!(
        "endpoint_allow_list",
        "Endpoint allow-list",
        "Which endpoints of the API a key may call, by role."
    ),
    policy!("fast_mode_access", "Fast mode and service tiers", "Who may use the dearer ways of serving."),
    policy!("ip_allow_list", "IP allow-list", "From which networks keys may be used, by project."),
    policy!("max_tokens_cap", "max_tokens cap", "How long an answer a key may ask for, by role and model."),
    policy!("mcp_access", "MCP servers and tools", "Which MCP servers and tools a key may use, by role."),
    policy!("model_allow_list", "Model allow-list", "Which models a key may use, by role."),
    policy!("pii_refusal", "Personal data refusal", "Refuses requests that hold personal data or secrets."),
    policy!("read_only_projects", "Read-only projects", "Projects that may look but not spend."),
    policy!("required_metadata", "Required metadata", "Labels and user ids that every request must carry."),
    policy!(
        "server_tool_access",
        "Server tools",
        "Which of the API's own tools a key may offer to the model, by role."
    ),
    policy!("working_hours", "Working hours", "When keys may be used, by weekday and time zone."),
];

/// Every bundled policy, sorted by name.
pub fn bundled() -> &'static [BundledPolicy] {
    POLICIES
}

/// The bundled policy of this name.
pub fn bundled_policy(name: &str) -> Option<&'static BundledPolicy> {
    bundled().iter().find(|policy| policy.name == name)
}
