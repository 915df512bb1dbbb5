//! What each instruction of the virtual machine does with its registers.

use regorus::rvm::Instruction;
use regorus::rvm::instructions::{ComprehensionMode, LiteralOrRegister};
use regorus::rvm::program::Program;

use super::agreement::{AGREE, SETTLE};

/// The effect of an instruction, as far as the analysis is concerned.
pub(super) enum Effect<'p> {
    /// Moves nothing.
    Nothing,
    /// Not made by the Rego compiler, or not understood here: such a program is not run.
    Foreign,
    /// Loads `input`.
    Input { dest: u8 },
    /// Loads `data`.
    Data { dest: u8 },
    /// Makes a constant, or an empty collection.
    Fresh { dest: u8 },
    /// Copies.
    Copy { dest: u8, from: u8 },
    /// Looks something up in a container, step by step.
    Look { dest: u8, container: u8, path: Vec<LiteralOrRegister> },
    /// Makes a single value.
    Scalar { dest: u8, of: Vec<u8> },
    /// Compares, to any depth.
    Compare { dest: Option<u8>, of: Vec<u8> },
    /// Looks for a value in a collection.
    Find { dest: u8, within: u8, value: u8 },
    /// Writes a collection out. `ordered`: what stands in a set, or as key.
    Build { dest: u8, parts: Vec<u8>, ordered: Vec<u8> },
    /// Adds to a collection, once for each iteration.
    Gather { into: u8, parts: Vec<u8>, ordered: Vec<u8> },
    /// Begins a comprehension. `ordered`: of a set.
    Open { dest: u8, ordered: bool },
    /// Adds to the innermost comprehension.
    Yield { value: u8, key: Option<u8> },
    /// Ends it.
    Close,
    /// Goes through a collection.
    Iterate { collection: u8, key: u8, value: u8 },
    /// Calls a builtin.
    Builtin { dest: u8, name: &'p str, args: Vec<u8> },
    /// Calls a rule.
    Call { dest: u8, rule: usize, args: Vec<u8> },
}

impl Effect<'_> {
    /// The register that is written, if a single one is, as a whole.
    pub(super) fn dest(&self) -> Option<u8> {
        match *self {
            Self::Input { dest }
            | Self::Data { dest }
            | Self::Fresh { dest }
            | Self::Copy { dest, .. }
            | Self::Look { dest, .. }
            | Self::Scalar { dest, .. }
            | Self::Find { dest, .. }
            | Self::Build { dest, .. }
            | Self::Open { dest, .. }
            | Self::Builtin { dest, .. }
            | Self::Call { dest, .. } => Some(dest),
            Self::Compare { dest, .. } => dest,
            Self::Iterate { value, .. } => Some(value),
            Self::Nothing | Self::Foreign | Self::Gather { .. } | Self::Yield { .. } | Self::Close => None,
        }
    }
}

