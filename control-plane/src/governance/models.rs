//! Reads which models a limit or a budget is about.

use mindweave_policy::ModelPattern;

use crate::http::body::Fields;

/// Most patterns of one limit or budget: each is compared with the model of every request.
const MAX_PATTERNS: usize = 64;

/// The name of the field.
const FIELD: &str = "models";

/// Reads the patterns; what is not given stays as it was, `null` is the same as none.
pub(super) fn models_read(fields: &mut Fields, before: Option<&[ModelPattern]>) -> Vec<ModelPattern> {
    if !fields.given(FIELD) {
        return before.map(<[_]>::to_vec).unwrap_or_default();
    }
    let patterns = fields.texts(FIELD, MAX_PATTERNS).unwrap_or_default();
    let misplaced = |pattern: &String| pattern.strip_suffix('*').unwrap_or(pattern).contains('*');
    if patterns.iter().any(misplaced) {
        fields
            .refuse(FIELD, "entries are model ids; a * may stand at the end only, for example claude-opus-*");
    }
    // Proxies read no other spelling, so that such an entry would cover nothing and hold nobody.
    let is_spelt =
        |pattern: &String| pattern.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
    if !patterns.iter().all(is_spelt) {
        fields.refuse(FIELD, "model ids have small letters and no blanks, for example claude-opus-4-5");
    }
    patterns.into_iter().map(ModelPattern::new).collect()
}
