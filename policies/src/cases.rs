//! Cases: what a policy must say about made-up requests, written down as a table of small differences.
//!
//! They run through [`CompiledPolicies`], the engine that production runs. `policies/README.md` explains the format.

mod file;
mod report;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use mindweave_metering::{OrgId, PolicyId};
use serde_json::Value;

pub use file::{CaseFile, CaseFileError};
pub use report::{CaseOutcome, CaseReport, Said};

use crate::facts::PolicyInput;
use crate::governance::{Governance, OnError, OrgEntry, PolicyMode, PolicySpec};
use crate::policy_set::{CompiledPolicies, Evaluated};
use crate::sample::{SampleError, SampleInput};
use crate::subject::{Subject, SubjectKind};

/// A policy alone in force, for whoever asks: for cases and trials.
#[derive(Debug)]
pub struct PolicyTrial {
    rego: Arc<str>,
    data: Value,
}

/// What a trial found out.
#[derive(Debug)]
pub struct TrialResult {
    /// What the policy said.
    pub evaluated: Evaluated,
    /// The input as it saw it.
    pub input: Value,
}

/// Why a policy could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It does not compile.
    #[error("the policy does not compile: {0}")]
    Broken(String),
    /// The input is not one.
    #[error(transparent)]
    Input(#[from] SampleError),
}

impl PolicyTrial {
    /// A policy with its data. Compiled for each trial, because a project in the input may be any.
    pub fn new(rego: impl Into<Arc<str>>, data: Value) -> Self {
        Self { rego: rego.into(), data }
    }

    /// Asks the policy about an input. Blocks: it compiles first.
    ///
    /// # Errors
    /// When the policy does not compile, or the input contradicts itself.
    pub fn ask(&self, sample: &SampleInput) -> Result<TrialResult, TrialError> {
        self.in_force(sample)?.ask(sample)
    }

    fn in_force(&self, sample: &SampleInput) -> Result<InForce, TrialError> {
        let org_id = OrgId::new(Arc::clone(&sample.principal.org_id));
        let policy = PolicySpec {
            id: PolicyId::new("pol_trial"),
            org_id: org_id.clone(),
            name: "trial".into(),
            version: 1,
            mode: PolicyMode::Enforce,
            scope: Subject { kind: SubjectKind::Org, id: Some(Arc::clone(&sample.principal.org_id)) },
            rego: Arc::clone(&self.rego),
            data: self.data.clone(),
            on_error: OnError::Deny,
        };
        let org = OrgEntry {
            name: sample.principal.org_name.as_str().into(),
            time_zone: sample.time_zone.as_str().into(),
        };
        let governance = Governance {
            orgs: [(org_id, org)].into(),
            policies: vec![Arc::new(policy)],
            ..Governance::default()
        };
        let policies = CompiledPolicies::compile(&governance, None);
        match policies.faults() {
            [] => Ok(InForce { policies }),
            [(_, fault), ..] => Err(TrialError::Broken(fault.to_string())),
        }
    }
}

/// A compiled trial.
#[derive(Debug)]
struct InForce {
    policies: CompiledPolicies,
}

impl InForce {
    fn ask(&self, sample: &SampleInput) -> Result<TrialResult, TrialError> {
        let set = self.policies.in_force(&sample.principal.principal());
        let set = set.ok_or_else(|| TrialError::Broken("it is not in force".to_owned()))?;
        let ask =
            |input: &PolicyInput<'_>| TrialResult { evaluated: set.decide(input), input: input.to_json() };
        Ok(sample.with_input(ask)?)
    }
}

/// Runs the cases of a file on a policy. Blocks: it compiles the policy once for all cases with the same data.
///
/// # Errors
/// When the policy does not compile. A case with a broken input is refused when the file is read.
pub fn run_cases(rego: &Arc<str>, cases: &CaseFile) -> Result<CaseReport, TrialError> {
    let mut outcomes = Vec::with_capacity(cases.cases().len());
    let mut compiled: Option<(&Value, &Arc<str>, InForce)> = None;
    for case in cases.cases() {
        let org = &case.input.principal.org_id;
        let fits = compiled.as_ref().is_some_and(|(data, of, _)| **data == case.data && *of == org);
        if !fits {
            let trial = PolicyTrial::new(Arc::clone(rego), case.data.clone());
            compiled = Some((&case.data, org, trial.in_force(&case.input)?));
        }
        if let Some((_, _, in_force)) = &compiled {
            outcomes.push(CaseOutcome::of(case, &in_force.ask(&case.input)?));
        }
    }
    let elapsed = outcomes.iter().map(|outcome| outcome.elapsed).max().unwrap_or(Duration::ZERO);
    Ok(CaseReport { outcomes, slowest: elapsed })
}
