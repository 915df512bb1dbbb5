//! `sprintf` that always gives a text.
//!
//! The engine's own fails where OPA's prints what is wrong (`%!d(1.5)`). Texts of denials are made with it, and a denial must not get
//! lost because of a percent sign.

use std::sync::LazyLock;

use regorus::Value;
use regorus::unstable::{BUILTINS, Expr, Ref, Span};

use super::builtins::Builtin;

static SPRINTF: LazyLock<Option<Builtin>> =
    LazyLock::new(|| BUILTINS.get("sprintf").map(|(builtin, _)| *builtin));

/// The engine's `sprintf`, and where that fails, one value after the other.
pub(super) fn sprintf(
    span: &Span,
    params: &[Ref<Expr>],
    args: &[Value],
    strict: bool,
) -> anyhow::Result<Value> {
    let [Value::String(format), Value::Array(values)] = args else {
        anyhow::bail!("sprintf takes a format and a list");
    };
    let Some(engine) = *SPRINTF else { anyhow::bail!("sprintf is not there") };
    if let Ok(text) = engine(span, params, args, strict) {
        return Ok(text);
    }
    let one = |directive: &str, value: &Value| {
        let args = [Value::from(directive), Value::from(vec![value.clone()])];
        engine(span, params, &args, strict).ok().and_then(|text| text.as_string().ok().cloned())
    };
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest: &str = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let width = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
        let Some(verb) = after.get(width..).and_then(|verb| verb.chars().next()) else {
            out.push_str("%!(NOVERB)");
            rest = "";
            break;
        };
        let end = width + verb.len_utf8();
        rest = after.get(end..).unwrap_or_default();
        if verb == '%' {
            out.push('%');
            continue;
        }
        let directive = format!("%{}", after.get(..end).unwrap_or_default());
        match values.next() {
            None => out.push_str(&format!("%!{verb}(MISSING)")),
            Some(value) => match one(&directive, value) {
                Some(text) => out.push_str(&text),
                None => out.push_str(&format!("%!{verb}({value})")),
            },
        }
    }
    out.push_str(rest);
    if values.len() > 0 {
        let extra: Vec<String> = values.map(ToString::to_string).collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(Value::from(out))
}
