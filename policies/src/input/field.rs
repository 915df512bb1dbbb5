//! The fields of `input`, and sets of them.

/// A field of `input`: the smallest part of it that is told apart. What lies deeper (the third tool's name) counts as the
/// whole field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Field {
    OrgId,
    OrgName,
    ProjectId,
    ProjectName,
    TeamId,
    UserId,
    KeyId,
    Roles,
    Labels,
    Credential,
    Method,
    Path,
    Endpoint,
    Kind,
    Bytes,
    Betas,
    ClientIp,
    UserAgent,
    SessionId,
    AgentId,
    ParentAgentId,
    Model,
    Models,
    Stream,
    MaxTokens,
    MaxTokensSum,
    EstimatedInputTokens,
    CacheWrite,
    MetadataUserId,
    Tools,
    McpTools,
    McpServers,
    MessageCount,
    ServiceTier,
    ServiceTiers,
    Speed,
    Speeds,
    InferenceGeo,
    InferenceGeos,
    HasContainer,
    HasContextManagement,
    HasDefaultFallback,
    BatchRequests,
    Truncated,
    Pii,
    Usage,
    NowNs,
    MinuteNs,
    HourNs,
    DayNs,
    TimeZone,
    Rfc3339,
    Date,
    Year,
    Month,
    Day,
    Weekday,
    Hour,
    Minute,
}

impl Field {
    /// Every field with the names that lead to it. Fields of one object stand together.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 59] = [
        (Self::OrgId, "principal", "org_id"),
        (Self::OrgName, "principal", "org_name"),
        (Self::ProjectId, "principal", "project_id"),
        (Self::ProjectName, "principal", "project_name"),
        (Self::TeamId, "principal", "team_id"),
        (Self::UserId, "principal", "user_id"),
        (Self::KeyId, "principal", "key_id"),
        (Self::Roles, "principal", "roles"),
        (Self::Labels, "principal", "labels"),
        (Self::Credential, "principal", "credential"),
        (Self::Method, "request", "method"),
        (Self::Path, "request", "path"),
        (Self::Endpoint, "request", "endpoint"),
        (Self::Kind, "request", "kind"),
        (Self::Bytes, "request", "bytes"),
        (Self::Betas, "request", "betas"),
        (Self::ClientIp, "request", "client_ip"),
        (Self::UserAgent, "request", "user_agent"),
        (Self::SessionId, "request", "session_id"),
        (Self::AgentId, "request", "agent_id"),
        (Self::ParentAgentId, "request", "parent_agent_id"),
        (Self::Model, "request", "model"),
        (Self::Models, "request", "models"),
        (Self::Stream, "request", "stream"),
        (Self::MaxTokens, "request", "max_tokens"),
        (Self::MaxTokensSum, "request", "max_tokens_sum"),
        (Self::EstimatedInputTokens, "request", "estimated_input_tokens"),
        (Self::CacheWrite, "request", "cache_write"),
        (Self::MetadataUserId, "request", "metadata_user_id"),
        (Self::Tools, "request", "tools"),
        (Self::McpTools, "request", "mcp_tools"),
        (Self::McpServers, "request", "mcp_servers"),
        (Self::MessageCount, "request", "message_count"),
        (Self::ServiceTier, "request", "service_tier"),
        (Self::ServiceTiers, "request", "service_tiers"),
        (Self::Speed, "request", "speed"),
        (Self::Speeds, "request", "speeds"),
        (Self::InferenceGeo, "request", "inference_geo"),
        (Self::InferenceGeos, "request", "inference_geos"),
        (Self::HasContainer, "request", "has_container"),
        (Self::HasContextManagement, "request", "has_context_management"),
        (Self::HasDefaultFallback, "request", "has_default_fallback"),
        (Self::BatchRequests, "request", "batch_requests"),
        (Self::Truncated, "request", "truncated"),
        (Self::Pii, "request", "pii"),
        // An object of its own; it has no second name.
        (Self::Usage, "usage", ""),
        (Self::NowNs, "time", "now_ns"),
        (Self::MinuteNs, "time", "minute_ns"),
        (Self::HourNs, "time", "hour_ns"),
        (Self::DayNs, "time", "day_ns"),
        (Self::TimeZone, "time", "time_zone"),
        (Self::Rfc3339, "time", "rfc3339"),
        (Self::Date, "time", "date"),
        (Self::Year, "time", "year"),
        (Self::Month, "time", "month"),
        (Self::Day, "time", "day"),
        (Self::Weekday, "time", "weekday"),
        (Self::Hour, "time", "hour"),
        (Self::Minute, "time", "minute"),
    ];

    /// Its bit in a [`FieldSet`].
    #[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum; no other way in const")]
    const fn bit(self) -> u64 {
        1 << (self as u8)
    }

    /// The dotted path, without `input.`.
    pub(crate) fn path(group: &str, name: &str) -> String {
        if name.is_empty() { group.to_owned() } else { format!("{group}.{name}") }
    }
}

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct FieldSet(u64);

