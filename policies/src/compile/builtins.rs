//! The builtin functions that policies may call, and what each call may cost.
//!
//! The virtual machine counts instructions, but a builtin is one instruction however much it does, and nothing interrupts
//! it. So only builtins are let in whose work can be told from their arguments beforehand, each call is charged for it, and
//! a call that would go over what is left of an evaluation's allowance is not made. Nothing nondeterministic is let in:
//! a decision depends on the input alone.

use std::cell::Cell;
use std::sync::LazyLock;

use regorus::rvm::program::Program;
use regorus::unstable::{BUILTINS, Expr, Ref, Span};
use regorus::{LimitError, Value};

use super::charges as charge;

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
type Builtin = fn(&Span, &[Ref<Expr>], &[Value], bool) -> anyhow::Result<Value>;

/// A builtin that policies may call.
struct Allowed {
    name: &'static str,
    /// Charges, then calls the builtin itself.
    metered: Builtin,
    /// Whether its result is a single number, text or flag.
    scalar: bool,
}

/// Gives the evaluation that begins now its allowance.
pub(crate) fn begin() {
    LEFT.set(ALLOWANCE);
}

fn metered(
    builtin: Option<Builtin>,
    charge: Option<u64>,
    (span, params, args, strict): (&Span, &[Ref<Expr>], &[Value], bool),
) -> anyhow::Result<Value> {
    let left = LEFT.get();
    let charge = charge.unwrap_or(u64::MAX).saturating_add(CALL);
    let (Some(rest), Some(builtin)) = (left.checked_sub(charge), builtin) else {
        // This kind of error ends the evaluation; any other would only make an expression undefined.
        let usage = ALLOWANCE.saturating_sub(left).saturating_add(charge);
        return Err(LimitError::MemoryLimitExceeded { usage, limit: ALLOWANCE }.into());
    };
    LEFT.set(rest);
    builtin(span, params, args, strict)
}

macro_rules! allowed {
    ($($name:literal => $charge:path, $scalar:literal;)*) => {
        &[$(Allowed {
            name: $name,
            scalar: $scalar,
            metered: {
                fn call(span: &Span, params: &[Ref<Expr>], args: &[Value], strict: bool) -> anyhow::Result<Value> {
                    static BUILTIN: LazyLock<Option<Builtin>> =
                        LazyLock::new(|| BUILTINS.get($name).map(|(builtin, _)| *builtin));
                    metered(*BUILTIN, $charge(args), (span, params, args, strict))
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
    "to_number" => charge::number_text, true;
    "base64.decode" => charge::text, true;
    "base64.encode" => charge::text, true;
    "base64.is_valid" => charge::text, true;
    "hex.decode" => charge::text, true;
    "hex.encode" => charge::text, true;
    "json.is_valid" => charge::json_text, true;
    "json.marshal" => charge::marshal, true;
    "json.unmarshal" => charge::json_text, false;
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
    "semver.compare" => charge::text, true;
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
    "sprintf" => charge::sprintf, true;
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
    "time.parse_duration_ns" => charge::whole, true;
    "time.parse_ns" => charge::whole, true;
    "time.parse_rfc3339_ns" => charge::whole, true;
    "time.weekday" => charge::whole, true;
    "is_array" => charge::constant, true;
    "is_boolean" => charge::constant, true;
    "is_null" => charge::constant, true;
    "is_number" => charge::constant, true;
    "is_object" => charge::constant, true;
    "is_set" => charge::constant, true;
    "is_string" => charge::constant, true;
    "type_name" => charge::constant, true;
    "units.parse" => charge::number_text, true;
    "units.parse_bytes" => charge::number_text, true;
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

/// Puts metered builtins in place of the program's own, and a metered multiplication.
///
/// # Errors
/// The name of one that is not allowed.
pub(super) fn meter(program: &mut Program) -> Result<(), String> {
    program.resolved_builtins.clear();
    for info in &program.builtin_info_table {
        let allowed = allowed(&info.name).ok_or_else(|| info.name.clone())?;
        let arguments = u8::try_from(info.num_args).unwrap_or(u8::MAX);
        program.resolved_builtins.push((allowed.metered, arguments));
    }
    Ok(())
}

/// The name of the metered multiplication among a program's builtins.
pub(super) const MULTIPLY: &str = "mindweave.multiply";

/// Multiplies numbers of a size that requests and budgets have. Rego's numbers have no bound, and squaring one thirty
/// times in a row makes one of a gigabyte.
pub(super) fn multiply(_: &Span, _: &[Ref<Expr>], args: &[Value], _: bool) -> anyhow::Result<Value> {
    let small = |value: &Value| value.as_i128().is_ok() || value.as_f64().is_ok_and(f64::is_finite);
    match args {
        [left, right] if small(left) && small(right) => {
            Ok(Value::from(left.as_number()?.mul(right.as_number()?)?))
        }
        [Value::Number(_), Value::Number(_)] => {
            Err(LimitError::MemoryLimitExceeded { usage: u64::MAX, limit: ALLOWANCE }.into())
        }
        _ => Ok(Value::Undefined),
    }
}
