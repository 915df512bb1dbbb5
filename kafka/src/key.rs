//! The key of a message.

use std::borrow::Cow;

use serde::Deserialize;

#[derive(Deserialize)]
struct Keyed<'a> {
    #[serde(borrow, default)]
    project_id: Option<Cow<'a, str>>,
}

/// The project that an event belongs to. Everything else in it is passed over, not read. `None` for what is no event: it
/// then has no key, and whoever reads it judges it.
pub(crate) fn project_of(payload: &[u8]) -> Option<Cow<'_, str>> {
    serde_json::from_slice::<Keyed<'_>>(payload).ok()?.project_id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_project_wherever_it_stands() {
        let first = br#"{"project_id":"prj_1","usage":{"project_id":"inner"},"n":[1,2,{"a":null}]}"#;
        let last = br#"{"usage":{"project_id":"inner"},"text":"\"project_id\":\"prj_9\"","project_id":"prj_\u0031"}"#;
        assert_eq!(project_of(first).as_deref(), Some("prj_1"));
        assert_eq!(project_of(last).as_deref(), Some("prj_1"));
    }

    #[test]
    fn what_has_no_project_has_no_key() {
        for payload in [
            "",
            "{}",
            "[]",
            "null",
            "{\"project_id\":null}",
            "{\"project_id\":7}",
            "{\"project_id\":\"a\"",
            "\u{0}",
        ] {
            assert_eq!(project_of(payload.as_bytes()), None, "{payload}");
        }
    }
}
