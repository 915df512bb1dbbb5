//! What is allowed but probably not meant, or slow.

use std::collections::HashSet;

use regorus::rvm::Instruction;
use regorus::rvm::program::{Program, RuleInfo, RuleType};

use super::bounds::fault_at;
use super::flow::{Flow, Windows};
use super::module::called_builtins;
use super::{PolicyFault, text};

/// Functions that cost as much as a small policy each, and what does the same for less. Measured: a prefix test takes a
/// tenth of a microsecond, a regex 3 us, a glob 8 us.
const SLOW: [(&str, &str); 6] = [
    (
        "glob.match",
        "glob.match takes several microseconds a call: startswith or endswith is many times cheaper",
    ),
    (
        "regex.match",
        "regex.match takes several microseconds a call: startswith, endswith or contains is cheaper",
    ),
    ("regex.replace", "regex.replace takes several microseconds a call"),
    ("regex.split", "regex.split takes several microseconds a call"),
    ("regex.find_n", "regex.find_n takes several microseconds a call"),
    ("json.unmarshal", "json.unmarshal parses anew for each request: put the document into `data`"),
];

/// Warnings about a program.
pub(super) fn warnings(program: &Program, flow: &Flow) -> Vec<PolicyFault> {
    let mut warnings = Vec::new();
    for (at, path) in &flow.unknown {
        let message = format!("input.{path} does not exist, so that what asks for it is never true");
        warnings.push(fault_at(program, Some(*at), message));
    }
    warnings.extend(uncertain_texts(program));
    warnings.extend(several_values(program));
    let called = called_builtins(program);
    for (name, message) in SLOW {
        if called.contains(name) {
            warnings.push(fault_at(program, call_of(program, name), message));
        }
    }
    if let Some(at) = iteration_over_data(program) {
        let message =
            "goes through all of a list in `data` for each request: an object with keys is found at once";
        warnings.push(fault_at(program, Some(at), message));
    }
    if flow.reads.is_unique() {
        let message =
            "reads the exact time, so that no decision can be remembered: minute_ns, hour or date can be";
        warnings.push(PolicyFault::everywhere(message));
    }
    warnings
}

/// Verdicts whose text may be undefined, in which case they are none.
fn uncertain_texts(program: &Program) -> Vec<PolicyFault> {
    let windows = Windows::of(program);
    let added = program.instructions.iter().enumerate().filter_map(|(at, instruction)| match *instruction {
        Instruction::SetAdd { value, .. } => Some((at, text::uncertain_path(program, &windows, at, value)?)),
        _ => None,
    });
    let fault = |(at, path)| {
        let message = format!(
            "the text of this verdict may be undefined, since it is made of input.{path}: use object.get with a default"
        );
        fault_at(program, Some(at), message)
    };
    added.map(fault).collect()
}

/// Rules whose definitions may contradict each other.
fn several_values(program: &Program) -> Vec<PolicyFault> {
    let open = program.rule_infos.iter().filter(|info| {
        let several = info.definitions.len() > 1 && !info.early_exit_on_first_success;
        info.rule_type == RuleType::Complete && info.function_info.is_none() && several
    });
    let fault = |info: &RuleInfo| {
        let name = info.name.rsplit('.').next().unwrap_or_default();
        let message = format!(
            "`{name}` has several definitions: the policy fails for requests for which two hold and differ; `else` decides which one counts"
        );
        let start = info.definitions.last().and_then(|bodies| bodies.first());
        fault_at(program, start.and_then(|start| usize::try_from(*start).ok()), message)
    };
    open.map(fault).collect()
}

fn call_of(program: &Program, name: &str) -> Option<usize> {
    program.instructions.iter().position(|instruction| {
        let Instruction::BuiltinCall { params_index } = *instruction else { return false };
        let params = program.instruction_data.get_builtin_call_params(params_index);
        let info = params.and_then(|params| program.get_builtin_info(params.builtin_index));
        info.is_some_and(|info| info.name == name)
    })
}

/// A loop over something that was looked up in `data` just before.
fn iteration_over_data(program: &Program) -> Option<usize> {
    let tables = &program.instruction_data;
    let windows = Windows::of(program);
    let mut window = 0;
    let mut from_data: HashSet<u8> = HashSet::new();
    for (at, instruction) in program.instructions.iter().enumerate() {
        // Registers of one rule say nothing of those of the next.
        if std::mem::replace(&mut window, windows.window_at(at)) != windows.window_at(at) {
            from_data.clear();
        }
        let (dest, yes) = match *instruction {
            Instruction::LoadData { dest } => (dest, true),
            Instruction::LoadInput { dest } | Instruction::Load { dest, .. } => (dest, false),
            Instruction::IndexLiteral { dest, container, .. }
            | Instruction::Index { dest, container, .. } => (dest, from_data.contains(&container)),
            Instruction::ChainedIndex { params_index } => {
                let Some(params) = tables.get_chained_index_params(params_index) else { continue };
                (params.dest, from_data.contains(&params.root))
            }
            Instruction::LoopStart { params_index } => {
                let collection = tables.get_loop_params(params_index).map(|params| params.collection);
                if collection.is_some_and(|collection| from_data.contains(&collection)) {
                    return Some(at);
                }
                continue;
            }
            _ => continue,
        };
        if yes {
            from_data.insert(dest);
        } else {
            from_data.remove(&dest);
        }
    }
    None
}
