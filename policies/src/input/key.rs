//! What a decision depends on, as bytes: the same bytes for two requests mean that every field read is the same.
//!
//! Every field is written with its number, every text and list with its length, so that no two different inputs write
//! the same bytes.

use std::net::IpAddr;

use super::field::{Field, FieldSet};
use super::server::ServerAddress;
use super::time::Moment;
use super::value::{cache_write_label, mcp_tool, window_label};
use crate::facts::{BudgetUsage, PolicyInput};

/// Appends what the fields hold.
pub(crate) fn write_key(out: &mut Vec<u8>, input: &PolicyInput<'_>, moment: &Moment, reads: FieldSet) {
    for (number, (field, _, _)) in (0_u8..).zip(Field::ALL) {
        if reads.has(field) {
            out.push(number);
            write_field(&mut Writer(out), input, moment, field);
        }
    }
}

/// Writes values so that their ends are known.
struct Writer<'o>(&'o mut Vec<u8>);

impl Writer<'_> {
    fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn signed(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn wide(&mut self, value: i128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn length(&mut self, value: usize) {
        self.number(u64::try_from(value).unwrap_or(u64::MAX));
    }

    fn text(&mut self, value: &str) {
        self.length(value.len());
        self.0.extend_from_slice(value.as_bytes());
    }

    fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn maybe_text(&mut self, value: Option<&str>) {
        self.option(value, Self::text);
    }

    fn texts<T: AsRef<str>>(&mut self, values: &[T]) {
        self.length(values.len());
        for value in values {
            self.text(value.as_ref());
        }
    }
}

fn write_field(out: &mut Writer<'_>, input: &PolicyInput<'_>, moment: &Moment, field: Field) {
    let principal = input.principal.principal;
    let request = &input.request;
    match field {
        Field::OrgId => out.text(principal.org_id.as_str()),
        Field::OrgName => out.text(input.principal.org_name),
        Field::ProjectId => out.text(principal.project_id.as_str()),
        Field::ProjectName => out.text(input.principal.project_name),
        Field::TeamId => out.maybe_text(principal.team_id.as_ref().map(|id| id.as_str())),
        Field::UserId => out.maybe_text(principal.user_id.as_ref().map(|id| id.as_str())),
        Field::KeyId => out.maybe_text(principal.key_id.as_ref().map(|id| id.as_str())),
        Field::Roles => out.texts(&principal.roles),
        Field::Labels => {
            out.length(principal.labels.len());
            for (name, value) in &principal.labels {
                out.text(name);
                out.text(value);
            }
        }
        Field::Credential => out.text(input.principal.credential.as_str()),
        Field::Method => out.text(request.method),
        Field::Path => out.text(request.path),
        Field::Endpoint => out.text(request.endpoint),
        Field::Kind => out.text(request.kind),
        Field::Bytes => out.option(request.bytes, Writer::number),
        Field::Betas => out.texts(request.betas),
        Field::ClientIp => match request.client_ip.to_canonical() {
            IpAddr::V4(address) => {
                out.flag(false);
                out.0.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                out.flag(true);
                out.0.extend_from_slice(&address.octets());
            }
        },
        Field::UserAgent => out.maybe_text(request.user_agent),
        Field::SessionId => out.maybe_text(request.session_id),
        Field::AgentId => out.maybe_text(request.agent_id),
        Field::ParentAgentId => out.maybe_text(request.parent_agent_id),
        Field::Pii => out.option(request.pii, Writer::texts),
        Field::Usage => write_usage(out, input.usage),
        _ if write_time(out, input, moment, field) => {}
        _ => write_body(out, input, field),
    }
}

fn write_usage(out: &mut Writer<'_>, usage: &[BudgetUsage<'_>]) {
    out.length(usage.len());
    for budget in usage {
        out.text(&budget.quota.name);
        out.text(budget.quota.id.as_str());
        out.text(budget.unit());
        out.text(window_label(budget.quota.window));
        out.signed(budget.quota.limit);
        out.signed(budget.used);
        out.signed(budget.reserved);
    }
}

/// Writes a field of `input.time`; `false` when it is none.
fn write_time(out: &mut Writer<'_>, input: &PolicyInput<'_>, moment: &Moment, field: Field) -> bool {
    match field {
        Field::NowNs | Field::Rfc3339 => {
            out.wide(moment.now_ns());
            // The same moment is written differently in another zone.
            out.text(input.time_zone);
        }
        Field::MinuteNs => out.wide(moment.minute_ns()),
        Field::HourNs => out.wide(moment.hour_ns()),
        Field::DayNs => out.wide(moment.day_ns()),
        Field::TimeZone => out.text(input.time_zone),
        Field::Date => out.text(&moment.date()),
        Field::Year => out.signed(moment.year()),
        Field::Month => out.signed(moment.month()),
        Field::Day => out.signed(moment.day()),
        Field::Weekday => out.text(moment.weekday()),
        Field::Hour => out.signed(moment.hour()),
        Field::Minute => out.signed(moment.minute()),
        _ => return false,
    }
    true
}

fn write_body(out: &mut Writer<'_>, input: &PolicyInput<'_>, field: Field) {
    let Some(facts) = input.request.facts else { return out.flag(false) };
    out.flag(true);
    match field {
        Field::Model => out.maybe_text(facts.model.as_deref()),
        Field::Models => out.texts(&facts.models),
        Field::Stream => out.flag(facts.stream),
        Field::MaxTokens => out.option(facts.max_tokens, Writer::number),
        Field::MaxTokensSum => out.option(facts.max_tokens_sum, Writer::number),
        Field::EstimatedInputTokens => out.option(facts.estimated_input_tokens, Writer::number),
        Field::CacheWrite => out.maybe_text(facts.cache_write.map(cache_write_label)),
        Field::MetadataUserId => out.maybe_text(facts.user_id.as_deref()),
        Field::Tools => {
            out.length(facts.tools.len());
            for tool in &facts.tools {
                out.maybe_text(tool.name.as_deref());
                out.maybe_text(tool.kind.as_deref());
                out.maybe_text(tool.mcp_server.as_deref());
            }
        }
        Field::McpTools => {
            let names = facts.tools.iter().filter_map(|tool| tool.name.as_deref());
            for name in names.filter(|name| mcp_tool(name).is_some()) {
                out.text(name);
            }
            out.number(u64::MAX); // no text is that long: the list ends here
        }
        Field::McpServers => {
            out.length(facts.mcp_servers.len());
            for server in &facts.mcp_servers {
                out.maybe_text(server.name.as_deref());
                let address = ServerAddress::of(server.url.as_deref());
                out.maybe_text(address.host.as_deref());
                out.maybe_text(address.url.as_deref());
            }
        }
        Field::MessageCount => out.number(facts.message_count),
        Field::ServiceTier => out.maybe_text(facts.service_tier.as_deref()),
        Field::ServiceTiers => out.texts(&facts.service_tiers),
        Field::Speed => out.maybe_text(facts.speed.as_deref()),
        Field::Speeds => out.texts(&facts.speeds),
        Field::InferenceGeo => out.maybe_text(facts.inference_geo.as_deref()),
        Field::InferenceGeos => out.texts(&facts.inference_geos),
        Field::HasContainer => out.flag(facts.has_container),
        Field::HasContextManagement => out.flag(facts.has_context_management),
        Field::HasDefaultFallback => out.flag(facts.has_default_fallback),
        Field::BatchRequests => out.number(facts.batch_requests),
        _ => out.flag(facts.truncated),
    }
}
