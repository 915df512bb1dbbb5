//! From a policy's text to a program that may run on the hot path.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::program::{Program, RuleType};
use regorus::{Engine, Rc, Value};

use super::faults::FILE;
use super::flow::{self, Flow};
use super::{PolicyFault, PolicySource, bounds, builtins, guards, heads, lints, nesting};
use crate::input::FieldSet;

/// A policy that can be evaluated. Shared by all threads and never changed.
#[derive(Debug)]
pub(crate) struct Module {
    /// Different for every module of the process: worker threads know their machines by it.
    pub(crate) id: u64,
    /// The package, without `data.`.
    pub(crate) package: String,
    /// `deny` is the first entry point, `warn` the second if there is one.
    pub(crate) program: Arc<Program>,
    /// The second entry point.
    pub(crate) warns: bool,
    /// `data`.
    pub(crate) data: Value,
    /// The fields that its verdicts can depend on.
    pub(crate) reads: FieldSet,
    /// What an author should look at.
    pub(crate) warnings: Vec<PolicyFault>,
}

/// Compiles a policy and proves its bounds. Takes 5 to 20 ms for usual policies; what hostile text takes is bounded only by
/// the limits of the process, so text that nobody checked before belongs into a child process.
///
/// # Errors
/// Every fault found, with its place where it has one.
pub(crate) fn compile(source: &PolicySource) -> Result<Module, Vec<PolicyFault>> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    nesting::check(&source.rego).map_err(|fault| vec![fault])?;
    let data = data_document(&source.data).map_err(|fault| vec![fault])?;
    let mut engine = Engine::new();
    let one = |fault: String| vec![PolicyFault::of_engine(&fault)];
    let path = engine.add_policy(FILE.to_owned(), source.rego.to_string()).map_err(|e| one(e.to_string()))?;
    let package = path.strip_prefix("data.").unwrap_or(&path).to_owned();
    let defines = |name: &str| engine.has_declared_rule_rooted_at(FILE, name).unwrap_or(false);
    if !defines("deny") {
        let message = "the policy has no `deny` rule: write `deny contains {\"reason\": \"..\", \"message\": \"..\"} if { .. }`";
        return Err(vec![PolicyFault::at(1, 1, message)]);
    }
    let warns = defines("warn");
    let faults = heads::faults(engine.get_modules());
    if !faults.is_empty() {
        return Err(faults);
    }
    refuse_overlap(&package, &data).map_err(|fault| vec![fault])?;
    engine.add_data(data.clone()).map_err(|e| one(e.to_string()))?;
    let deny = format!("{path}.deny");
    let warn = format!("{path}.warn");
    let compiled =
        engine.compile_with_entrypoint(&Rc::from(deny.as_str())).map_err(|e| one(e.to_string()))?;
    let mut entry_points = vec![deny.as_str()];
    entry_points.extend(warns.then_some(warn.as_str()));
    let program = Compiler::compile_from_policy(&compiled, &entry_points).map_err(|e| one(e.to_string()))?;
    let mut program = Arc::unwrap_or_clone(program);
    guards::insert(&mut program).map_err(|fault| vec![fault])?;
    let flow = flow::analyse(&program, bounds::count_values(&data));
    let mut faults = shape_faults(&program, &entry_points);
    faults.extend(bounds::faults(&program, &flow));
    if !faults.is_empty() {
        return Err(faults);
    }
    let warnings = lints::warnings(&program, &flow);
    builtins::meter(&mut program)
        .map_err(|name| one(format!("the function {name} is not available to policies")))?;
    program.validate_limits().map_err(one)?;
    slim(&mut program);
    let Flow { reads, .. } = flow;
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(Module { id, package, program: Arc::new(program), warns, data, reads, warnings })
}

fn data_document(data: &serde_json::Value) -> Result<Value, PolicyFault> {
    match data {
        serde_json::Value::Null => Ok(Value::new_object()),
        serde_json::Value::Object(_) => Ok(Value::from(data.clone())),
        _ => Err(PolicyFault::everywhere("`data` must be a JSON object")),
    }
}

/// The package is a place in `data` as well; what an author put there under the same name would hide one or the other.
fn refuse_overlap(package: &str, data: &Value) -> Result<(), PolicyFault> {
    let first = package.split(['.', '[']).next().unwrap_or(package);
    let taken = data.as_object().is_ok_and(|data| data.contains_key(&Value::from(first)));
    if taken {
        let message =
            format!("`data` has a top-level name \"{first}\", which is where the package's own rules are");
        return Err(PolicyFault::everywhere(message));
    }
    Ok(())
}

/// `deny` and `warn` must be sets that rules add to: such a set is never undefined.
fn shape_faults(program: &Program, entry_points: &[&str]) -> Vec<PolicyFault> {
    let wrong = program
        .rule_infos
        .iter()
        .filter(|info| entry_points.contains(&info.name.as_str()) && info.rule_type != RuleType::PartialSet);
    wrong
        .map(|info| {
            let name = info.name.rsplit('.').next().unwrap_or("deny");
            let message = format!("`{name}` must be a set: write `{name} contains {{..}} if {{..}}`");
            let start = info.definitions.iter().flatten().next();
            let at = start.and_then(|start| usize::try_from(*start).ok());
            bounds::fault_at(program, at, message)
        })
        .collect()
}

/// Drops what only people read. The machine copies a rule's description at every call: without names it copies half as
/// much (measured: a fifth off an evaluation).
fn slim(program: &mut Program) {
    for info in &mut program.rule_infos {
        info.name = String::new();
        if let Some(function) = &mut info.function_info {
            function.param_names = Vec::new();
        }
        if info.destructuring_blocks.iter().all(Option::is_none) {
            info.destructuring_blocks = Vec::new();
        }
        if !info.else_bodies.iter().flatten().any(|is_else| *is_else) {
            info.else_bodies = Vec::new();
        }
    }
    program.sources = Vec::new();
    program.instruction_spans = Vec::new();
}

/// The builtins that a program calls, each once.
pub(super) fn called_builtins(program: &Program) -> HashSet<&str> {
    program.builtin_info_table.iter().map(|info| info.name.as_str()).collect()
}
