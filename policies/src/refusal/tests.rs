use std::collections::HashMap;

use mindweave_metering::{LimitId, ProjectId, QuotaId};

use super::*;
use crate::governance::{
    Governance, OnError, OnStale, OrgEntry, QuotaAction, QuotaUnit, QuotaWindow, Reserve,
};
use crate::model_pattern::ModelPattern;
use crate::snapshot::{ProjectEntry, Snapshot};
use crate::subject::{Subject, SubjectKind};

const DOLLAR: i64 = 1_000_000_000;

fn snapshot() -> Snapshot {
    let org = OrgEntry { name: "Acme".into(), time_zone: "UTC".into() };
    let governance =
        Governance { orgs: HashMap::from([(OrgId::new("org_1"), org)]), ..Governance::default() };
    let project = ProjectEntry { name: "checkout-bot".into(), upstream_key: None };
    Snapshot {
        governance: Arc::new(governance),
        projects: HashMap::from([(ProjectId::new("prj_1"), project)]),
        ..Snapshot::default()
    }
}

fn quota(unit: QuotaUnit, window: QuotaWindow, limit: i64, kind: SubjectKind) -> QuotaSpec {
    QuotaSpec {
        id: QuotaId::new("quo_1"),
        org_id: OrgId::new("org_1"),
        name: "a budget".into(),
        scope: Subject { kind, id: None },
        unit,
        window,
        limit,
        models: Vec::new(),
        action: QuotaAction::Block,
        reserve: Reserve::Expected,
        thresholds: Vec::new(),
        on_unknown_price: OnError::Deny,
        on_stale: OnStale::Closed,
    }
}

fn limit(metric: LimitMetric) -> LimitSpec {
    LimitSpec {
        id: LimitId::new("lim_1"),
        org_id: OrgId::new("org_1"),
        name: "a limit".into(),
        scope: Subject { kind: SubjectKind::Key, id: None },
        metric,
        limit: 60,
        burst: None,
        models: vec![ModelPattern::new("claude-opus-*"), ModelPattern::new("claude-sonnet-4-5")],
    }
}

fn refusal(kind: RefusalKind, subject: &str) -> Refusal {
    Refusal {
        kind,
        id: "quo_1".into(),
        subject: subject.into(),
        retry_after: Some(Duration::from_millis(2_001)),
        headers: RateLimitHeaders::default(),
    }
}

fn exhausted(quota: QuotaSpec, used: i64, reserved: i64, needed: i64, subject: &str) -> String {
    let resets_at = "2026-12-01T00:00:00Z".parse().unwrap();
    let quota = Arc::new(quota);
    refusal(RefusalKind::BudgetExhausted { quota, used, reserved, needed, resets_at }, subject)
        .message(&snapshot())
}

#[test]
fn a_used_up_budget_says_who_used_what_until_when_and_whom_to_ask() {
    let fifty = quota(QuotaUnit::Cost, QuotaWindow::Month, 50 * DOLLAR, SubjectKind::Project);
    assert_eq!(
        exhausted(fifty.clone(), 50 * DOLLAR, 0, 1, "prj_1"),
        "project checkout-bot has used $50.00 of its $50.00 monthly budget; it resets 2026-12-01T00:00:00Z; ask an admin of Acme"
    );
    assert_eq!(
        exhausted(fifty, 50_370_000_001, 5, 1, "prj_1"),
        "project checkout-bot has used $50.370000001 of its $50.00 monthly budget; it resets 2026-12-01T00:00:00Z; ask an \
         admin of Acme"
    );
}

