//! What a call of a builtin will touch at most, told from its arguments. `None`: too much, whatever is left.
//!
//! A charge is never below what the builtin allocates, in bytes, and walks no further than the allowance reaches.

use regorus::Value;

use super::builtins::ALLOWANCE;

/// A number, a flag, or an element's place in a collection.
const SLOT: u64 = 32;

/// Values that nest deeper are not walked.
const MAX_DEPTH: u32 = 64;

/// Longest text of a number: a written exponent makes a number with as many digits.
const MAX_NUMBER_TEXT: usize = 64;

/// Most digits of an exponent; `1e999` is not a number of a megabyte.
const MAX_EXPONENT_DIGITS: usize = 3;

/// How much a pattern of a compiled size costs to compile, as against matching one byte.
const COMPILE: u64 = 4;

/// Largest weight of a pattern: the engine refuses what compiles to more than 100 KiB.
const MAX_PATTERN_WEIGHT: u64 = 4_000;

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

fn items(value: &Value) -> u64 {
    let items = match value {
        Value::Array(items) => items.len(),
        Value::Set(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 1,
    };
    u64::try_from(items).unwrap_or(u64::MAX)
}

/// Takes the size of a value, with everything in it, off the allowance.
fn take(value: &Value, left: &mut u64, depth: u32) -> Option<()> {
    let own = match value {
        Value::String(text) => SLOT.saturating_add(length(text)),
        Value::Number(_) if value.as_i128().is_err() && value.as_f64().is_err() => ALLOWANCE / 64,
        _ => SLOT,
    };
    *left = left.checked_sub(own)?;
    if depth == 0 {
        return None;
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| take(item, left, depth - 1)),
        Value::Set(items) => items.iter().try_for_each(|item| take(item, left, depth - 1)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            take(key, left, depth - 1)?;
            take(value, left, depth - 1)
        }),
        _ => Some(()),
    }
}

fn size(value: &Value) -> Option<u64> {
    let mut left = ALLOWANCE;
    take(value, &mut left, MAX_DEPTH)?;
    Some(ALLOWANCE - left)
}

/// Nothing but the call.
pub(super) fn constant(_: &[Value]) -> Option<u64> {
    Some(0)
}

/// All of all arguments, a few times.
pub(super) fn whole(args: &[Value]) -> Option<u64> {
    args.iter().try_fold(0_u64, |sum, value| Some(sum.saturating_add(size(value)?.saturating_mul(4))))
}

/// All of all arguments, as often as a sort compares each element.
pub(super) fn sort(args: &[Value]) -> Option<u64> {
    Some(whole(args)?.saturating_mul(8))
}

/// A list whose elements are merged one after the other, each into a copy of what there is.
pub(super) fn merge(args: &[Value]) -> Option<u64> {
    Some(whole(args)?.saturating_mul(args.first().map_or(1, items).max(1)))
}

/// A place for each element of each argument.
pub(super) fn elements(args: &[Value]) -> Option<u64> {
    Some(args.iter().map(items).fold(0_u64, u64::saturating_add).saturating_mul(SLOT))
}

/// Texts, which come out no more than four times as long.
pub(super) fn text(args: &[Value]) -> Option<u64> {
    whole(args)
}

/// Texts that come out in pieces, at worst of one byte each.
pub(super) fn pieces(args: &[Value]) -> Option<u64> {
    Some(size(args.first()?)?.saturating_mul(2 * SLOT))
}

/// A collection that is looked into by key: only the key is touched.
pub(super) fn key(args: &[Value]) -> Option<u64> {
    args.get(1).map_or(Some(0), |key| Some(size(key)?.saturating_mul(16)))
}

/// Each element of one argument against each of the other.
pub(super) fn product(args: &[Value]) -> Option<u64> {
    let [left, right] = args else { return None };
    let crossed = size(left)?.saturating_mul(items(right)).max(size(right)?.saturating_mul(items(left)));
    let characters = match (left, right) {
        (Value::String(text), Value::String(cut)) => length(text).saturating_mul(length(cut)),
        _ => 0,
    };
    Some(crossed.saturating_add(characters))
}

/// The text of a number.
pub(super) fn number_text(args: &[Value]) -> Option<u64> {
    match args.first()? {
        Value::String(text) if text.len() > MAX_NUMBER_TEXT || has_long_exponent(text) => None,
        _ => Some(0),
    }
}

fn has_long_exponent(text: &str) -> bool {
    text.split(['e', 'E']).skip(1).any(|rest| {
        let digits = rest.trim_start_matches(['+', '-']);
        digits.bytes().take_while(u8::is_ascii_digit).count() > MAX_EXPONENT_DIGITS
    })
}

/// The text of a document.
pub(super) fn json_text(args: &[Value]) -> Option<u64> {
    let Value::String(text) = args.first()? else { return Some(0) };
    let opened = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if has_long_exponent(text) || opened > usize::try_from(ALLOWANCE / SLOT).unwrap_or(usize::MAX) {
        return None;
    }
    Some(length(text).saturating_mul(2 * SLOT))
}

