//! Typed facts as Rego values.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use mindweave_metering::{CacheTtl, RequestFacts, RequestedTool};
use regorus::Value;

use super::field::{Field, FieldSet};
use super::server::ServerAddress;
use super::time::Moment;
use crate::facts::{BudgetUsage, PolicyInput};
use crate::governance::QuotaWindow;

/// How client-side tools of MCP servers are named: `mcp__server__tool`.
const MCP_TOOL_PREFIX: &str = "mcp__";
/// Between server and tool.
const MCP_TOOL_SEPARATOR: &str = "__";

/// The names of the fields, made once: a value that is cloned from here costs no allocation.
static NAMES: LazyLock<Vec<(Field, Value, Value)>> = LazyLock::new(|| {
    Field::ALL.iter().map(|(field, group, name)| (*field, Value::from(*group), Value::from(*name))).collect()
});

/// The objects that fields are in: they are always there.
static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let mut objects: Vec<Value> = Vec::new();
    for (field, group, _) in NAMES.iter() {
        if *field != Field::Usage && !objects.contains(group) {
            objects.push(group.clone());
        }
    }
    objects
});

/// `input` with these fields; what a program does not read need not be there.
pub(crate) fn document(input: &PolicyInput<'_>, moment: &Moment, reads: FieldSet) -> Value {
    let mut read = NAMES.iter().filter(|(field, _, _)| reads.has(*field)).peekable();
    let mut groups: BTreeMap<Value, Value> = BTreeMap::new();
    for object in OBJECTS.iter() {
        let mut fields: BTreeMap<Value, Value> = BTreeMap::new();
        // Fields of one object stand together, in the order of the objects, with `usage` by itself between two of them.
        while let Some((field, _, name)) =
            read.next_if(|(field, group, _)| group == object || *field == Field::Usage)
        {
            if *field == Field::Usage {
                groups.insert(Value::from("usage"), usage_value(input.usage));
            } else {
                fields.insert(name.clone(), field_value(input, moment, *field));
            }
        }
        groups.insert(object.clone(), Value::from(fields));
    }
    Value::from(groups)
}

/// All of `input` as JSON.
pub(crate) fn document_json(input: &PolicyInput<'_>) -> serde_json::Value {
    let moment = Moment::new(input.now, Some(input.time_zone));
    serde_json::to_value(document(input, &moment, FieldSet::all())).unwrap_or_default()
}

fn text(value: Option<&str>) -> Value {
    value.map_or(Value::Null, Value::from)
}

fn number(value: Option<u64>) -> Value {
    value.map_or(Value::Null, Value::from)
}

fn texts<T: AsRef<str>>(values: &[T]) -> Value {
    Value::from(values.iter().map(|value| Value::from(value.as_ref())).collect::<Vec<_>>())
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::from(
        fields.into_iter().map(|(name, value)| (Value::from(name), value)).collect::<BTreeMap<_, _>>(),
    )
}

fn field_value(input: &PolicyInput<'_>, moment: &Moment, field: Field) -> Value {
    let principal = input.principal.principal;
    let request = &input.request;
    match field {
        Field::OrgId => Value::from(principal.org_id.as_str()),
        Field::OrgName => Value::from(input.principal.org_name),
        Field::ProjectId => Value::from(principal.project_id.as_str()),
        Field::ProjectName => Value::from(input.principal.project_name),
        Field::TeamId => text(principal.team_id.as_ref().map(|id| id.as_str())),
        Field::UserId => text(principal.user_id.as_ref().map(|id| id.as_str())),
        Field::KeyId => text(principal.key_id.as_ref().map(|id| id.as_str())),
        Field::Roles => texts(&principal.roles),
        Field::Labels => Value::from(
            principal
                .labels
                .iter()
                .map(|(name, value)| (Value::from(&**name), Value::from(&**value)))
                .collect::<BTreeMap<_, _>>(),
        ),
        Field::Credential => Value::from(input.principal.credential.as_str()),
        Field::Method => Value::from(request.method),
        Field::Path => Value::from(request.path),
        Field::Endpoint => Value::from(request.endpoint),
        Field::Kind => Value::from(request.kind),
        Field::Bytes => number(request.bytes),
        Field::Betas => texts(request.betas),
        Field::ClientIp => ip_value(request.client_ip),
        Field::UserAgent => text(request.user_agent),
        Field::SessionId => text(request.session_id),
        Field::AgentId => text(request.agent_id),
        Field::ParentAgentId => text(request.parent_agent_id),
        Field::Pii => request.pii.map_or(Value::Null, texts),
        Field::Usage => usage_value(input.usage),
        _ => time_value(input, moment, field).unwrap_or_else(|| body_value(request.facts, field)),
    }
}

/// An IPv4 address that came in as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address that admins write in their lists.
fn ip_value(address: IpAddr) -> Value {
    Value::from(address.to_canonical().to_string())
}

