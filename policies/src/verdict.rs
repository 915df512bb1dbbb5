//! What a policy's `deny` and `warn` hold.

use std::sync::Arc;

use regorus::Value;

use crate::error_kind::PolicyErrorKind;

/// Longest reason, in bytes: it is a label.
const MAX_REASON: usize = 64;

/// Longest message, in characters; the rest is cut off.
const MAX_MESSAGE: usize = 500;

/// Most verdicts of one policy about one request; the rest says nothing new.
const MAX_VERDICTS: usize = 32;

/// A reason and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// snake_case.
    pub(crate) reason: Arc<str>,
    /// For the developer.
    pub(crate) message: Arc<str>,
}

/// The verdicts in a set, in its order, which is that of its values.
///
/// # Errors
/// Undefined, or anything but a set of objects with a `reason` and a `message`.
pub(crate) fn verdicts(value: &Value) -> Result<Vec<Said>, PolicyErrorKind> {
    let set = match value {
        Value::Set(set) => set,
        Value::Undefined => return Err(PolicyErrorKind::Undefined),
        _ => return Err(PolicyErrorKind::Malformed),
    };
    // All are looked at, so that whether a result is malformed does not depend on where it stands.
    let mut verdicts = Vec::new();
    for value in set.iter() {
        let said = verdict(value).ok_or(PolicyErrorKind::Malformed)?;
        if verdicts.len() < MAX_VERDICTS {
            verdicts.push(said);
        }
    }
    Ok(verdicts)
}

fn verdict(value: &Value) -> Option<Said> {
    let fields = value.as_object().ok()?;
    let text = |name: &str| fields.get(&Value::from(name)).and_then(|text| text.as_string().ok());
    let (reason, message) = (text("reason")?, text("message")?);
    if !fields.values().all(|field| field.as_string().is_ok()) || !is_reason(reason) {
        return None;
    }
    let message = match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => Arc::from(message.get(..end)?),
        None => Arc::clone(message),
    };
    Some(Said { reason: Arc::clone(reason), message })
}

fn is_reason(reason: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=MAX_REASON).contains(&reason.len())
        && reason.bytes().all(word)
        && reason.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
}
