//! What [`super::guards`] puts into programs: functions that end an evaluation with an error.

use std::cell::RefCell;

use regorus::Value;
use regorus::unstable::{Expr, Ref, Span};

use super::builtins::Builtin;
use super::failure::{Failure, fail};

/// `(place)`: a function is about to be called; what it gave before is nothing to its next result.
pub(super) const ENTER: &str = "mindweave.enter";
/// `(place, value)`: a definition gives a value; another one must not have given a different one.
pub(super) const SETTLE: &str = "mindweave.settle";
/// `(place, old, new)`: a key gets a value; it must not have a different one. Not called when there is none.
pub(super) const AGREE: &str = "mindweave.agree";
/// `(place, flag)`: whether a verdict is undefined, which it must not be.
pub(super) const PRESENT: &str = "mindweave.present";

/// Their functions.
pub(super) fn named(name: &str) -> Option<Builtin> {
    match name {
        ENTER => Some(enter),
        SETTLE => Some(settle),
        AGREE => Some(agree),
        PRESENT => Some(present),
        _ => None,
    }
}

/// A place as it stands among a program's literals: `[rule, line]`, 0 for an unknown line.
pub(super) fn place(rule: usize, line: Option<u32>) -> Value {
    let rule = u64::try_from(rule).unwrap_or(u64::MAX);
    Value::from(vec![Value::from(rule), Value::from(u64::from(line.unwrap_or(0)))])
}

fn part_of(place: &Value, index: usize) -> Option<u64> {
    place.as_array().ok()?.get(index)?.as_u64().ok()
}

fn line_of(place: &Value) -> Option<u32> {
    part_of(place, 1).and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0)
}

thread_local! {
    /// The value of each contested rule so far. A handful of rules.
    static SETTLED: RefCell<Vec<(u64, Value)>> = const { RefCell::new(Vec::new()) };
}

/// Forgets all values: another evaluation begins, or this one has ended.
pub(super) fn clear() {
    SETTLED.with_borrow_mut(Vec::clear);
}

fn enter(_: &Span, _: &[Ref<Expr>], args: &[Value], _: bool) -> anyhow::Result<Value> {
    if let Some(rule) = args.first().and_then(|place| part_of(place, 0)) {
        SETTLED.with_borrow_mut(|settled| settled.retain(|(of, _)| *of != rule));
    }
    Ok(Value::Bool(true))
}

fn settle(_: &Span, _: &[Ref<Expr>], args: &[Value], _: bool) -> anyhow::Result<Value> {
    let [place, value] = args else { return fail(Failure::Conflict { line: None }) };
    let rule = part_of(place, 0).unwrap_or(u64::MAX);
    let agrees = SETTLED.with_borrow_mut(|settled| match settled.iter().find(|(of, _)| *of == rule) {
        Some((_, before)) => before == value,
        None => {
            settled.push((rule, value.clone()));
            true
        }
    });
    if agrees { Ok(Value::Bool(true)) } else { fail(Failure::Conflict { line: line_of(place) }) }
}

fn agree(_: &Span, _: &[Ref<Expr>], args: &[Value], _: bool) -> anyhow::Result<Value> {
    match args {
        [_, old, new] if old == new => Ok(Value::Bool(true)),
        _ => fail(Failure::Conflict { line: args.first().and_then(line_of) }),
    }
}

fn present(_: &Span, _: &[Ref<Expr>], args: &[Value], _: bool) -> anyhow::Result<Value> {
    match args {
        [_, Value::Bool(false)] => Ok(Value::Bool(true)),
        _ => fail(Failure::NoText { line: args.first().and_then(line_of) }),
    }
}
