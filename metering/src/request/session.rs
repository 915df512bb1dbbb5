//! The session inside `metadata.user_id`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

/// The longest session id that is believed; Claude Code's are UUIDs.
pub const MAX_SESSION_ID_BYTES: usize = 128;

/// What stands before the session in the older form.
const MARKER: &str = "_session_";

/// Claude Code's newer form: an object, written as a string.
#[derive(Deserialize)]
struct DeviceIdentity<'a> {
    #[serde(borrow)]
    session_id: Cow<'a, str>,
}

/// Finds the session id in a user id of either form that Claude Code sends (third-party captures):
/// `user_<hex>_account_<uuid>_session_<uuid>`, since about 2.1.78 `{"device_id":..,"account_uuid":..,"session_id":..}`.
/// Other clients put there what they like: `None` then.
pub(super) fn session_id(user_id: &str) -> Option<Arc<str>> {
    let found = if user_id.starts_with('{') {
        serde_json::from_str::<DeviceIdentity<'_>>(user_id).ok()?.session_id
    } else if user_id.starts_with("user_") {
        Cow::Borrowed(user_id.rsplit_once(MARKER)?.1)
    } else {
        return None;
    };
    let is_id = !found.is_empty()
        && found.len() <= MAX_SESSION_ID_BYTES
        && found.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_id.then(|| Arc::from(found.as_ref()))
}