/// The effect of an instruction.
pub(super) fn effect<'p>(program: &'p Program, instruction: &Instruction) -> Effect<'p> {
    use Instruction as I;
    match *instruction {
        I::Load { dest, .. }
        | I::LoadTrue { dest }
        | I::LoadFalse { dest }
        | I::LoadNull { dest }
        | I::LoadBool { dest, .. }
        | I::ArrayNew { dest }
        | I::SetNew { dest } => Effect::Fresh { dest },
        I::LoadInput { dest } => Effect::Input { dest },
        I::LoadData { dest } => Effect::Data { dest },
        I::Move { dest, src } => Effect::Copy { dest, from: src },
        I::Add { dest, left, right }
        | I::Sub { dest, left, right }
        | I::Mul { dest, left, right }
        | I::Div { dest, left, right }
        | I::Mod { dest, left, right }
        | I::Eq { dest, left, right }
        | I::Ne { dest, left, right }
        | I::Lt { dest, left, right }
        | I::Le { dest, left, right }
        | I::Gt { dest, left, right }
        | I::Ge { dest, left, right }
        | I::And { dest, left, right }
        | I::Or { dest, left, right } => Effect::Compare { dest: Some(dest), of: vec![left, right] },
        I::AssertEq { left, right } => Effect::Compare { dest: None, of: vec![left, right] },
        I::Not { dest, operand } => Effect::Scalar { dest, of: vec![operand] },
        I::Count { dest, collection } => Effect::Scalar { dest, of: vec![collection] },
        I::Contains { dest, collection, value } => Effect::Find { dest, within: collection, value },
        I::Index { dest, container, key } => {
            Effect::Look { dest, container, path: vec![LiteralOrRegister::Register(key)] }
        }
        I::IndexLiteral { dest, container, literal_idx } => {
            Effect::Look { dest, container, path: vec![LiteralOrRegister::Literal(literal_idx)] }
        }
        I::ArrayPush { arr, value } => Effect::Gather { into: arr, parts: vec![value], ordered: Vec::new() },
        I::SetAdd { set, value } => Effect::Gather { into: set, parts: Vec::new(), ordered: vec![value] },
        I::ObjectSet { obj, key, value } => {
            Effect::Gather { into: obj, parts: vec![value], ordered: vec![key] }
        }
        I::ComprehensionYield { value_reg, key_reg } => Effect::Yield { value: value_reg, key: key_reg },
        I::ComprehensionEnd {} => Effect::Close,
        I::CallRule { dest, rule_index } => {
            Effect::Call { dest, rule: usize::from(rule_index), args: Vec::new() }
        }
        // A guard asks whether a value is there and not false. Fields were read when they were looked up; `input` and its objects
        // are always there.
        I::Guard { .. }
        | I::Return { .. }
        | I::LoopNext { .. }
        | I::RuleInit { .. }
        | I::DestructuringSuccess {}
        | I::RuleReturn {}
        | I::Halt {} => Effect::Nothing,
        _ => with_parameters(program, instruction),
    }
}

/// The effect of an instruction whose parameters stand in a table.
fn with_parameters<'p>(program: &'p Program, instruction: &Instruction) -> Effect<'p> {
    use Instruction as I;
    let tables = &program.instruction_data;
    let effect = match *instruction {
        I::ChainedIndex { params_index } => tables.get_chained_index_params(params_index).map(|params| {
            Effect::Look { dest: params.dest, container: params.root, path: params.path_components.clone() }
        }),
        I::ObjectCreate { params_index } => tables.get_object_create_params(params_index).map(|params| {
            let named = params.literal_key_field_pairs().iter().map(|(_, value)| *value);
            let computed = params.field_pairs().iter().map(|(_, value)| *value);
            Effect::Build {
                dest: params.dest,
                parts: named.chain(computed).collect(),
                ordered: params.field_pairs().iter().map(|(key, _)| *key).collect(),
            }
        }),
        I::ArrayCreate { params_index } => {
            tables.array_create_params.get(usize::from(params_index)).map(|params| Effect::Build {
                dest: params.dest,
                parts: params.element_registers().to_vec(),
                ordered: Vec::new(),
            })
        }
        I::SetCreate { params_index } => {
            tables.set_create_params.get(usize::from(params_index)).map(|params| Effect::Build {
                dest: params.dest,
                parts: Vec::new(),
                ordered: params.element_registers().to_vec(),
            })
        }
        I::LoopStart { params_index } => tables.get_loop_params(params_index).map(|params| Effect::Iterate {
            collection: params.collection,
            key: params.key_reg,
            value: params.value_reg,
        }),
        I::ComprehensionBegin { params_index } => {
            tables.get_comprehension_begin_params(params_index).map(|params| Effect::Open {
                dest: params.result_reg,
                ordered: matches!(params.mode, ComprehensionMode::Set),
            })
        }
        I::BuiltinCall { params_index } => tables.get_builtin_call_params(params_index).and_then(|params| {
            let info = program.get_builtin_info(params.builtin_index)?;
            if [AGREE, SETTLE].contains(&info.name.as_str()) {
                // The last argument is what the comparison can be no larger than.
                let of = params.arg_registers().last().copied().into_iter().collect();
                return Some(Effect::Compare { dest: Some(params.dest), of });
            }
            Some(Effect::Builtin {
                dest: params.dest,
                name: &info.name,
                args: params.arg_registers().to_vec(),
            })
        }),
        I::FunctionCall { params_index } => {
            tables.get_function_call_params(params_index).map(|params| Effect::Call {
                dest: params.dest,
                rule: usize::from(params.func_rule_index),
                args: params.arg_registers().to_vec(),
            })
        }
        _ => None,
    };
    effect.unwrap_or(Effect::Foreign)
}
