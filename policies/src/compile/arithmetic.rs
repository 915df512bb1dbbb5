//! Arithmetic that ends an evaluation where it cannot be done.
//!
//! The machine's own gives up the whole rule, with all that its loops would have found later on.

use regorus::rvm::Instruction;
use regorus::unstable::{Expr, Ref, Span};
use regorus::{LimitError, Value};

use super::builtins::{ALLOWANCE, Builtin};
use super::failure::{Failure, fail};

/// An operator, as a function.
pub(super) struct Operator {
    /// Among a program's functions.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) function: Builtin,
}

/// The operators, with how authors write them.
macro_rules! operators {
    ($($constant:ident, $name:literal, $sign:literal, $apply:path;)*) => {
        $(static $constant: Operator = Operator {
            name: $name,
            function: {
                fn call(_: &Span, _: &[Ref<Expr>], args: &[Value], _: bool) -> anyhow::Result<Value> {
                    match args {
                        [Value::Null, _] | [_, Value::Null] => Ok(Value::Undefined),
                        [left, right] => $apply(left, right)
                            .unwrap_or_else(|| fail(Failure::Function($sign))),
                        _ => fail(Failure::Function($sign)),
                    }
                }
                call
            },
        };)*

        /// The operator of this name.
        pub(super) fn named(name: &str) -> Option<&'static Operator> {
            [$(&$constant),*].into_iter().find(|operator| operator.name == name)
        }
    };
}

operators! {
    ADD, "mindweave.add", "+", add;
    SUBTRACT, "mindweave.subtract", "-", subtract;
    MULTIPLY, "mindweave.multiply", "*", multiply;
    DIVIDE, "mindweave.divide", "/", divide;
    REMAINDER, "mindweave.remainder", "%", remainder;
}

/// The operator of an instruction, with its registers: result, left and right.
pub(super) fn operator(instruction: &Instruction) -> Option<(&'static Operator, u8, [u8; 2])> {
    Some(match *instruction {
        Instruction::Add { dest, left, right } => (&ADD, dest, [left, right]),
        Instruction::Sub { dest, left, right } => (&SUBTRACT, dest, [left, right]),
        Instruction::Mul { dest, left, right } => (&MULTIPLY, dest, [left, right]),
        Instruction::Div { dest, left, right } => (&DIVIDE, dest, [left, right]),
        Instruction::Mod { dest, left, right } => (&REMAINDER, dest, [left, right]),
        _ => return None,
    })
}

/// A result, or an error of the engine; `None`: not for these values.
type Applied = Option<anyhow::Result<Value>>;

fn add(left: &Value, right: &Value) -> Applied {
    Some(left.as_number().ok()?.add(right.as_number().ok()?).map(Value::from))
}

/// Of numbers, or of sets.
fn subtract(left: &Value, right: &Value) -> Applied {
    if let (Value::Set(left), Value::Set(right)) = (left, right) {
        return Some(Ok(Value::from(left.difference(right))));
    }
    Some(left.as_number().ok()?.sub(right.as_number().ok()?).map(Value::from))
}

/// Of numbers of a size that requests and budgets have. Rego's numbers have no bound, and squaring one thirty times in a row
/// makes one of a gigabyte.
fn multiply(left: &Value, right: &Value) -> Applied {
    let small = |value: &Value| value.as_i128().is_ok() || value.as_f64().is_ok_and(f64::is_finite);
    let (left_number, right_number) = (left.as_number().ok()?, right.as_number().ok()?);
    if !small(left) || !small(right) {
        return Some(Err(LimitError::MemoryLimitExceeded { usage: u64::MAX, limit: ALLOWANCE }.into()));
    }
    Some(left_number.mul(right_number).map(Value::from))
}

fn divide(left: &Value, right: &Value) -> Applied {
    let (left, right) = (left.as_number().ok()?, divisor(right)?.as_number().ok()?);
    Some(left.clone().divide(right).map(Value::from))
}

fn remainder(left: &Value, right: &Value) -> Applied {
    let (left, right) = (left.as_number().ok()?, divisor(right)?.as_number().ok()?);
    if !left.is_integer() || !right.is_integer() {
        return None;
    }
    Some(left.clone().modulo(right).map(Value::from))
}

/// Anything but zero.
fn divisor(value: &Value) -> Option<&Value> {
    (*value != Value::from(0_u64)).then_some(value)
}
