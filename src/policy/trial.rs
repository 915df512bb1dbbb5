//! `mindweave policy eval`: what a policy says about one made-up request.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use mindweave_policy::{PolicySource, PolicyTrial, SampleInput, TrialResult, Verdict};
use serde_json::{Value, json};

use super::source;
use crate::cli::PolicyEval;
use crate::table::{Align, Table};

/// Asks, and prints the answer.
///
/// # Errors
/// When a file cannot be read or understood, or the policy would be refused.
pub(super) fn run(options: &PolicyEval, out: &mut impl Write) -> anyhow::Result<()> {
    let rego = source::read(&options.policy)?;
    let data = options.data.as_deref().map(read_json).transpose()?.unwrap_or_else(|| json!({}));
    let checked = PolicySource { rego: rego.into(), data };
    let report = source::check(&options.policy, &checked)?;
    let sample = options.input.as_deref().map(read_json).transpose()?.unwrap_or_else(|| json!({}));
    let sample = SampleInput::from_json(&sample).context("the input is not one that a policy could see")?;
    let result = PolicyTrial::new(checked.rego, checked.data).ask(&sample)?;
    if options.json {
        return Ok(writeln!(out, "{}", as_json(&result, &report.reads))?);
    }
    print(&result, &report.reads, out)?;
    if options.show_input {
        writeln!(out, "\ninput: {:#}", result.input)?;
    }
    Ok(())
}

fn read_json(path: &Path) -> anyhow::Result<Value> {
    serde_json::from_str(&source::read(path)?).with_context(|| format!("{} is not JSON", path.display()))
}

fn as_json(result: &TrialResult, reads: &[String]) -> Value {
    let decision = &result.evaluated.decision;
    let errors = result.evaluated.errors.iter().map(|error| error.kind.as_str()).collect::<Vec<_>>();
    json!({
        "allowed": decision.is_allowed(),
        "deny": verdicts(&decision.denials),
        "warn": verdicts(&decision.warnings),
        "errors": errors,
        "reads": reads,
        "elapsed_us": u64::try_from(result.evaluated.elapsed.as_micros()).unwrap_or(u64::MAX),
        "input": result.input,
    })
}

fn verdicts(said: &[Verdict]) -> Value {
    said.iter().map(|verdict| json!({ "reason": verdict.reason, "message": verdict.message })).collect()
}

fn print(result: &TrialResult, reads: &[String], out: &mut impl Write) -> anyhow::Result<()> {
    let decision = &result.evaluated.decision;
    writeln!(out, "{}", if decision.is_allowed() { "allowed" } else { "denied" })?;
    let said = [("deny", &decision.denials), ("warn", &decision.warnings)];
    if said.iter().any(|(_, verdicts)| !verdicts.is_empty()) {
        let mut table =
            Table::new([("VERDICT", Align::Left), ("REASON", Align::Left), ("MESSAGE", Align::Left)]);
        for (word, verdicts) in said {
            for verdict in verdicts {
                table.row(vec![word.to_owned(), verdict.reason.to_string(), verdict.message.to_string()]);
            }
        }
        table.print(out)?;
    }
    for error in &result.evaluated.errors {
        writeln!(out, "the policy has no usable result ({}): its on_error counts", error.kind.as_str())?;
    }
    writeln!(out, "reads {}; took {} us", reads.join(", "), result.evaluated.elapsed.as_micros())?;
    Ok(())
}
