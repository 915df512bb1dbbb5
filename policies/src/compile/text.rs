//! Where the texts of verdicts come from.

use std::collections::BTreeSet;

use regorus::Value;
use regorus::rvm::Instruction;
use regorus::rvm::instructions::LiteralOrRegister;
use regorus::rvm::program::Program;

use super::flow::Windows;
use super::step::{Effect, effect};
use crate::input::FieldSet;

/// Steps back from a verdict that are looked at.
const MAX_STEPS: usize = 64;

/// The field that makes an object a verdict.
const MESSAGE: &str = "message";

/// If the register holds a verdict with a text that a function makes: the copies of results of functions that the text is made
/// of.
pub(super) fn made_text(
    program: &Program,
    windows: &Windows,
    at: usize,
    register: u8,
) -> Option<BTreeSet<usize>> {
    let texts = verdict_texts(program, windows, at, register);
    let mut copies = BTreeSet::new();
    let mut made = false;
    let mut open = texts;
    for _ in 0..MAX_STEPS {
        let Some((at, register)) = open.pop() else { break };
        let mut passed = Vec::new();
        match source_through(program, windows, at, register, &mut passed) {
            Some((at, Effect::Builtin { args, .. })) => {
                made = true;
                copies.extend(passed);
                open.extend(args.into_iter().map(|arg| (at, arg)));
            }
            Some((at, Effect::Build { parts, .. })) => open.extend(parts.into_iter().map(|part| (at, part))),
            _ => {}
        }
    }
    made.then_some(copies)
}

/// Paths below `input` that a verdict's texts are made of and that need not be there: labels, budgets.
pub(super) fn uncertain_path(
    program: &Program,
    windows: &Windows,
    at: usize,
    register: u8,
) -> Option<String> {
    let mut open = verdict_texts(program, windows, at, register);
    for _ in 0..MAX_STEPS {
        let (at, register) = open.pop()?;
        match source(program, windows, at, register) {
            Some((at, Effect::Builtin { name, args, .. })) if name != "object.get" => {
                open.extend(args.into_iter().map(|arg| (at, arg)));
            }
            Some((at, Effect::Build { parts, .. })) => open.extend(parts.into_iter().map(|part| (at, part))),
            Some((at, Effect::Look { container, path, .. })) => {
                let from_input =
                    matches!(source(program, windows, at, container), Some((_, Effect::Input { .. })));
                let names: Option<Vec<String>> = path.iter().map(|step| name(program, step)).collect();
                match names {
                    Some(names) if from_input && (names.len() > 2 || FieldSet::below(&names).is_none()) => {
                        return Some(names.join("."));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    None
}

fn name(program: &Program, step: &LiteralOrRegister) -> Option<String> {
    let LiteralOrRegister::Literal(index) = step else { return None };
    match program.literals.get(usize::from(*index)) {
        Some(Value::String(name)) => Some(name.to_string()),
        _ => None,
    }
}

/// The registers of a verdict's fields, and where they are put together; none if it is no verdict.
fn verdict_texts(program: &Program, windows: &Windows, at: usize, register: u8) -> Vec<(usize, u8)> {
    let Some((at, Effect::Build { .. })) = source(program, windows, at, register) else { return Vec::new() };
    let Some(Instruction::ObjectCreate { params_index }) = program.instructions.get(at) else {
        return Vec::new();
    };
    let Some(params) = program.instruction_data.get_object_create_params(*params_index) else {
        return Vec::new();
    };
    let fields = params.literal_key_field_pairs();
    let is_message = |(key, _): &(u16, u8)| {
        program.literals.get(usize::from(*key)).is_some_and(|key| *key == Value::from(MESSAGE))
    };
    if !fields.iter().any(is_message) {
        return Vec::new();
    }
    fields.iter().map(|(_, register)| (at, *register)).collect()
}

/// The instruction that made what a register holds, through copies of it.
fn source<'p>(
    program: &'p Program,
    windows: &Windows,
    at: usize,
    register: u8,
) -> Option<(usize, Effect<'p>)> {
    source_through(program, windows, at, register, &mut Vec::new())
}

/// The same, and which copies it went through.
fn source_through<'p>(
    program: &'p Program,
    windows: &Windows,
    at: usize,
    register: u8,
    copies: &mut Vec<usize>,
) -> Option<(usize, Effect<'p>)> {
    let (mut at, mut register) = (at, register);
    for _ in 0..MAX_STEPS {
        let (place, made) = written(program, windows, at, register)?;
        let Effect::Copy { from, .. } = made else { return Some((place, made)) };
        copies.push(place);
        (at, register) = (place, from);
    }
    None
}

/// The last instruction before `at` in the same definition that writes a register.
fn written<'p>(
    program: &'p Program,
    windows: &Windows,
    at: usize,
    register: u8,
) -> Option<(usize, Effect<'p>)> {
    let window = windows.window_at(at);
    let before = program.instructions.get(..at)?.iter().enumerate().rev();
    let own = before.take_while(|(place, _)| windows.window_at(*place) == window);
    own.map(|(place, instruction)| (place, effect(program, instruction)))
        .find(|(_, made)| made.dest() == Some(register))
}
