//! What policies decided, as events and answers say it.

use std::sync::Arc;

use mindweave_metering::{DecisionRecord, Effect, VerdictMode, VerdictRecord};
use mindweave_policy::{Decision, Verdict};

/// How many verdicts an event keeps, the denials first. A journal record holds at most a megabyte and a message half a
/// kilobyte; more than a handful of policies have never been seen to speak at once.
const MAX_VERDICTS: usize = 32;
/// How long the message of a refusal gets at most.
const MAX_MESSAGE_BYTES: usize = 2_000;

/// The record of a decision of the policies of this revision.
pub(super) fn record(decision: &Decision, revision: u64) -> DecisionRecord {
    let Decision { denials, warnings, shadow } = decision;
    let verdicts = (denials.iter().map(|verdict| (verdict, VerdictMode::Enforce)))
        .chain(shadow.iter().map(|verdict| (verdict, VerdictMode::Shadow)))
        .chain(warnings.iter().map(|verdict| (verdict, VerdictMode::Enforce)));
    DecisionRecord {
        effect: if decision.is_allowed() { Effect::Allow } else { Effect::Deny },
        reasons: reasons(denials),
        policy_revision: revision,
        shadow: reasons(shadow),
        verdicts: verdicts.take(MAX_VERDICTS).map(|(verdict, mode)| of(verdict, mode)).collect(),
        refused_by: None,
    }
}

fn of(verdict: &Verdict, mode: VerdictMode) -> VerdictRecord {
    VerdictRecord {
        policy_id: verdict.policy_id.clone(),
        version: verdict.version,
        mode,
        kind: verdict.kind,
        reason: Arc::clone(&verdict.reason),
        message: Arc::clone(&verdict.message),
    }
}

/// Each reason once, in order.
fn reasons(verdicts: &[Verdict]) -> Vec<Arc<str>> {
    let mut reasons: Vec<Arc<str>> = Vec::new();
    for verdict in verdicts {
        if reasons.len() < MAX_VERDICTS && !reasons.contains(&verdict.reason) {
            reasons.push(Arc::clone(&verdict.reason));
        }
    }
    reasons
}

/// What a developer is told whose request was denied: what each policy says, once.
pub(super) fn message(denials: &[Verdict]) -> String {
    let mut message = String::new();
    let mut told: Vec<&str> = Vec::new();
    for denial in denials {
        let text = denial.message.trim();
        if text.is_empty() || told.contains(&text) {
            continue;
        }
        if message.len().saturating_add(text.len()) >= MAX_MESSAGE_BYTES {
            break;
        }
        if !message.is_empty() {
            message.push(' ');
        }
        message.push_str(text);
        told.push(text);
    }
    message
}

#[cfg(test)]
mod tests {
    use mindweave_metering::{PolicyId, VerdictKind};

    use super::*;

    fn verdict(number: usize, reason: &str, message: &str) -> Verdict {
        Verdict {
            policy_id: PolicyId::new(format!("pol_{number}")),
            policy: "name".into(),
            version: 3,
            kind: VerdictKind::Deny,
            reason: reason.into(),
            message: message.into(),
        }
    }

    #[test]
    fn a_record_says_who_said_what_and_each_reason_once() {
        let decision = Decision {
            denials: vec![verdict(1, "a", "A."), verdict(2, "a", "A."), verdict(3, "b", "B.")],
            warnings: vec![verdict(4, "w", "W.")],
            shadow: vec![verdict(5, "s", "S."), Verdict { kind: VerdictKind::Warn, ..verdict(6, "s", "S.") }],
        };
        let record = record(&decision, 7);
        assert_eq!((record.effect, record.policy_revision), (Effect::Deny, 7));
        assert_eq!(record.reasons, [Arc::from("a"), Arc::from("b")]);
        assert_eq!(record.shadow, [Arc::from("s")]);
        let said: Vec<_> = record.verdicts.iter().map(|verdict| (verdict.mode, verdict.kind)).collect();
        assert_eq!(
            said[3..5],
            [(VerdictMode::Shadow, VerdictKind::Deny), (VerdictMode::Shadow, VerdictKind::Warn)]
        );
        assert_eq!(record.verdicts.len(), 6);
        assert_eq!(message(&decision.denials), "A. B.");
        let allowed = super::record(&Decision { denials: Vec::new(), ..decision }, 7);
        assert_eq!((allowed.effect, allowed.reasons.len(), allowed.verdicts.len()), (Effect::Allow, 0, 3));
    }

    #[test]
    fn many_policies_that_talk_much_make_neither_a_long_record_nor_a_long_answer() {
        let long = "m".repeat(500);
        let denials = (0..500)
            .map(|number| verdict(number, &format!("r{number}"), &format!("{number}{long}")))
            .collect();
        let decision = Decision { denials, ..Decision::default() };
        let record = record(&decision, 1);
        assert_eq!((record.verdicts.len(), record.reasons.len()), (MAX_VERDICTS, MAX_VERDICTS));
        assert!(message(&decision.denials).len() <= MAX_MESSAGE_BYTES);
        assert!(message(&decision.denials).starts_with('0'));
    }
}