/// What the body tells.
const BODY: FieldSet = FieldSet::of(&[
    Field::Model,
    Field::Models,
    Field::Stream,
    Field::MaxTokens,
    Field::MaxTokensSum,
    Field::EstimatedInputTokens,
    Field::CacheWrite,
    Field::MetadataUserId,
    Field::Tools,
    Field::McpTools,
    Field::McpServers,
    Field::MessageCount,
    Field::ServiceTier,
    Field::ServiceTiers,
    Field::Speed,
    Field::Speeds,
    Field::InferenceGeo,
    Field::InferenceGeos,
    Field::HasContainer,
    Field::HasContextManagement,
    Field::HasDefaultFallback,
    Field::BatchRequests,
    Field::Truncated,
    Field::Pii,
]);

/// What needs the organisation's time zone.
const ZONED: FieldSet = FieldSet::of(&[
    Field::DayNs,
    Field::Rfc3339,
    Field::Date,
    Field::Year,
    Field::Month,
    Field::Day,
    Field::Weekday,
    Field::Hour,
    Field::Minute,
]);

/// What is different for every request: nothing that reads it is worth remembering.
const UNIQUE: FieldSet = FieldSet::of(&[Field::NowNs, Field::Rfc3339]);

impl FieldSet {
    /// No field.
    pub(crate) const EMPTY: Self = Self(0);

    const fn of(fields: &[Field]) -> Self {
        let mut bits = 0;
        let mut rest = fields;
        while let [first, others @ ..] = rest {
            bits |= first.bit();
            rest = others;
        }
        Self(bits)
    }

    /// Every field.
    pub(crate) fn all() -> Self {
        Field::ALL.iter().fold(Self::EMPTY, |set, (field, _, _)| set.with(*field))
    }

    /// The fields below a path of names, as far as names are known: all of `input` for none, every field of an object for
    /// one. `None` when there is no such field.
    pub(crate) fn below(path: &[impl AsRef<str>]) -> Option<Self> {
        let mut names = path.iter().map(AsRef::as_ref);
        let Some(group) = names.next() else { return Some(Self::all()) };
        let name = names.next();
        let set = Field::ALL
            .iter()
            .filter(|(_, of, own)| *of == group && (own.is_empty() || name.is_none_or(|name| name == *own)));
        let set = set.fold(Self::EMPTY, |set, (field, _, _)| set.with(*field));
        (set != Self::EMPTY).then_some(set)
    }

    /// With a field more.
    pub(crate) const fn with(self, field: Field) -> Self {
        Self(self.0 | field.bit())
    }

    /// Both together.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the field is one of them.
    pub(crate) const fn has(self, field: Field) -> bool {
        self.0 & field.bit() != 0
    }

    /// Whether any of the others is one of them.
    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether something in it comes from the body.
    pub(crate) const fn reads_body(self) -> bool {
        self.meets(BODY)
    }

    /// Whether something in it needs the time zone.
    pub(crate) const fn reads_zoned_time(self) -> bool {
        self.meets(ZONED)
    }

    /// Whether something in it differs for every request.
    pub(crate) const fn is_unique(self) -> bool {
        self.meets(UNIQUE)
    }

    /// The paths, sorted; `*` for all.
    pub(crate) fn paths(self) -> Vec<String> {
        if self == Self::all() {
            return vec!["*".to_owned()];
        }
        let mut paths: Vec<String> = Field::ALL
            .iter()
            .filter(|(field, _, _)| self.has(*field))
            .map(|(_, group, name)| Field::path(group, name))
            .collect();
        paths.sort();
        paths
    }
}
