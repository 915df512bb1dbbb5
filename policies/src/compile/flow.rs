//! What flows through a compiled program: which fields of `input` it reads, how much its values may share, who calls whom.
//!
//! The analysis is on the program that runs, not on its text, so that aliases, imports and arguments need no rules of
//! their own: a register may hold `input`, one of its objects, or neither, and whatever is done with such a register other
//! than looking up a constant name counts as reading all of it. Registers are followed without regard to order, which
//! can only add to what is found.

use std::collections::{BTreeSet, HashMap};

use regorus::Value;
use regorus::rvm::Instruction;
use regorus::rvm::instructions::LiteralOrRegister;
use regorus::rvm::program::{Program, RuleType};

use super::builtins;
use super::step::{Effect, effect};
use crate::input::FieldSet;

/// Registers of a window: their numbers are bytes.
const REGISTERS: usize = 256;

/// Levels above this are not told apart.
const MAX_LEVEL: u8 = 16;

/// Data with more values than this adds a level: a copy of it is worth many.
const SMALL_DATA_VALUES: usize = 1_000;

/// Which part of `input` a register may hold: all of it, or the object of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Root,
    Group(&'static str),
}

/// The objects in `input` that have fields. Fields themselves are read when they are looked up.
const GROUPS: [&str; 3] = ["principal", "request", "time"];

/// What a register may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    parts: BTreeSet<Part>,
    /// How many constructed collections stand around its smallest parts: 1 for each array or object that is written out, 2
    /// for each comprehension or partial rule. What is shared can be worth that many multiplied sizes.
    level: u8,
}

impl Held {
    fn level(level: u8) -> Self {
        Self { parts: BTreeSet::new(), level: level.min(MAX_LEVEL) }
    }

    /// Takes the other in; whether that changed anything.
    fn join(&mut self, other: &Self) -> bool {
        let before = (self.parts.len(), self.level);
        self.parts.extend(other.parts.iter().copied());
        self.level = self.level.max(other.level).min(MAX_LEVEL);
        before != (self.parts.len(), self.level)
    }
}

/// What a program reads, and what it must not do.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The fields of `input` that can have to do with its result.
    pub(super) reads: FieldSet,
    /// Paths below `input` that do not exist, with the instruction that asks for them.
    pub(super) unknown: BTreeSet<(usize, String)>,
    /// Instructions that compare values of these levels.
    pub(super) compared: Vec<(usize, u8)>,
    /// Instructions that put values of these levels into sets, or among the keys of objects.
    pub(super) ordered: Vec<(usize, u8)>,
    /// Which rules each rule calls, and where.
    pub(super) calls: Vec<Vec<(usize, usize)>>,
    /// Instructions that this engine does not run.
    pub(super) foreign: Vec<usize>,
}

/// Analyses a program. `data_values`: how many values its data holds.
pub(super) fn analyse(program: &Program, data_values: usize) -> Flow {
    let windows = Windows::of(program);
    let rules = program.rule_infos.len() + 1;
    let mut analysis = Analysis {
        program,
        data_level: u8::from(data_values > SMALL_DATA_VALUES),
        held: vec![vec![Held::default(); REGISTERS]; windows.rule.len()],
        windows: &windows,
        changed: true,
        flow: Flow::default(),
    };
    // Levels are bounded and parts are few, so this ends.
    while analysis.changed {
        analysis.changed = false;
        analysis.flow = Flow { calls: vec![Vec::new(); rules], ..Flow::default() };
        let mut comprehensions = Vec::new();
        for (at, (instruction, window)) in program.instructions.iter().zip(&windows.at).enumerate() {
            analysis.step(at, *window, instruction, &mut comprehensions);
        }
    }
    analysis.flow
}

/// Where registers are the same ones. The machine clears them between the definitions of a rule, but for the result and
/// the arguments, so that each definition counts as a window of its own.
pub(super) struct Windows {
    /// Of each instruction.
    at: Vec<usize>,
    /// The rule of each window; one more than there are rules for what runs outside of rules.
    rule: Vec<usize>,
    /// The windows of each rule.
    of: Vec<Vec<usize>>,
}

impl Windows {
    /// The rule that an instruction belongs to; the number of rules outside of all.
    pub(super) fn rule_at(&self, at: usize) -> usize {
        self.rule.get(self.window_at(at)).copied().unwrap_or(usize::MAX)
    }

    /// The window of an instruction.
    pub(super) fn window_at(&self, at: usize) -> usize {
        self.at.get(at).copied().unwrap_or(0)
    }

