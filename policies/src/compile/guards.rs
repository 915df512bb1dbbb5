//! What Rego says and the compiler's program leaves out, put into the program.
//!
//! - Two values for a rule, a function's call or a key of an object are an error. The machine makes the rule undefined, or takes
//!   the last value.
//! - `else` is tried when a loop before it finds nothing. The machine takes a loop that ends for a result.
//! - A condition in a comprehension ends nothing but the comprehension. The machine looks for a loop around it first, and
//!   without one leaves the comprehension open.
//! - What a loop loads is loaded when the loop takes no turn. The machine's compiler loads `input` once, where it stands first.
//! - `x := something undefined` fails, and comprehensions and objects have no undefined elements. The machine goes on.
//! - A verdict whose text cannot be put together is an error, see [`super::failure`].

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::rvm::Instruction;
use regorus::rvm::instructions::{
    BuiltinCallParams, ComprehensionMode, GuardMode, LoopMode, LoopStartParams,
};
use regorus::rvm::program::{BuiltinInfo, Program, RuleType};

use super::PolicyFault;
use super::agreement::{AGREE, ENTER, PRESENT, SETTLE, place};
use super::flow::Windows;
use super::layout;
use super::text::made_text;

/// Registers that the inserted instructions of a rule share: none of them needs one for longer than its own few.
const SCRATCH: u8 = 3;

/// Puts what is missing into a program.
///
/// # Errors
/// When there is no room left for it.
pub(super) fn insert(program: &mut Program) -> Result<(), PolicyFault> {
    let windows = Windows::of(program);
    let loops = loops_around(program);
    let contested = contested(program, &windows, &loops);
    let mut guards = Guards {
        program,
        windows: &windows,
        added: BTreeMap::new(),
        wrapped: Vec::new(),
        used: BTreeSet::new(),
    };
    guards.load_first(&loops);
    guards.around_comprehensions(&loops)?;
    guards.at_results(&loops, &contested)?;
    guards.at_keys()?;
    guards.at_verdicts_and_variables()?;
    guards.before_else()?;
    let Guards { added, wrapped, used, .. } = guards;
    for rule in used {
        let Some(info) = program.rule_infos.get_mut(rule) else { continue };
        info.num_registers = info.num_registers.saturating_add(SCRATCH);
        program.max_rule_window_size = program.max_rule_window_size.max(info.num_registers);
    }
    layout::insert(program, &added, &wrapped)
}

/// How many loops are around each instruction.
fn loops_around(program: &Program) -> Vec<usize> {
    let length = program.instructions.len();
    let mut changes = vec![0_isize; length + 1];
    for instruction in &program.instructions {
        let Instruction::LoopStart { params_index } = *instruction else { continue };
        let Some(params) = program.instruction_data.get_loop_params(params_index) else { continue };
        for (at, change) in [(params.body_start, 1), (params.loop_end, -1)] {
            if let Some(slot) = changes.get_mut(usize::from(at)) {
                *slot += change;
            }
        }
    }
    let mut depth = 0_isize;
    let depths = changes.iter().take(length).map(|change| {
        depth += change;
        usize::try_from(depth).unwrap_or(0)
    });
    depths.collect()
}

/// The rules whose results can contradict each other: several definitions that are not all the same constant, or a loop.
fn contested(program: &Program, windows: &Windows, loops: &[usize]) -> BTreeSet<usize> {
    let mut contested = BTreeSet::new();
    for (rule, info) in program.rule_infos.iter().enumerate() {
        let several = info.definitions.len() > 1 && !info.early_exit_on_first_success;
        if info.rule_type == RuleType::Complete && several {
            contested.insert(rule);
        }
    }
    for (at, instruction) in program.instructions.iter().enumerate() {
        let rule = windows.rule_at(at);
        let Some(info) = program.rule_infos.get(rule) else { continue };
        let Instruction::Move { dest, src } = *instruction else { continue };
        let result = dest == info.result_reg && info.rule_type == RuleType::Complete;
        if result && loops.get(at).is_some_and(|depth| *depth > 0) && !is_constant(program, at, src) {
            contested.insert(rule);
        }
    }
    contested
}

/// Whether the instruction before loads a constant into the register.
fn is_constant(program: &Program, at: usize, register: u8) -> bool {
    let before = at.checked_sub(1).and_then(|before| program.instructions.get(before));
    matches!(
        before,
        Some(
            Instruction::Load { dest, .. }
                | Instruction::LoadBool { dest, .. }
                | Instruction::LoadTrue { dest }
                | Instruction::LoadFalse { dest }
                | Instruction::LoadNull { dest }
        ) if *dest == register
    )
}

/// A condition that a register holds something.
fn defined(register: u8) -> Instruction {
    Instruction::Guard { register, mode: GuardMode::NotUndefined }
}

struct Guards<'a> {
    program: &'a mut Program,
    windows: &'a Windows,
    /// What comes before which instruction.
    added: BTreeMap<usize, Vec<Instruction>>,
    wrapped: Vec<layout::Wrapped>,
    /// Rules with instructions that need the scratch registers.
    used: BTreeSet<usize>,
}