#[test]
fn a_request_that_does_not_fit_is_told_what_is_left_and_what_is_held() {
    let fifty = quota(QuotaUnit::Cost, QuotaWindow::Day, 50 * DOLLAR, SubjectKind::Org);
    assert_eq!(
        exhausted(fifty, 49 * DOLLAR, DOLLAR / 4, DOLLAR, "org_1"),
        "organisation Acme has used $49.00 of its $50.00 daily budget; this request may cost $1.00, but $1.00 is left, of \
         which open requests hold $0.25; it resets 2026-12-01T00:00:00Z; ask an admin of Acme"
    );
    let tokens = quota(QuotaUnit::Tokens, QuotaWindow::Hour, 10_000, SubjectKind::Key);
    assert_eq!(
        exhausted(tokens, 1, 0, 12_000, "key_9"),
        "key key_9 has used 1 token of its 10000-token hourly budget; this request may use 12000 tokens, but 9999 tokens are \
         left; it resets 2026-12-01T00:00:00Z; ask an admin of Acme"
    );
    let requests = quota(QuotaUnit::Requests, QuotaWindow::Minute, 3, SubjectKind::User);
    assert_eq!(
        exhausted(requests, 2, 1, 1, "usr_1"),
        "user usr_1 has used 2 requests of its 3-request one-minute budget, and the rest is held by 1 open request; it \
         resets 2026-12-01T00:00:00Z; ask an admin of Acme"
    );
}

#[test]
fn rates_say_how_many_of_what_for_which_models_and_when_to_come_back() {
    let limited = refusal(
        RefusalKind::RateLimited { limit: Arc::new(limit(LimitMetric::OutputTokensPerMinute)) },
        "key_9",
    );
    assert_eq!(
        limited.message(&snapshot()),
        "key key_9 has reached its limit of 60 output tokens a minute for claude-opus-* or claude-sonnet-4-5; try again in \
         3 s; ask an admin of Acme for more"
    );
    assert_eq!(limited.retry_after_seconds(), Some(3));
    let open =
        refusal(RefusalKind::Concurrent { limit: Arc::new(limit(LimitMetric::ConcurrentRequests)) }, "key_9");
    assert_eq!(
        open.message(&snapshot()),
        "key key_9 has as many requests open for claude-opus-* or claude-sonnet-4-5 as its limit of 60 allows; try again when \
         one has ended; ask an admin of Acme for more"
    );
}

#[test]
fn an_unknown_price_and_a_stale_ledger_are_explained() {
    let budget = Arc::new(quota(QuotaUnit::Cost, QuotaWindow::Week, DOLLAR, SubjectKind::Team));
    let unknown = RefusalKind::PriceUnknown { quota: Arc::clone(&budget), model: Some("claude-next".into()) };
    assert_eq!(
        refusal(unknown, "team_1").message(&snapshot()),
        "the price of claude-next is not known, and the $1.00 weekly budget of team team_1 admits no request whose price is \
         not known; ask an admin of Acme"
    );
    assert_eq!(
        refusal(RefusalKind::BudgetStale { quota: budget }, "team_1").message(&snapshot()),
        "the $1.00 weekly budget of team team_1 cannot be checked while the control plane is out of reach; try again later, \
         or ask an admin of Acme"
    );
}

#[test]
fn names_that_the_snapshot_lacks_are_ids() {
    let fifty = quota(QuotaUnit::Cost, QuotaWindow::Month, DOLLAR, SubjectKind::Project);
    let refusal = refusal(RefusalKind::BudgetStale { quota: Arc::new(fifty) }, "prj_7");
    let message = refusal.message(&Snapshot::default());
    assert!(message.contains("project prj_7") && message.contains("admin of org_1"), "{message}");
}

#[test]
fn reasons_are_a_closed_set() {
    let metrics = [
        (LimitMetric::RequestsPerMinute, "rate_limited_requests"),
        (LimitMetric::InputTokensPerMinute, "rate_limited_input_tokens"),
        (LimitMetric::OutputTokensPerMinute, "rate_limited_output_tokens"),
        (LimitMetric::TokensPerMinute, "rate_limited_tokens"),
    ];
    for (metric, reason) in metrics {
        let refusal = refusal(RefusalKind::RateLimited { limit: Arc::new(limit(metric)) }, "key_9");
        assert_eq!(refusal.reason(), reason);
    }
    let concurrent = RefusalKind::Concurrent { limit: Arc::new(limit(LimitMetric::ConcurrentRequests)) };
    assert_eq!(refusal(concurrent, "key_9").reason(), "concurrency_limited");
}