    pub(super) fn of(program: &Program) -> Self {
        let outside = program.rule_infos.len();
        let mut windows = Self { at: Vec::new(), rule: vec![outside], of: vec![Vec::new(); outside] };
        let mut starts: HashMap<usize, usize> = HashMap::new();
        for (rule, (info, own)) in program.rule_infos.iter().zip(&mut windows.of).enumerate() {
            for (definition, bodies) in info.definitions.iter().enumerate() {
                let window = windows.rule.len();
                windows.rule.push(rule);
                own.push(window);
                let destructuring = info.destructuring_blocks.get(definition).copied().flatten();
                for start in bodies.iter().copied().chain(destructuring) {
                    starts.insert(usize::try_from(start).unwrap_or(usize::MAX), window);
                }
            }
        }
        let mut window = 0;
        for (at, instruction) in program.instructions.iter().enumerate() {
            window = starts.get(&at).copied().unwrap_or(window);
            windows.at.push(window);
            if matches!(instruction, Instruction::Return { .. } | Instruction::Halt {}) {
                window = 0;
            }
        }
        windows
    }
}

struct Analysis<'p> {
    program: &'p Program,
    windows: &'p Windows,
    data_level: u8,
    held: Vec<Vec<Held>>,
    changed: bool,
    flow: Flow,
}

