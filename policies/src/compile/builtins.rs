//! The builtin functions that policies may call, and what each call may cost.
//!
//! The virtual machine counts instructions, but a builtin is one instruction however much it does, and nothing interrupts
//! it. So only builtins are let in whose work can be told from their arguments beforehand, each call is charged for it, and
//! a call that would go over what is left of an evaluation's allowance is not made. Nothing nondeterministic is let in:
//! a decision depends on the input alone.

use std::cell::Cell;
use std::sync::LazyLock;

use regorus::rvm::Instruction;
use regorus::rvm::instructions::BuiltinCallParams;
use regorus::rvm::program::{BuiltinInfo, Program};
use regorus::unstable::{BUILTINS, Expr, Ref, Span};
use regorus::{LimitError, Value};

use super::failure::{self, Failure, fail};
use super::{agreement, arithmetic, charges as charge, format};

/// What the builtins of one evaluation may do together, in units: about a byte touched each, a nanosecond or less. The
/// costliest evaluation so takes some milliseconds in builtins, and holds as many megabytes.
pub(crate) const ALLOWANCE: u64 = 4_000_000;

/// What any call costs, on top of its charge.
const CALL: u64 = 200;

thread_local! {
    /// What is left for the evaluation that this thread is in.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// A builtin as the virtual machine calls it.
pub(super) type Builtin = fn(&Span, &[Ref<Expr>], &[Value], bool) -> anyhow::Result<Value>;

/// A builtin that policies may call.
struct Allowed {
    name: &'static str,
    /// Charges, then calls the builtin itself.
    metered: Builtin,
    /// Whether its result is a single number, text or flag.
    scalar: bool,
}

/// Gives the evaluation that begins now its allowance, and nothing of the one before.
pub(crate) fn begin() {
    LEFT.set(ALLOWANCE);
    begin_entry_point();
}

/// Forgets what rules gave: they are evaluated anew.
pub(crate) fn begin_entry_point() {
    failure::clear();
    agreement::clear();
}

/// How a builtin takes what it cannot work on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// That is an error, and ends the evaluation. What is not known (`null`) is not: the result is undefined then.
    Strict,
    /// The result is undefined: it reads texts that clients send, and has to find out whether they can be read.
    Parser,
}

