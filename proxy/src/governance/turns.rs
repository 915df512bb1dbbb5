//! Costly policies take turns, so that requests that have nothing to do with them are not held up.

use std::time::Duration;

use mindweave_policy::{Evaluated, PolicyInput, PolicySet};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};

use crate::metrics;

/// How long a request waits for its turn: a burst of a hundred requests at the bounds of evaluation, on two cores, takes as
/// long. Whoever waits longer is judged by what its policies say of errors.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Who may evaluate costly policies at the moment.
#[derive(Debug)]
pub(super) struct Turns {
    permits: Semaphore,
}

impl Turns {
    /// For half of this runtime's threads at a time, so that the other half is there for everybody else.
    pub(super) fn new() -> Self {
        let workers = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
        Self { permits: Semaphore::new((workers / 2).max(1)) }
    }

    /// Decides: at once where that is cheap or known, else when it is its turn.
    pub(super) async fn decide(&self, policies: &PolicySet, input: &PolicyInput<'_>) -> Evaluated {
        if !policies.is_heavy() {
            return policies.decide(input);
        }
        if let Some(known) = policies.cached(input) {
            return known;
        }
        let before = Instant::now();
        let turn = timeout(LONGEST_WAIT, self.permits.acquire()).await;
        metrics::governance().policy_wait.record(before.elapsed());
        let Ok(Ok(_turn)) = turn else { return policies.time_out(input) };
        // Tasks that wait for this thread go to another one meanwhile. A runtime of one thread has no other.
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(|| policies.decide(input)),
            _ => policies.decide(input),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mindweave_metering::{OrgId, PolicyId, ProjectId};
    use mindweave_policy::{
        CompiledPolicies, CredentialKind, Governance, OnError, PolicyErrorKind, PolicyMode, PolicySpec,
        Principal, PrincipalInput, RequestInput, Subject, SubjectKind,
    };

    use super::*;

    const COSTLY: &str = r#"package costly
deny contains {"reason": "x", "message": "m"} if {
    count([1 | some a in numbers.range(1, 40); some b in numbers.range(1, 40); a * b < 0; input.request.path == "x"]) > 0
}"#;

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_turn_in_time_follows_on_error_and_what_is_known_needs_none() {
        let org_id = OrgId::new("org_1");
        let spec = PolicySpec {
            id: PolicyId::new("pol_1"),
            org_id: org_id.clone(),
            name: "costly".into(),
            version: 1,
            mode: PolicyMode::Enforce,
            scope: Subject { kind: SubjectKind::Org, id: Some("org_1".into()) },
            rego: COSTLY.into(),
            data: serde_json::Value::Null,
            on_error: OnError::Deny,
        };
        let governance = Governance { policies: vec![Arc::new(spec)], ..Governance::default() };
        let principal = Principal {
            org_id,
            project_id: ProjectId::new("prj_1"),
            team_id: None,
            user_id: None,
            key_id: None,
            roles: Vec::new(),
            labels: std::collections::BTreeMap::default(),
        };
        let policies = CompiledPolicies::compile(&governance, None).in_force(&principal).unwrap();
        let input = |path| PolicyInput {
            principal: PrincipalInput {
                principal: &principal,
                org_name: "Acme",
                project_name: "checkout-bot",
                credential: CredentialKind::VirtualKey,
            },
            request: RequestInput {
                method: "POST",
                path,
                endpoint: "/v1/messages",
                kind: "messages",
                facts: None,
                bytes: None,
                betas: &[],
                client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
                user_agent: None,
                session_id: None,
                agent_id: None,
                parent_agent_id: None,
                pii: None,
            },
            usage: &[],
            now: jiff::Timestamp::UNIX_EPOCH,
            time_zone: "UTC",
        };
        let paths: Vec<String> = (0..64).map(|number| format!("/{number}")).collect();
        let judged = paths.iter().take_while(|path| {
            policies.decide(&input(path));
            !policies.is_heavy()
        });
        assert!(judged.count() < paths.len(), "the policy is heavy");

        let nobody = Turns { permits: Semaphore::new(0) };
        let before = Instant::now();
        let late = nobody.decide(&policies, &input("/new")).await;
        assert_eq!(before.elapsed().as_secs(), LONGEST_WAIT.as_secs());
        assert_eq!(late.errors.first().map(|error| error.kind), Some(PolicyErrorKind::Timeout));
        assert!(!late.decision.is_allowed());
        let known = nobody.decide(&policies, &input("/0")).await;
        assert!(known.cached && known.decision.is_allowed());
        assert!(Turns::new().decide(&policies, &input("/new")).await.decision.is_allowed());
    }
}