impl Analysis<'_> {
    fn step(
        &mut self,
        at: usize,
        frame: usize,
        instruction: &Instruction,
        comprehensions: &mut Vec<(u8, bool)>,
    ) {
        match effect(self.program, instruction) {
            Effect::Nothing => {}
            Effect::Foreign => self.flow.foreign.push(at),
            Effect::Input { dest } => {
                let root = Held { parts: BTreeSet::from([Part::Root]), level: 0 };
                self.write(frame, dest, &root);
            }
            Effect::Data { dest } => self.write(frame, dest, &Held::level(self.data_level)),
            Effect::Fresh { dest } => self.write(frame, dest, &Held::default()),
            Effect::Copy { dest, from } => {
                let held = self.at(frame, from).clone();
                self.write(frame, dest, &held);
            }
            Effect::Look { dest, container, path } => self.look(at, frame, (dest, container), &path),
            Effect::Scalar { dest, of } => {
                self.read_all(frame, &of);
                self.write(frame, dest, &Held::default());
            }
            Effect::Compare { dest, of } => {
                self.read_all(frame, &of);
                self.flow.compared.push((at, self.level(frame, &of)));
                if let Some(dest) = dest {
                    self.write(frame, dest, &Held::default());
                }
            }
            Effect::Find { dest, within, value } => {
                self.read_all(frame, &[within, value]);
                let sought = self.level(frame, &[value]);
                self.flow.compared.push((at, sought.max(self.level(frame, &[within]).saturating_sub(1))));
                self.write(frame, dest, &Held::default());
            }
            Effect::Build { dest, parts, ordered } => {
                self.read_all(frame, &parts);
                self.read_all(frame, &ordered);
                if !ordered.is_empty() {
                    self.flow.ordered.push((at, self.level(frame, &ordered)));
                }
                let level = self.level(frame, &parts).max(self.level(frame, &ordered));
                self.write(frame, dest, &Held::level(level.saturating_add(1)));
            }
            Effect::Gather { into, parts, ordered } => self.gather(at, frame, into, (&parts, &ordered)),
            Effect::Open { dest, ordered } => {
                comprehensions.push((dest, ordered));
                self.write(frame, dest, &Held::level(2));
            }
            Effect::Yield { value, key } => {
                let (into, is_set) = comprehensions.last().copied().unwrap_or((0, true));
                let ordered: Vec<u8> = key.into_iter().chain(is_set.then_some(value)).collect();
                self.gather(at, frame, into, (&[value], &ordered));
            }
            Effect::Close => {
                comprehensions.pop();
            }
            Effect::Iterate { collection, key, value } => {
                self.read_all(frame, &[collection]);
                let element = Held::level(self.level(frame, &[collection]));
                self.write(frame, key, &element);
                self.write(frame, value, &element);
            }
            Effect::Builtin { dest, name, args } => {
                self.read_all(frame, &args);
                let level = if builtins::is_scalar(name) { 0 } else { self.level(frame, &args) };
                self.write(frame, dest, &Held::level(level));
            }
            Effect::Call { dest, rule, args } => self.call(at, frame, (dest, rule), &args),
        }
    }

    /// Follows names into `input` as far as they are known.
    fn look(&mut self, at: usize, frame: usize, (dest, container): (u8, u8), path: &[LiteralOrRegister]) {
        let held = self.at(frame, container).clone();
        let mut found = Held::level(held.level);
        for part in &held.parts {
            let mut names: Vec<String> = match part {
                Part::Root => Vec::new(),
                Part::Group(name) => vec![(*name).to_owned()],
            };
            let known = path.iter().map_while(|step| self.name(step));
            names.extend(known);
            let start = usize::from(*part != Part::Root);
            let all_known = names.len() == path.len() + start;
            match names.first().and_then(|first| GROUPS.iter().find(|group| *group == first)) {
                // An object of fields, which may be looked into later on.
                Some(group) if names.len() == 1 && all_known => {
                    found.parts.insert(Part::Group(group));
                }
                _ => match FieldSet::below(&names) {
                    Some(fields) => self.flow.reads = self.flow.reads.union(fields),
                    None => {
                        self.flow.unknown.insert((at, names.join(".")));
                    }
                },
            }
        }
        // A key that comes from `input` is read, whatever it is looked up in.
        let keys = path.iter().filter_map(|step| match step {
            LiteralOrRegister::Register(register) => Some(*register),
            LiteralOrRegister::Literal(_) => None,
        });
        let keys: Vec<u8> = keys.collect();
        self.read_all(frame, &keys);
        self.write(frame, dest, &found);
    }

    fn name(&self, step: &LiteralOrRegister) -> Option<String> {
        let LiteralOrRegister::Literal(index) = step else { return None };
        match self.program.literals.get(usize::from(*index)) {
            Some(Value::String(name)) => Some(name.to_string()),
            _ => None,
        }
    }

    fn gather(&mut self, at: usize, frame: usize, into: u8, (parts, ordered): (&[u8], &[u8])) {
        self.read_all(frame, parts);
        self.read_all(frame, ordered);
        if !ordered.is_empty() {
            self.flow.ordered.push((at, self.level(frame, ordered)));
        }
        let level = self.level(frame, parts).max(self.level(frame, ordered));
        self.write(frame, into, &Held::level(level.saturating_add(2)));
    }

    fn call(&mut self, at: usize, frame: usize, (dest, rule): (u8, usize), args: &[u8]) {
        let caller = self.windows.rule.get(frame).and_then(|caller| self.flow.calls.get_mut(*caller));
        if let Some(calls) = caller {
            calls.push((rule, at));
        }
        let (Some(info), Some(windows)) = (self.program.rule_infos.get(rule), self.windows.of.get(rule))
        else {
            return;
        };
        let mut result = Held::default();
        for window in windows {
            // The window of a function: its result, then its arguments.
            for (argument, parameter) in args.iter().zip(1_u8..) {
                let held = self.at(frame, *argument).clone();
                self.write(*window, parameter, &held);
            }
            result.join(self.at(*window, info.result_reg));
        }
        if windows.len() > 1 && info.rule_type == RuleType::Complete {
            // Definitions that both hold must agree: their results are compared.
            self.flow.compared.push((at, result.level));
            for window in windows {
                self.read_all(*window, &[info.result_reg]);
            }
        }
        self.write(frame, dest, &result);
    }

    fn at(&self, frame: usize, register: u8) -> &Held {
        static NOTHING: Held = Held { parts: BTreeSet::new(), level: 0 };
        self.held.get(frame).and_then(|window| window.get(usize::from(register))).unwrap_or(&NOTHING)
    }

    fn level(&self, frame: usize, registers: &[u8]) -> u8 {
        registers.iter().map(|register| self.at(frame, *register).level).max().unwrap_or(0)
    }

    fn write(&mut self, frame: usize, register: u8, held: &Held) {
        if let Some(slot) = self.held.get_mut(frame).and_then(|window| window.get_mut(usize::from(register)))
        {
            self.changed |= slot.join(held);
        }
    }

    /// Counts all that these registers may hold of `input` as read.
    fn read_all(&mut self, frame: usize, registers: &[u8]) {
        for register in registers {
            let parts: Vec<Part> = self.at(frame, *register).parts.iter().copied().collect();
            for part in parts {
                let fields = match part {
                    Part::Root => Some(FieldSet::all()),
                    Part::Group(name) => FieldSet::below(&[name]),
                };
                self.flow.reads = self.flow.reads.union(fields.unwrap_or_else(FieldSet::all));
            }
        }
    }
}