/// A value that comes out as text, every part of it as often as it is shared.
pub(super) fn marshal(args: &[Value]) -> Option<u64> {
    Some(size(args.first()?)?.saturating_mul(6))
}

/// Texts put together.
pub(super) fn concat(args: &[Value]) -> Option<u64> {
    let [between, parts] = args else { return None };
    let joints = items(parts).saturating_mul(size(between)?);
    Some(size(parts)?.saturating_mul(2).saturating_add(joints))
}

/// A text, each byte of which may be replaced.
pub(super) fn replace(args: &[Value]) -> Option<u64> {
    let [text, old, new] = args else { return None };
    let (Value::String(text), Value::String(old), Value::String(new)) = (text, old, new) else {
        return Some(0);
    };
    let places = length(text) / length(old).max(1);
    Some(length(text).saturating_add((places + 1).saturating_mul(length(new))))
}

/// A text, each byte of which may be replaced by the longest of several texts, one after the other.
pub(super) fn replace_n(args: &[Value]) -> Option<u64> {
    let [pairs, text] = args else { return None };
    Some(size(pairs)?.saturating_mul(size(text)?))
}

/// A text with values in it, padded as the format says; made twice where the first try fails.
pub(super) fn sprintf(args: &[Value]) -> Option<u64> {
    let [Value::String(format), values] = args else { return whole(args) };
    let mut width = 0_u64;
    let mut digits = 0_u64;
    for character in format.chars() {
        // Digits of other scripts make the engine's own parser of widths panic.
        if character.is_numeric() && !character.is_ascii_digit() {
            return None;
        }
        digits =
            character.to_digit(10).map_or(0, |digit| digits.saturating_mul(10).saturating_add(digit.into()));
        width = width.saturating_add(digits);
    }
    let values = size(values)?.saturating_mul(6);
    Some(values.saturating_add(width).saturating_add(length(format)).saturating_mul(2))
}

/// From one number to another.
pub(super) fn range(args: &[Value]) -> Option<u64> {
    let [from, to, ..] = args else { return None };
    let (Ok(from), Ok(to)) = (from.as_i64(), to.as_i64()) else { return None };
    Some(from.abs_diff(to).saturating_add(1).saturating_mul(2 * SLOT))
}

/// A pattern of the globs and a text. It is compiled anew whenever its cache has forgotten it.
pub(super) fn glob(args: &[Value]) -> Option<u64> {
    let [Value::String(pattern), .., Value::String(text)] = args else { return whole(args) };
    let states = length(pattern).saturating_mul(4).min(MAX_PATTERN_WEIGHT);
    Some(states.saturating_mul(COMPILE.saturating_add(length(text))))
}

/// A pattern and a text, in either order: at worst every byte against every state.
pub(super) fn regex(args: &[Value]) -> Option<u64> {
    let texts: Vec<&str> =
        args.iter().filter_map(|value| value.as_string().ok().map(|text| &**text)).collect();
    let weight = texts.iter().take(1).map(|pattern| pattern_weight(pattern)).max().unwrap_or(0);
    let bytes = texts.iter().skip(1).map(|text| length(text)).fold(0_u64, u64::saturating_add);
    Some(weight.saturating_mul(COMPILE.saturating_add(bytes)).saturating_add(bytes.saturating_mul(2 * SLOT)))
}

/// A text, a pattern, and what to put in its place: at worst before every byte, with every group in it.
pub(super) fn regex_replace(args: &[Value]) -> Option<u64> {
    let [Value::String(text), Value::String(pattern), Value::String(new)] = args else { return Some(0) };
    let matching = pattern_weight(pattern).saturating_mul(COMPILE.saturating_add(length(text)));
    let groups = u64::try_from(new.matches('$').count()).unwrap_or(u64::MAX);
    let piece = length(new).saturating_add(groups.saturating_mul(length(text)));
    Some(matching.saturating_add((length(text) + 1).saturating_mul(piece)))
}

/// About how many states a pattern has: its characters, with counted repetitions written out.
fn pattern_weight(pattern: &str) -> u64 {
    let mut open: Vec<u64> = vec![0];
    let mut last = 0_u64;
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '(' => {
                open.push(0);
                last = 0;
                continue;
            }
            ')' => last = if open.len() > 1 { open.pop().unwrap_or(0) } else { 1 },
            '{' => {
                let counts: String = std::iter::from_fn(|| rest.next_if(|c| *c != '}')).collect();
                let most = counts.split(',').filter_map(|count| count.trim().parse::<u64>().ok()).max();
                last = last.saturating_mul(most.unwrap_or(1).saturating_sub(1));
            }
            // A class of characters beyond ASCII is an automaton of its own.
            '\\' => last = rest.next().map_or(1, |class| if class.is_ascii_alphabetic() { 100 } else { 1 }),
            '.' => last = 8,
            _ => last = 1,
        }
        if let Some(sum) = open.last_mut() {
            *sum = sum.saturating_add(last);
        }
    }
    open.into_iter().fold(1, u64::saturating_add).min(MAX_PATTERN_WEIGHT)
}
