//! Refusals in words, for the developer who meets one.

use std::fmt::{self, Display};

use mindweave_metering::{NanoUsd, OrgId, ProjectId};

use super::{Refusal, RefusalKind};
use crate::governance::{LimitMetric, LimitSpec, QuotaSpec, QuotaUnit, QuotaWindow};
use crate::model_pattern::ModelPattern;
use crate::snapshot::Snapshot;
use crate::subject::SubjectKind;

/// Digits of a dollar's fraction that are always written.
const CENTS: usize = 2;

impl Refusal {
    /// For the developer who sees it. Names of projects and organisations come from the snapshot.
    pub fn message(&self, snapshot: &Snapshot) -> String {
        let org = org_name(snapshot, self.org_id());
        match &self.kind {
            RefusalKind::RateLimited { limit } => {
                let who = self.who(limit.scope.kind, snapshot);
                let rate = rate(limit);
                let seconds = self.retry_after_seconds().unwrap_or(1);
                format!(
                    "{who} has reached its limit of {rate}; try again in {seconds} s; ask an admin of {org} for more"
                )
            }
            RefusalKind::Concurrent { limit } => {
                let who = self.who(limit.scope.kind, snapshot);
                let (count, models) = (limit.limit, Models(&limit.models));
                format!(
                    "{who} has as many requests open{models} as its limit of {count} allows; try again when one has ended; \
                     ask an admin of {org} for more"
                )
            }
            RefusalKind::BudgetExhausted { quota, used, reserved, needed, resets_at } => {
                let who = self.who(quota.scope.kind, snapshot);
                let state = Used { quota, used: *used, reserved: *reserved, needed: *needed };
                format!("{who} {state}; it resets {resets_at}; ask an admin of {org}")
            }
            RefusalKind::PriceUnknown { quota, model } => {
                let (who, budget) = (self.who(quota.scope.kind, snapshot), Budget(quota));
                let model = model.as_deref().unwrap_or("the requested model");
                format!(
                    "the price of {model} is not known, and the {budget} of {who} admits no request whose price is not known; \
                     ask an admin of {org}"
                )
            }
            RefusalKind::UseUnknown { quota } => {
                let (who, budget) = (self.who(quota.scope.kind, snapshot), Budget(quota));
                format!(
                    "what a request to this endpoint uses is not known, and the {budget} of {who} admits no such request; use \
                     /v1/messages, or ask an admin of {org}"
                )
            }
            RefusalKind::BudgetStale { quota } => {
                let (who, budget) = (self.who(quota.scope.kind, snapshot), Budget(quota));
                format!(
                    "the {budget} of {who} cannot be checked while the control plane is out of reach; try again later, or ask \
                     an admin of {org}"
                )
            }
        }
    }

    fn who(&self, kind: SubjectKind, snapshot: &Snapshot) -> String {
        let id = &*self.subject;
        match kind {
            SubjectKind::Project => {
                let project = snapshot.projects.get(&ProjectId::new(id));
                format!("project {}", project.map_or(id, |project| &*project.name))
            }
            SubjectKind::Org => format!("organisation {}", org_name(snapshot, self.org_id())),
            SubjectKind::Team | SubjectKind::User | SubjectKind::Key => format!("{} {id}", kind.as_str()),
        }
    }
}

fn org_name<'a>(snapshot: &'a Snapshot, id: &'a OrgId) -> &'a str {
    snapshot.governance.orgs.get(id).map_or(id.as_str(), |org| &*org.name)
}

fn rate(limit: &LimitSpec) -> String {
    let unit = match limit.metric {
        LimitMetric::RequestsPerMinute => "requests",
        LimitMetric::InputTokensPerMinute => "input tokens",
        LimitMetric::OutputTokensPerMinute => "output tokens",
        LimitMetric::TokensPerMinute => "tokens",
        LimitMetric::ConcurrentRequests => "open requests",
    };
    format!("{} {unit} a minute{}", limit.limit, Models(&limit.models))
}

/// ` for claude-opus-*`, or nothing.
struct Models<'a>(&'a [ModelPattern]);

impl Display for Models<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, model) in self.0.iter().enumerate() {
            write!(f, "{}{}", if place == 0 { " for " } else { " or " }, model.as_str())?;
        }
        Ok(())
    }
}

/// `$50.00 monthly budget`, or `10000-token daily budget`.
struct Budget<'a>(&'a QuotaSpec);

impl Display for Budget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = match self.0.window {
            QuotaWindow::Minute => "one-minute",
            QuotaWindow::Hour => "hourly",
            QuotaWindow::Day => "daily",
            QuotaWindow::Week => "weekly",
            QuotaWindow::Month => "monthly",
        };
        write!(
            f,
            "{} {window} budget{}",
            Amount(self.0.unit, self.0.limit, Style::Adjective),
            Models(&self.0.models)
        )
    }
}

/// What is used, and, when that alone does not refuse the request, what does.
struct Used<'a> {
    quota: &'a QuotaSpec,
    used: i64,
    reserved: i64,
    needed: i64,
}

impl Display for Used<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |amount| Amount(self.quota.unit, amount, Style::Noun);
        write!(f, "has used {} of its {}", amount(self.used), Budget(self.quota))?;
        if self.used >= self.quota.limit {
            return Ok(());
        }
        let left = self.quota.limit.saturating_sub(self.used);
        match self.quota.unit {
            QuotaUnit::Requests => {
                let plural = if self.reserved == 1 { "" } else { "s" };
                write!(f, ", and the rest is held by {} open request{plural}", self.reserved)
            }
            QuotaUnit::Tokens | QuotaUnit::Cost => {
                let cost = self.quota.unit == QuotaUnit::Cost;
                let (verb, are) = if cost { ("cost", "is") } else { ("use", "are") };
                write!(
                    f,
                    "; this request may {verb} {}, but {} {} left",
                    amount(self.needed),
                    amount(left),
                    are
                )?;
                if self.reserved > 0 {
                    write!(f, ", of which open requests hold {}", amount(self.reserved))?;
                }
                Ok(())
            }
        }
    }
}

enum Style {
    Noun,
    Adjective,
}

/// `$50.00`, `1 request`, `10000 tokens`, or before a noun `10000-token`.
struct Amount(QuotaUnit, i64, Style);

impl Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(unit, amount, style) = self;
        let name = match unit {
            QuotaUnit::Cost => return dollars(*amount, f),
            QuotaUnit::Tokens => "token",
            QuotaUnit::Requests => "request",
        };
        match style {
            Style::Adjective => write!(f, "{amount}-{name}"),
            Style::Noun => write!(f, "{amount} {name}{}", if *amount == 1 { "" } else { "s" }),
        }
    }
}

/// Exact, with at least the cents.
fn dollars(nano: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = NanoUsd(nano).to_string();
    let (sign, text) = text.strip_prefix('-').map_or(("", &*text), |rest| ("-", rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    write!(f, "{sign}${whole}.{fraction:0<CENTS$}")
}
