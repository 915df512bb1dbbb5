//! What is wrong with an event: all of it, each by the JSON pointer (RFC 6901) of the place.

use serde::Serialize;

use super::bounds::MAX_FAULTS;

/// Characters of one name in a pointer. Names come from outside, and may be as long as the event.
const MAX_NAME_CHARS: usize = 64;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct EventFault {
    /// Where: `/input_tokens`, or nothing for the event as a whole.
    pub(super) pointer: String,
    /// What is wrong and what to do. Never repeats the value: it may be a prompt in the wrong place.
    pub(super) message: String,
}

/// What is wrong with one event.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<EventFault>);

impl Faults {
    /// Notes one. Those beyond the bound say nothing new.
    pub(super) fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(EventFault { pointer: pointer.into(), message: message.into() });
        }
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this place is named already.
    pub(super) fn names(&self, pointer: &str) -> bool {
        self.0.iter().any(|fault| fault.pointer == pointer)
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<EventFault> {
        self.0
    }
}

/// A pointer to a member or element of what `parent` points to.
pub(super) fn pointer_to(parent: &str, name: &str) -> String {
    let name: String = name.chars().take(MAX_NAME_CHARS).collect();
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}
