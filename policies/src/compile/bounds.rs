//! What a program must not be able to do, proved before it ever runs.
//!
//! The machine counts instructions, so what is left to prove is that no single instruction, and no stack of calls, does
//! much by itself: rules do not call themselves, calls do not nest deep, collections written out in a loop are small, and
//! values that are compared to any depth are not shared so often that comparing them never ends.

use regorus::Value;
use regorus::rvm::program::Program;

use super::flow::Flow;
use super::{PolicyFault, agreement, builtins};

/// Deepest chain of rules calling rules. Each takes a few kilobytes of the worker's stack.
const MAX_CALL_DEPTH: usize = 32;

/// Largest array, set or object that is written out where it may be made again and again.
const MAX_WIDTH: usize = 128;

/// Levels (`Held::level`) of what may be compared: two comprehensions in one another, of small values.
const MAX_COMPARED_LEVEL: u8 = 4;

/// Levels of what may stand in a set or be a key. Sets compare many times for each element.
const MAX_ORDERED_LEVEL: u8 = 3;

/// Most instructions of a program: the machine's own bound is 65 535.
const MAX_INSTRUCTIONS: usize = 20_000;

/// Every way in which a program is out of bounds.
pub(super) fn faults(program: &Program, flow: &Flow) -> Vec<PolicyFault> {
    let mut faults = Vec::new();
    if program.instructions.len() > MAX_INSTRUCTIONS {
        let message = format!("the policy compiles to more than {MAX_INSTRUCTIONS} instructions");
        faults.push(PolicyFault::everywhere(message));
    }
    for (index, info) in program.builtin_info_table.iter().enumerate() {
        if !builtins::is_allowed(&info.name) && agreement::named(&info.name).is_none() {
            faults.push(fault_at(program, call_of_builtin(program, index), refused_builtin(&info.name)));
        }
    }
    for at in &flow.foreign {
        let message =
            "this form is not supported; a reference into `data` that can reach rules must name the rule";
        faults.push(fault_at(program, Some(*at), message));
    }
    for (at, level) in &flow.compared {
        if *level > MAX_COMPARED_LEVEL {
            faults.push(fault_at(
                program,
                Some(*at),
                "collections of collections this deep cannot be compared",
            ));
        }
    }
    for (at, level) in &flow.ordered {
        if *level > MAX_ORDERED_LEVEL {
            let message = "collections of collections cannot be elements of sets or keys of objects";
            faults.push(fault_at(program, Some(*at), message));
        }
    }
    faults.extend(call_faults(program, flow));
    faults.extend(wide_faults(program));
    faults.dedup();
    faults
}

/// How many values a document holds.
pub(super) fn count_values(document: &Value) -> usize {
    let mut count = 0_usize;
    let mut open = vec![document];
    while let Some(value) = open.pop() {
        count += 1;
        match value {
            Value::Array(items) => open.extend(items.iter()),
            Value::Object(fields) => open.extend(fields.values()),
            _ => {}
        }
    }
    count
}

fn refused_builtin(name: &str) -> String {
    let instead = match name {
        "time.now_ns" => ": use input.time, so that decisions can be explained and replayed later",
        "rand.intn" | "uuid.rfc4122" | "opa.runtime" => ": a decision depends on nothing but its input",
        "net.cidr_expand" => ": use net.cidr_contains",
        "http.send" => ": policies reach nothing outside; put what they need into `data`",
        "print" | "trace" => ": it has no effect",
        _ => "",
    };
    format!("the function {name} is not available to policies{instead}")
}

fn call_of_builtin(program: &Program, index: usize) -> Option<usize> {
    use regorus::rvm::Instruction;
    program.instructions.iter().position(|instruction| {
        let Instruction::BuiltinCall { params_index } = *instruction else { return false };
        let params = program.instruction_data.get_builtin_call_params(params_index);
        params.is_some_and(|params| usize::from(params.builtin_index) == index)
    })
}

/// Rules that call themselves, or call too deep.
fn call_faults(program: &Program, flow: &Flow) -> Vec<PolicyFault> {
    let mut depth: Vec<Option<usize>> = vec![None; flow.calls.len()];
    let mut faults = Vec::new();
    for start in 0..flow.calls.len() {
        let mut path = Vec::new();
        if let Err((at, message)) = call_depth(flow, start, &mut path, &mut depth) {
            faults.push(fault_at(program, at, message));
            break;
        }
    }
    faults
}

/// The longest chain of calls from a rule on, remembered in `known`.
fn call_depth(
    flow: &Flow,
    rule: usize,
    path: &mut Vec<usize>,
    known: &mut Vec<Option<usize>>,
) -> Result<usize, (Option<usize>, &'static str)> {
    if let Some(depth) = known.get(rule).copied().flatten() {
        return Ok(depth);
    }
    path.push(rule);
    let mut deepest = 0;
    for (callee, at) in flow.calls.get(rule).into_iter().flatten() {
        if path.contains(callee) {
            return Err((Some(*at), "rules must not call themselves, not even through others"));
        }
        if path.len() > MAX_CALL_DEPTH {
            return Err((Some(*at), "rules call rules too deep"));
        }
        deepest = deepest.max(1 + call_depth(flow, *callee, path, known)?);
    }
    path.pop();
    if deepest > MAX_CALL_DEPTH {
        return Err((None, "rules call rules too deep"));
    }
    if let Some(slot) = known.get_mut(rule) {
        *slot = Some(deepest);
    }
    Ok(deepest)
}

/// Collections written out that are too large to be made in a loop.
fn wide_faults(program: &Program) -> Vec<PolicyFault> {
    use regorus::rvm::Instruction as I;
    let tables = &program.instruction_data;
    let wide = program.instructions.iter().enumerate().filter(|(_, instruction)| {
        let width = match **instruction {
            I::ArrayCreate { params_index } => {
                tables.array_create_params.get(usize::from(params_index)).map(|params| params.element_count())
            }
            I::SetCreate { params_index } => {
                tables.set_create_params.get(usize::from(params_index)).map(|params| params.element_count())
            }
            I::ObjectCreate { params_index } => {
                tables.get_object_create_params(params_index).map(|params| params.field_count())
            }
            _ => None,
        };
        width.is_some_and(|width| width > MAX_WIDTH)
    });
    let message = format!("more than {MAX_WIDTH} parts in one array, set or object: move it into `data`");
    wide.map(|(at, _)| fault_at(program, Some(at), message.as_str())).collect()
}

/// A fault at the place in the text that an instruction comes from.
pub(super) fn fault_at(program: &Program, at: Option<usize>, message: impl Into<String>) -> PolicyFault {
    let span = at.and_then(|at| program.get_instruction_span(at));
    match span.map(|span| (u32::try_from(span.line), u32::try_from(span.column))) {
        Some((Ok(line), Ok(column))) => PolicyFault::at(line, column, message),
        _ => PolicyFault::everywhere(message),
    }
}
