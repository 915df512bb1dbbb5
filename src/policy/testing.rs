//! `mindweave policy test`: a row for each policy, and what was expected and what came for each case that failed.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use mindweave_policy::{CaseOutcome, PolicySource, Said, run_cases};

use super::source;
use super::suite::{self, Suite};
use crate::table::{Align, Table, count};

/// Runs the cases at these paths, or the bundled ones.
///
/// # Errors
/// When a file cannot be read or understood. Failed cases are no error: the exit code tells of them.
pub(super) fn run(paths: &[PathBuf], verbose: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let suites = if paths.is_empty() {
        suite::bundled()?
    } else {
        let found = paths.iter().map(|path| suite::at(path)).collect::<anyhow::Result<Vec<_>>>()?;
        found.into_iter().flatten().collect()
    };
    let results: Vec<SuiteResult<'_>> = suites.iter().map(SuiteResult::of).collect();
    if verbose {
        every_case(&results, out)?;
    }
    summary(&results, out)?;
    failures(&results, out)?;
    let passed = results.iter().all(SuiteResult::passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What became of a suite.
struct SuiteResult<'s> {
    suite: &'s Suite,
    outcomes: Vec<CaseOutcome>,
    slowest_micros: u128,
    /// Why the policy could not be put in force.
    refused: Option<String>,
    /// What the check of the policy has to say.
    notes: String,
}

impl<'s> SuiteResult<'s> {
    fn of(suite: &'s Suite) -> Self {
        let mut result =
            Self { suite, outcomes: Vec::new(), slowest_micros: 0, refused: None, notes: String::new() };
        if let Err(error) = result.run() {
            result.refused = Some(crate::chain(&error));
        }
        result
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let data = self.suite.file.as_ref().map(|file| file.data().clone()).unwrap_or_default();
        let policy = PolicySource { rego: self.suite.rego.clone(), data };
        let report = source::check(&self.suite.policy, &policy)?;
        self.notes = source::listed(&self.suite.policy, &report.warnings);
        if let Some(file) = &self.suite.file {
            let report = run_cases(&self.suite.rego, file)?;
            self.slowest_micros = report.slowest.as_micros();
            self.outcomes = report.outcomes;
        }
        Ok(())
    }

    fn passed(&self) -> bool {
        self.refused.is_none() && self.outcomes.iter().all(CaseOutcome::passed)
    }

    fn failed(&self) -> impl Iterator<Item = &CaseOutcome> {
        self.outcomes.iter().filter(|outcome| !outcome.passed())
    }
}

fn every_case(results: &[SuiteResult<'_>], out: &mut impl Write) -> anyhow::Result<()> {
    let columns = [("POLICY", Align::Left), ("CASE", Align::Left), ("SAID", Align::Left), ("", Align::Left)];
    let mut table = Table::new(columns);
    for result in results {
        for outcome in &result.outcomes {
            let verdict = if outcome.passed() { "ok" } else { "FAILED" };
            table.row(vec![
                result.suite.name.clone(),
                outcome.name.clone(),
                said(&outcome.got),
                verdict.to_owned(),
            ]);
        }
    }
    table.print(out)?;
    writeln!(out)?;
    Ok(())
}

fn summary(results: &[SuiteResult<'_>], out: &mut impl Write) -> anyhow::Result<()> {
    let columns = [
        ("POLICY", Align::Left),
        ("CASES", Align::Right),
        ("FAILED", Align::Right),
        ("SLOWEST", Align::Right),
        ("", Align::Left),
    ];
    let mut table = Table::new(columns);
    let number = |cases: usize| count(u64::try_from(cases).unwrap_or(u64::MAX));
    for result in results {
        let note = match (&result.refused, &result.suite.file) {
            (Some(_), _) => "does not compile",
            (None, None) => "has no cases",
            (None, Some(_)) if result.passed() => "ok",
            (None, Some(_)) => "FAILED",
        };
        table.row(vec![
            result.suite.name.clone(),
            number(result.outcomes.len()),
            number(result.failed().count()),
            format!("{} us", result.slowest_micros),
            note.to_owned(),
        ]);
    }
    let cases = results.iter().map(|result| result.outcomes.len()).sum();
    let failed = results.iter().map(|result| result.failed().count()).sum();
    table.total(vec!["total".to_owned(), number(cases), number(failed), String::new(), String::new()]);
    table.print(out)?;
    Ok(())
}

fn failures(results: &[SuiteResult<'_>], out: &mut impl Write) -> anyhow::Result<()> {
    for result in results {
        if !result.notes.is_empty() {
            writeln!(out, "\n{}: worth a look:{}", result.suite.name, result.notes)?;
        }
        if let Some(refused) = &result.refused {
            writeln!(out, "\n{}: {refused}", result.suite.name)?;
        }
        for outcome in result.failed() {
            failure(result.suite, outcome, out)?;
        }
    }
    Ok(())
}

fn failure(suite: &Suite, outcome: &CaseOutcome, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "\n{}:{}: {}", suite.cases.display(), outcome.line, outcome.name)?;
    writeln!(out, "  expected  {}", said(&outcome.expected))?;
    if let Some(message) = &outcome.expected_message {
        writeln!(out, "            with a message that holds {message:?}")?;
    }
    writeln!(out, "  got       {}", said(&outcome.got))?;
    for message in &outcome.messages {
        writeln!(out, "            {message:?}")?;
    }
    for error in &outcome.errors {
        writeln!(out, "  error     {error}")?;
    }
    Ok(())
}

/// Verdicts in a line: `deny model_not_allowed, warn old_client`, or `allow`.
pub(super) fn said(said: &Said) -> String {
    let named = |word: &'static str, reasons: &[String]| {
        reasons.iter().map(|reason| format!("{word} {reason}")).collect::<Vec<_>>()
    };
    let mut verdicts = named("deny", &said.deny);
    if verdicts.is_empty() {
        verdicts.push("allow".to_owned());
    }
    verdicts.extend(named("warn", &said.warn));
    verdicts.join(", ")
}