impl Guards<'_> {
    fn add(&mut self, at: usize, instructions: impl IntoIterator<Item = Instruction>) {
        self.added.entry(at).or_default().extend(instructions);
    }

    /// The scratch registers of the rule around an instruction.
    fn scratch(&mut self, at: usize) -> Result<[u8; 3], PolicyFault> {
        let rule = self.windows.rule_at(at);
        let first = self.program.rule_infos.get(rule).map_or(u8::MAX, |info| info.num_registers);
        let registers = [Some(first), first.checked_add(1), first.checked_add(SCRATCH - 1)];
        let [Some(first), Some(second), Some(third)] = registers else {
            return Err(PolicyFault::everywhere("the rule is too large: split it"));
        };
        self.used.insert(rule);
        Ok([first, second, third])
    }

    fn literal(&mut self, value: Value) -> Result<u16, PolicyFault> {
        u16::try_from(self.program.add_literal(value))
            .map_err(|_| PolicyFault::everywhere("the policy has too many constants"))
    }

    fn line(&self, at: usize) -> Option<u32> {
        let span = self.program.get_instruction_span(at)?;
        u32::try_from(span.line).ok()
    }

    /// Loads the place of an instruction, and calls a function with it and more.
    fn call(
        &mut self,
        name: &str,
        (rule, at): (usize, usize),
        args: &[u8],
    ) -> Result<[Instruction; 2], PolicyFault> {
        let [_, dest, loaded] = self.scratch(at)?;
        let literal_idx = self.literal(place(rule, self.line(at)))?;
        let known = self.program.builtin_info_table.iter().position(|info| info.name == name);
        let count = u8::try_from(args.len()).unwrap_or(0).saturating_add(1);
        let builtin_index = match known.and_then(|index| u16::try_from(index).ok()) {
            Some(index) => index,
            None => self
                .program
                .add_builtin_info(BuiltinInfo { name: name.to_owned(), num_args: u16::from(count) }),
        };
        let mut registers = [0; 8];
        for (slot, register) in registers.iter_mut().zip(std::iter::once(&loaded).chain(args)) {
            *slot = *register;
        }
        let params = BuiltinCallParams { dest, builtin_index, num_args: count, args: registers };
        let params_index = self.program.add_builtin_call_params(params);
        Ok([Instruction::Load { dest: loaded, literal_idx }, Instruction::BuiltinCall { params_index }])
    }

    /// Loads `input` and `data` at the beginning of bodies that load them in a loop or a comprehension only.
    fn load_first(&mut self, loops: &[usize]) {
        let definitions = self.program.rule_infos.iter().flat_map(|info| info.definitions.iter().flatten());
        let starts: Vec<usize> = definitions.filter_map(|start| usize::try_from(*start).ok()).collect();
        for start in starts {
            let mut comprehensions = 0_usize;
            let mut loads = Vec::new();
            let body = self.program.instructions.iter().enumerate().skip(start);
            for (at, instruction) in body.take_while(|(_, one)| !matches!(one, Instruction::RuleReturn {})) {
                match instruction {
                    Instruction::ComprehensionBegin { .. } => comprehensions += 1,
                    Instruction::ComprehensionEnd {} => comprehensions = comprehensions.saturating_sub(1),
                    Instruction::LoadInput { .. } | Instruction::LoadData { .. }
                        if comprehensions > 0 || loops.get(at) != Some(&0) =>
                    {
                        loads.push(*instruction);
                    }
                    _ => {}
                }
            }
            self.add(start + 1, loads);
        }
    }

    /// Puts a loop of one turn into comprehensions in which something outside of their own loops may fail: that ends the turn.
    fn around_comprehensions(&mut self, loops: &[usize]) -> Result<(), PolicyFault> {
        let mut open: Vec<(usize, bool)> = Vec::new();
        for at in 0..self.program.instructions.len() {
            use Instruction as I;
            match self.program.instructions.get(at) {
                Some(I::ComprehensionBegin { .. }) => open.push((at, false)),
                Some(I::ComprehensionEnd {}) => {
                    if let Some((begin, true)) = open.pop() {
                        self.wrap(begin + 1, at)?;
                    }
                }
                Some(
                    I::Guard { .. } | I::AssertEq { .. } | I::Move { .. } | I::ComprehensionYield { .. },
                ) => {
                    if let Some((begin, may_fail)) = open.last_mut() {
                        *may_fail |= loops.get(at) == loops.get(*begin);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn wrap(&mut self, begin: usize, end: usize) -> Result<(), PolicyFault> {
        let [turn, result, once] = self.scratch(begin)?;
        let literal_idx = self.literal(Value::from(vec![Value::Bool(true)]))?;
        let params_index = self.program.add_loop_params(LoopStartParams {
            mode: LoopMode::ForEach,
            collection: once,
            key_reg: turn,
            value_reg: turn,
            result_reg: result,
            body_start: 0,
            loop_end: 0,
        });
        self.add(
            begin,
            [Instruction::Load { dest: once, literal_idx }, Instruction::LoopStart { params_index }],
        );
        self.add(end, [Instruction::LoopNext { body_start: 0, loop_end: 0 }]);
        self.wrapped.push(layout::Wrapped { begin, end, params_index });
        Ok(())
    }

    fn at_results(&mut self, loops: &[usize], contested: &BTreeSet<usize>) -> Result<(), PolicyFault> {
        for at in 0..self.program.instructions.len() {
            let rule = self.windows.rule_at(at);
            match self.program.instructions.get(at).copied() {
                Some(Instruction::Move { dest, src }) if contested.contains(&rule) => {
                    let Some(info) = self.program.rule_infos.get(rule) else { continue };
                    let alone = info.definitions.len() == 1 && loops.get(at) == Some(&0);
                    if dest == info.result_reg && !alone {
                        let call = self.call(SETTLE, (rule, at), &[src])?;
                        self.add(at, call);
                    }
                }
                Some(Instruction::FunctionCall { params_index }) => {
                    let tables = &self.program.instruction_data;
                    let callee =
                        tables.get_function_call_params(params_index).map(|params| params.func_rule_index);
                    let callee = callee.map(usize::from).filter(|callee| contested.contains(callee));
                    if let Some(callee) = callee {
                        let call = self.call(ENTER, (callee, at), &[])?;
                        self.add(at, call);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn at_keys(&mut self) -> Result<(), PolicyFault> {
        let mut open: Vec<Option<u8>> = Vec::new();
        for at in 0..self.program.instructions.len() {
            let set = match self.program.instructions.get(at).copied() {
                Some(Instruction::ComprehensionBegin { params_index }) => {
                    let tables = &self.program.instruction_data;
                    let params = tables.get_comprehension_begin_params(params_index);
                    let object = params.filter(|params| matches!(params.mode, ComprehensionMode::Object));
                    open.push(object.map(|params| params.result_reg));
                    None
                }
                Some(Instruction::ComprehensionEnd {}) => {
                    open.pop();
                    None
                }
                Some(Instruction::ComprehensionYield { value_reg, key_reg: Some(key) }) => {
                    open.last().copied().flatten().map(|object| (object, key, value_reg))
                }
                Some(Instruction::ComprehensionYield { value_reg, key_reg: None }) => {
                    if !is_constant(self.program, at, value_reg) {
                        self.add(at, [defined(value_reg)]);
                    }
                    None
                }
                Some(Instruction::ObjectSet { obj, key, value }) => Some((obj, key, value)),
                _ => None,
            };
            if let Some((container, key, value)) = set {
                let [old, ..] = self.scratch(at)?;
                self.add(at, [key, value].map(defined));
                let call = self.call(AGREE, (self.windows.rule_at(at), at), &[old, value])?;
                self.add(at, [Instruction::Index { dest: old, container, key }]);
                self.add(at, call);
            }
        }
        Ok(())
    }

    /// A verdict must be there when all its conditions hold, and a variable when it has been assigned; only those that the
    /// texts of verdicts are made of wait for the verdict.
    fn at_verdicts_and_variables(&mut self) -> Result<(), PolicyFault> {
        let mut waiting = BTreeSet::new();
        for at in 0..self.program.instructions.len() {
            let Some(Instruction::SetAdd { value, .. }) = self.program.instructions.get(at).copied() else {
                continue;
            };
            if let Some(copies) = made_text(self.program, self.windows, at, value) {
                waiting.extend(copies);
                let [missing, ..] = self.scratch(at)?;
                let call = self.call(PRESENT, (self.windows.rule_at(at), at), &[missing])?;
                self.add(at, [Instruction::Not { dest: missing, operand: value }]);
                self.add(at, call);
            }
        }
        for at in (0..self.program.instructions.len()).filter(|at| !waiting.contains(at)) {
            let Some(Instruction::Move { dest, src }) = self.program.instructions.get(at).copied() else {
                continue;
            };
            let info = self.program.rule_infos.get(self.windows.rule_at(at));
            if info.is_some_and(|info| info.result_reg != dest) && !is_constant(self.program, at, src) {
                self.add(at, [defined(src)]);
            }
        }
        Ok(())
    }

    /// A body whose loops gave no result has failed, so that the next one is tried.
    fn before_else(&mut self) -> Result<(), PolicyFault> {
        let mut with_else = BTreeSet::new();
        for info in &self.program.rule_infos {
            for bodies in info.definitions.iter().filter(|_| info.rule_type == RuleType::Complete) {
                with_else
                    .extend(bodies.iter().rev().skip(1).filter_map(|start| usize::try_from(*start).ok()));
            }
        }
        for start in with_else {
            let body = self.program.instructions.iter().enumerate().skip(start);
            let end =
                body.clone().find(|(_, one)| matches!(one, Instruction::RuleReturn {})).map(|(at, _)| at);
            let Some(end) = end else { continue };
            let result =
                self.program.rule_infos.get(self.windows.rule_at(start)).map_or(0, |info| info.result_reg);
            self.add(end, [defined(result)]);
        }
        Ok(())
    }
}
