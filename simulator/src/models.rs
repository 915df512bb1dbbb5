//! The models of the simulated service.

/// A model as `/v1/models` lists it.
pub(crate) struct Model {
    pub(crate) id: &'static str,
    /// Shorter names that requests may use.
    pub(crate) alias: Option<&'static str>,
    pub(crate) name: &'static str,
    pub(crate) line: &'static str,
    pub(crate) created: &'static str,
    pub(crate) max_input_tokens: u64,
    pub(crate) max_tokens: u64,
}

const fn model(
    id: &'static str,
    alias: Option<&'static str>,
    name: &'static str,
    line: &'static str,
    created: &'static str,
    max_input_tokens: u64,
) -> Model {
    Model { id, alias, name, line, created, max_input_tokens, max_tokens: 128_000 }
}

/// Newest first, as the service lists them.
pub(crate) const MODELS: &[Model] = &[
    model("claude-fable-5-2", None, "Claude Fable 5.2", "fable", "2026-11-09", 1_000_000),
    model("claude-haiku-5-5", None, "Claude Haiku 5.5", "haiku", "2026-10-07", 1_000_000),
    model("claude-sonnet-5-5", None, "Claude Sonnet 5.5", "sonnet", "2026-09-28", 1_000_000),
    model("claude-opus-5-5", None, "Claude Opus 5.5", "opus", "2026-09-22", 1_000_000),
    model("claude-fable-5-1", None, "Claude Fable 5.1", "fable", "2026-09-01", 1_000_000),
    model("claude-opus-5", None, "Claude Opus 5", "opus", "2026-07-24", 1_000_000),
    model("claude-sonnet-5", None, "Claude Sonnet 5", "sonnet", "2026-06-29", 1_000_000),
    model("claude-fable-5", None, "Claude Fable 5", "fable", "2026-06-09", 1_000_000),
    model("claude-opus-4-8", None, "Claude Opus 4.8", "opus", "2026-05-28", 1_000_000),
    model("claude-opus-4-7", None, "Claude Opus 4.7", "opus", "2026-04-16", 1_000_000),
    model("claude-sonnet-4-6", None, "Claude Sonnet 4.6", "sonnet", "2026-02-17", 1_000_000),
    model("claude-opus-4-6", None, "Claude Opus 4.6", "opus", "2026-02-05", 1_000_000),
    model(
        "claude-opus-4-5-20251101",
        Some("claude-opus-4-5"),
        "Claude Opus 4.5",
        "opus",
        "2025-11-24",
        200_000,
    ),
    model(
        "claude-haiku-4-5-20251001",
        Some("claude-haiku-4-5"),
        "Claude Haiku 4.5",
        "haiku",
        "2025-10-15",
        200_000,
    ),
    model(
        "claude-sonnet-4-5-20250929",
        Some("claude-sonnet-4-5"),
        "Claude Sonnet 4.5",
        "sonnet",
        "2025-09-29",
        200_000,
    ),
];

/// The model of this id or alias.
pub(crate) fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == name || model.alias == Some(name))
}

/// Whether a request may name this model. Unlisted Claude models are served too: tests need unknown prices.
pub(crate) fn is_served(name: &str) -> bool {
    name.starts_with("claude-")
}

/// The id that an answer names for the requested model: aliases become dated ids.
pub(crate) fn served_id(name: &str) -> &str {
    find(name).map_or(name, |model| model.id)
}

/// Whether a model is older than generation 4.6: it reports no geography, and thinking tokens only if it thought.
pub(crate) fn is_before_4_6(id: &str) -> bool {
    let older = [
        "claude-2",
        "claude-3",
        "claude-instant",
        "claude-opus-4-5",
        "claude-haiku-4-5",
        "claude-sonnet-4-5",
    ];
    let dated_four = id.starts_with("claude-") && id.contains("-4-2025");
    dated_four || older.iter().any(|prefix| id.starts_with(prefix))
}

/// The geography that answers of this model report.
pub(crate) fn default_geo(id: &str) -> &'static str {
    if is_before_4_6(id) { "not_available" } else { "global" }
}
