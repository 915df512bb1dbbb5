//! How an evaluation that came upon an error ends.
//!
//! In Rego an error inside a rule makes that rule not hold, so that a denial would let pass what it was written against. Here an
//! error ends the evaluation, and the policy's `on_error` decides. The machine passes on only one kind of error from
//! functions, a limit exceeded; so that is what they give, and what it was stands beside.

use std::cell::Cell;

use regorus::{LimitError, Value};

/// An error in an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A function or operator was given what it cannot take.
    Function(&'static str),
    /// A rule, a function or a key of an object has two values.
    Conflict {
        /// Of one of the values.
        line: Option<u32>,
    },
    /// The text of a verdict is undefined.
    NoText {
        /// Of the verdict.
        line: Option<u32>,
    },
}

thread_local! {
    static FAILURE: Cell<Option<Failure>> = const { Cell::new(None) };
}

/// Forgets what happened before.
pub(super) fn clear() {
    FAILURE.set(None);
}

/// What went wrong in this thread's last evaluation, if it was an error and not a bound.
pub(crate) fn last_failure() -> Option<Failure> {
    FAILURE.get()
}

/// Ends the evaluation.
pub(super) fn fail(failure: Failure) -> anyhow::Result<Value> {
    FAILURE.set(Some(failure));
    Err(LimitError::MemoryLimitExceeded { usage: 0, limit: 0 }.into())
}

impl Failure {
    /// For the policy's author, to go on "the policy failed: ".
    pub(super) fn explanation(self) -> String {
        match self {
            Self::Function(name) => format!("`{name}` was given something that it cannot take"),
            Self::Conflict { .. } => {
                "a rule, a function or a key of an object has more than one value: use `else`, or collect values in a set"
                    .to_owned()
            }
            Self::NoText { .. } => {
                "the text of a denial is undefined, because something in it is: look that up with object.get and a default"
                    .to_owned()
            }
        }
    }

    /// Where it happened, if known.
    pub(super) fn line(self) -> Option<u32> {
        match self {
            Self::Function(_) => None,
            Self::Conflict { line } | Self::NoText { line } => line,
        }
    }
}