fn time_value(input: &PolicyInput<'_>, moment: &Moment, field: Field) -> Option<Value> {
    Some(match field {
        Field::NowNs => Value::from(moment.now_ns()),
        Field::MinuteNs => Value::from(moment.minute_ns()),
        Field::HourNs => Value::from(moment.hour_ns()),
        Field::DayNs => Value::from(moment.day_ns()),
        Field::TimeZone => Value::from(input.time_zone),
        Field::Rfc3339 => Value::from(moment.rfc3339()),
        Field::Date => Value::from(moment.date()),
        Field::Year => Value::from(moment.year()),
        Field::Month => Value::from(moment.month()),
        Field::Day => Value::from(moment.day()),
        Field::Weekday => Value::from(moment.weekday()),
        Field::Hour => Value::from(moment.hour()),
        Field::Minute => Value::from(moment.minute()),
        _ => return None,
    })
}

/// What the body asks for. Where bodies are not read, texts and numbers are `null`, lists empty, flags false.
fn body_value(facts: Option<&RequestFacts>, field: Field) -> Value {
    static NOTHING: LazyLock<RequestFacts> = LazyLock::new(RequestFacts::default);
    let unread = facts.is_none();
    let facts = facts.unwrap_or(&NOTHING);
    match field {
        Field::Model => text(facts.model.as_deref()),
        Field::Models => texts(&facts.models),
        Field::Stream => Value::from(facts.stream),
        Field::MaxTokens => number(facts.max_tokens),
        Field::MaxTokensSum => number(facts.max_tokens_sum),
        Field::EstimatedInputTokens => number(facts.estimated_input_tokens),
        Field::CacheWrite => text(facts.cache_write.map(cache_write_label)),
        Field::MetadataUserId => text(facts.user_id.as_deref()),
        Field::Tools => Value::from(facts.tools.iter().map(tool_value).collect::<Vec<_>>()),
        Field::McpTools => {
            let names = facts.tools.iter().filter_map(|tool| tool.name.as_deref());
            Value::from(names.filter_map(mcp_tool).map(mcp_tool_value).collect::<Vec<_>>())
        }
        Field::McpServers => Value::from(
            facts
                .mcp_servers
                .iter()
                .map(|server| {
                    let address = ServerAddress::of(server.url.as_deref());
                    object([
                        ("name", text(server.name.as_deref())),
                        ("host", text(address.host.as_deref())),
                        ("url", text(address.url.as_deref())),
                    ])
                })
                .collect::<Vec<_>>(),
        ),
        Field::MessageCount | Field::BatchRequests if unread => Value::Null,
        Field::MessageCount => Value::from(facts.message_count),
        Field::ServiceTier => text(facts.service_tier.as_deref()),
        Field::ServiceTiers => texts(&facts.service_tiers),
        Field::Speed => text(facts.speed.as_deref()),
        Field::Speeds => texts(&facts.speeds),
        Field::InferenceGeo => text(facts.inference_geo.as_deref()),
        Field::InferenceGeos => texts(&facts.inference_geos),
        Field::HasContainer => Value::from(facts.has_container),
        Field::HasContextManagement => Value::from(facts.has_context_management),
        Field::HasDefaultFallback => Value::from(facts.has_default_fallback),
        Field::BatchRequests => Value::from(facts.batch_requests),
        _ => Value::from(facts.truncated),
    }
}

fn tool_value(tool: &RequestedTool) -> Value {
    object([
        ("name", text(tool.name.as_deref())),
        ("type", text(tool.kind.as_deref())),
        ("mcp_server", text(tool.mcp_server.as_deref())),
    ])
}

fn mcp_tool_value((server, tool): (&str, &str)) -> Value {
    object([("server", Value::from(server)), ("tool", Value::from(tool))])
}

/// The server and the tool that a tool's name tells.
pub(super) fn mcp_tool(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(MCP_TOOL_PREFIX)?.split_once(MCP_TOOL_SEPARATOR)
}

fn usage_value(usage: &[BudgetUsage<'_>]) -> Value {
    Value::from(
        usage
            .iter()
            .map(|budget| {
                let fields = object([
                    ("id", Value::from(budget.quota.id.as_str())),
                    ("unit", Value::from(budget.unit())),
                    ("window", Value::from(window_label(budget.quota.window))),
                    ("limit", Value::from(budget.quota.limit)),
                    ("used", Value::from(budget.used)),
                    ("reserved", Value::from(budget.reserved)),
                    ("remaining", Value::from(budget.remaining())),
                    ("percent", Value::from(percent(budget))),
                ]);
                (Value::from(&*budget.quota.name), fields)
            })
            .collect::<BTreeMap<_, _>>(),
    )
}

/// How much of the limit is used, in whole per cent, rounded down.
fn percent(budget: &BudgetUsage<'_>) -> i128 {
    (i128::from(budget.used) * 100).div_euclid(i128::from(budget.quota.limit.max(1)))
}

/// The word for a window.
pub(super) fn window_label(window: QuotaWindow) -> &'static str {
    match window {
        QuotaWindow::Minute => "minute",
        QuotaWindow::Hour => "hour",
        QuotaWindow::Day => "day",
        QuotaWindow::Week => "week",
        QuotaWindow::Month => "month",
    }
}

/// The word for a cache lifetime.
pub(super) fn cache_write_label(ttl: CacheTtl) -> &'static str {
    match ttl {
        CacheTtl::FiveMinutes => "5m",
        CacheTtl::OneHour => "1h",
    }
}
