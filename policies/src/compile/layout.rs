//! Putting instructions into a program: everything that names a place in it moves along.

use std::collections::BTreeMap;

use regorus::Rc;
use regorus::rvm::Instruction;
use regorus::rvm::program::Program;

use super::PolicyFault;

/// A part that was put into a loop: its first instruction, the one behind its last, and the loop's parameters. The two
/// instructions that begin the loop are the first that are added before `begin`, the one that ends it is the only one before `end`.
pub(super) struct Wrapped {
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) params_index: u16,
}

/// Puts in what comes before which instruction. Who jumped to an instruction then jumps to what was put before it.
///
/// # Errors
/// When the program gets too long.
pub(super) fn insert(
    program: &mut Program,
    added: &BTreeMap<usize, Vec<Instruction>>,
    wrapped: &[Wrapped],
) -> Result<(), PolicyFault> {
    let mut places = Vec::with_capacity(program.instructions.len() + 1);
    let mut instructions = Vec::new();
    let mut spans = Vec::new();
    for (at, instruction) in program.instructions.iter().enumerate() {
        places.push(u16::try_from(instructions.len()).map_err(|_| too_long())?);
        let span = program.get_instruction_span(at);
        for one in added.get(&at).into_iter().flatten().chain([instruction]) {
            instructions.push(*one);
            spans.push(span.cloned());
        }
    }
    places.push(u16::try_from(instructions.len()).map_err(|_| too_long())?);
    let moved = |at: u16| places.get(usize::from(at)).copied().unwrap_or(u16::MAX);
    let moved_wide = |at: u32| u16::try_from(at).map_or(u32::MAX, |at| u32::from(moved(at)));
    for instruction in &mut instructions {
        if let Instruction::LoopNext { body_start, loop_end } = instruction {
            (*body_start, *loop_end) = (moved(*body_start), moved(*loop_end));
        }
    }
    for params in &mut program.instruction_data.loop_params {
        (params.body_start, params.loop_end) = (moved(params.body_start), moved(params.loop_end));
    }
    for params in &mut program.instruction_data.comprehension_begin_params {
        params.body_start = moved(params.body_start);
        params.comprehension_end = moved(params.comprehension_end);
    }
    for one in wrapped {
        let at = |place: usize| places.get(place).copied().unwrap_or(u16::MAX);
        let (body_start, loop_end) = (at(one.begin).saturating_add(2), at(one.end).saturating_add(1));
        program.update_loop_params(one.params_index, |params| {
            (params.body_start, params.loop_end) = (body_start, loop_end);
        });
        if let Some(last) = instructions.get_mut(usize::from(loop_end - 1)) {
            *last = Instruction::LoopNext { body_start, loop_end };
        }
    }
    for info in &mut program.rule_infos {
        let bodies = |bodies: &Vec<u32>| bodies.iter().map(|start| moved_wide(*start)).collect();
        info.definitions = Rc::new(info.definitions.iter().map(bodies).collect());
        for block in info.destructuring_blocks.iter_mut().flatten() {
            *block = moved_wide(*block);
        }
    }
    for place in program.entry_points.values_mut() {
        *place = places.get(*place).copied().map_or(usize::MAX, usize::from);
    }
    program.instructions = instructions;
    program.instruction_spans = spans;
    Ok(())
}

fn too_long() -> PolicyFault {
    PolicyFault::everywhere("the policy compiles to too many instructions")
}