fn metered(
    (name, builtin, manner): (&'static str, Option<Builtin>, Manner),
    charge: Option<u64>,
    (span, params, args): (&Span, &[Ref<Expr>], &[Value]),
) -> anyhow::Result<Value> {
    let left = LEFT.get();
    let charge = charge.unwrap_or(u64::MAX).saturating_add(CALL);
    let (Some(rest), Some(builtin)) = (left.checked_sub(charge), builtin) else {
        // This kind of error ends the evaluation; any other would only make an expression undefined.
        let usage = ALLOWANCE.saturating_sub(left).saturating_add(charge);
        return Err(LimitError::MemoryLimitExceeded { usage, limit: ALLOWANCE }.into());
    };
    LEFT.set(rest);
    match builtin(span, params, args, manner == Manner::Strict) {
        Err(error) if error.downcast_ref::<LimitError>().is_some() => Err(error),
        Err(_) if manner == Manner::Parser || args.contains(&Value::Null) => Ok(Value::Undefined),
        Err(_) => fail(Failure::Function(name)),
        Ok(value) => Ok(value),
    }
}

macro_rules! allowed {
    ($($name:literal => $charge:path, $scalar:literal $(, $manner:ident)? $(= $own:path)?;)*) => {
        &[$(Allowed {
            name: $name,
            scalar: $scalar,
            metered: {
                fn call(span: &Span, params: &[Ref<Expr>], args: &[Value], _: bool) -> anyhow::Result<Value> {
                    const MANNERS: &[Manner] = &[$(Manner::$manner,)? Manner::Strict];
                    static BUILTIN: LazyLock<Option<Builtin>> = LazyLock::new(|| {
                        let own: &[Builtin] = &[$($own)?];
                        own.first().copied().or_else(|| BUILTINS.get($name).map(|(builtin, _)| *builtin))
                    });
                    let [manner, ..] = MANNERS else { return Ok(Value::Undefined) };
                    metered(($name, *BUILTIN, *manner), $charge(args), (span, params, args))
                }
                call
            },
        }),*]
    };
}

/// Not here, and why: `time.now_ns`, `rand.intn`, `uuid.rfc4122`, `opa.runtime` (nondeterministic), `http.send`, `print`,
/// `trace` (outside effects), `net.cidr_expand`, `walk` (amplify), `product`, `bits.lsh` (numbers without bound).
#[rustfmt::skip]
const ALLOWED: &[Allowed] = allowed! {
    "count" => charge::constant, true;
    "max" => charge::whole, false;
    "min" => charge::whole, false;
    "sort" => charge::sort, false;
    "sum" => charge::whole, true;
    "array.concat" => charge::elements, false;
    "array.reverse" => charge::elements, false;
    "array.slice" => charge::elements, false;
    "bits.and" => charge::whole, true;
    "bits.negate" => charge::whole, true;
    "bits.or" => charge::whole, true;
    "bits.rsh" => charge::whole, true;
    "bits.xor" => charge::whole, true;
    "to_number" => charge::number_text, true, Parser;
    "base64.decode" => charge::text, true, Parser;
    "base64.encode" => charge::text, true;
    "base64.is_valid" => charge::text, true;
    "hex.decode" => charge::text, true, Parser;
    "hex.encode" => charge::text, true;
    "json.is_valid" => charge::json_text, true;
    "json.marshal" => charge::marshal, true;
    "json.unmarshal" => charge::json_text, false, Parser;
    "json.filter" => charge::whole, false;
    "json.remove" => charge::whole, false;
    "glob.match" => charge::glob, true;
    "glob.quote_meta" => charge::text, true;
    "net.cidr_contains" => charge::text, true;
    "net.cidr_is_valid" => charge::text, true;
    "abs" => charge::constant, true;
    "ceil" => charge::constant, true;
    "floor" => charge::constant, true;
    "round" => charge::constant, true;
    "numbers.range" => charge::range, false;
    "numbers.range_step" => charge::range, false;
    "object.filter" => charge::whole, false;
    "object.get" => charge::key, false;
    "object.keys" => charge::whole, false;
    "object.remove" => charge::whole, false;
    "object.subset" => charge::product, true;
    "object.union" => charge::whole, false;
    "object.union_n" => charge::merge, false;
    "regex.is_valid" => charge::regex, true;
    "regex.match" => charge::regex, true;
    "regex.find_n" => charge::regex, false;
    "regex.replace" => charge::regex_replace, true;
    "regex.split" => charge::regex, false;
    "semver.compare" => charge::text, true, Parser;
    "semver.is_valid" => charge::text, true;
    "intersection" => charge::whole, false;
    "union" => charge::whole, false;
    "__builtin_sets.union" => charge::whole, false;
    "__builtin_sets.intersection" => charge::whole, false;
    "concat" => charge::concat, true;
    "contains" => charge::text, true;
    "endswith" => charge::text, true;
    "format_int" => charge::whole, true;
    "indexof" => charge::text, true;
    "indexof_n" => charge::pieces, false;
    "lower" => charge::text, true;
    "replace" => charge::replace, true;
    "split" => charge::pieces, false;
    "sprintf" => charge::sprintf, true = format::sprintf;
    "startswith" => charge::text, true;
    "strings.any_prefix_match" => charge::product, true;
    "strings.any_suffix_match" => charge::product, true;
    "strings.count" => charge::text, true;
    "strings.replace_n" => charge::replace_n, true;
    "strings.reverse" => charge::text, true;
    "substring" => charge::text, true;
    "trim" => charge::product, true;
    "trim_left" => charge::product, true;
    "trim_prefix" => charge::text, true;
    "trim_right" => charge::product, true;
    "trim_space" => charge::text, true;
    "trim_suffix" => charge::text, true;
    "upper" => charge::text, true;
    "time.add_date" => charge::whole, true;
    "time.clock" => charge::whole, true;
    "time.date" => charge::whole, true;
    "time.diff" => charge::whole, true;
    "time.format" => charge::whole, true;
    "time.parse_duration_ns" => charge::whole, true, Parser;
    "time.parse_ns" => charge::whole, true, Parser;
    "time.parse_rfc3339_ns" => charge::whole, true, Parser;
    "time.weekday" => charge::whole, true;
    "is_array" => charge::constant, true;
    "is_boolean" => charge::constant, true;
    "is_null" => charge::constant, true;
    "is_number" => charge::constant, true;
    "is_object" => charge::constant, true;
    "is_set" => charge::constant, true;
    "is_string" => charge::constant, true;
    "type_name" => charge::constant, true;
    "units.parse" => charge::number_text, true, Parser;
    "units.parse_bytes" => charge::number_text, true, Parser;
};

fn allowed(name: &str) -> Option<&'static Allowed> {
    ALLOWED.iter().find(|allowed| allowed.name == name)
}

/// Whether policies may call it.
pub(super) fn is_allowed(name: &str) -> bool {
    allowed(name).is_some()
}

/// Whether its result is a single number, text or flag.
pub(super) fn is_scalar(name: &str) -> bool {
    allowed(name).is_some_and(|allowed| allowed.scalar)
}

/// Puts metered builtins in place of the program's own, and functions in place of operators.
///
/// # Errors
/// The name of one that is not allowed.
pub(super) fn meter(program: &mut Program) -> Result<(), String> {
    let mut instructions = std::mem::take(&mut program.instructions);
    for instruction in &mut instructions {
        let Some((operator, dest, [left, right])) = arithmetic::operator(instruction) else { continue };
        let known = program.builtin_info_table.iter().position(|info| info.name == operator.name);
        let builtin_index = match known.and_then(|index| u16::try_from(index).ok()) {
            Some(index) => index,
            None => program.add_builtin_info(BuiltinInfo { name: operator.name.to_owned(), num_args: 2 }),
        };
        let args = [left, right, 0, 0, 0, 0, 0, 0];
        let params = BuiltinCallParams { dest, builtin_index, num_args: 2, args };
        *instruction = Instruction::BuiltinCall { params_index: program.add_builtin_call_params(params) };
    }
    program.instructions = instructions;
    program.resolved_builtins.clear();
    for info in &program.builtin_info_table {
        let own =
            agreement::named(&info.name).or_else(|| arithmetic::named(&info.name).map(|own| own.function));
        let function = own.or_else(|| allowed(&info.name).map(|allowed| allowed.metered));
        let arguments = u8::try_from(info.num_args).unwrap_or(u8::MAX);
        program.resolved_builtins.push((function.ok_or_else(|| info.name.clone())?, arguments));
    }
    Ok(())
}
