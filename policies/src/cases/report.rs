//! What became of cases.

use std::time::Duration;

use super::TrialResult;
use super::file::Case;
use crate::decision::Verdict;

/// What became of the cases of a file.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// In the order of the file.
    pub outcomes: Vec<CaseOutcome>,
    /// The longest evaluation.
    pub slowest: Duration,
}

impl CaseReport {
    /// Whether every case came out as expected.
    pub fn passed(&self) -> bool {
        self.outcomes.iter().all(CaseOutcome::passed)
    }
}

/// What became of a case.
#[derive(Clone, Debug)]
pub struct CaseOutcome {
    /// Its name.
    pub name: String,
    /// Where it begins in the file, from 1.
    pub line: usize,
    /// What it expects.
    pub expected: Said,
    /// What the policy said.
    pub got: Said,
    /// A piece of text that one of the messages must hold.
    pub expected_message: Option<String>,
    /// The messages.
    pub messages: Vec<String>,
    /// Why the policy has no usable result, if it has none.
    pub errors: Vec<&'static str>,
    /// How long the evaluation took.
    pub elapsed: Duration,
}

/// Reasons, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// For refusing.
    pub deny: Vec<String>,
    /// For a warning.
    pub warn: Vec<String>,
}

impl CaseOutcome {
    pub(super) fn of(case: &Case, result: &TrialResult) -> Self {
        let decision = &result.evaluated.decision;
        let verdicts = decision.denials.iter().chain(&decision.warnings);
        Self {
            name: case.name.clone(),
            line: case.line,
            expected: Said { deny: case.deny.clone(), warn: case.warn.clone() },
            got: Said { deny: reasons(&decision.denials), warn: reasons(&decision.warnings) },
            expected_message: case.message.clone(),
            messages: verdicts.map(|verdict| verdict.message.to_string()).collect(),
            errors: result.evaluated.errors.iter().map(|error| error.kind.as_str()).collect(),
            elapsed: result.evaluated.elapsed,
        }
    }

    /// Whether it came out as expected: exactly these reasons, and no error.
    pub fn passed(&self) -> bool {
        self.expected == self.got && self.errors.is_empty() && self.message_is_there()
    }

    fn message_is_there(&self) -> bool {
        let held = |wanted: &String| self.messages.iter().any(|message| message.contains(wanted.as_str()));
        self.expected_message.as_ref().is_none_or(held)
    }
}

fn reasons(verdicts: &[Verdict]) -> Vec<String> {
    let mut reasons: Vec<String> = verdicts.iter().map(|verdict| verdict.reason.to_string()).collect();
    reasons.sort();
    reasons.dedup();
    reasons
}
