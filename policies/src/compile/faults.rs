//! The engine's error texts as faults with a place.

use super::PolicyFault;

/// The file name under which a policy's text is known to the engine.
pub(super) const FILE: &str = "policy.rego";

/// Longest message of a fault, in characters: authors need the gist, and texts of policies are no matter for logs.
const MAX_MESSAGE: usize = 300;

impl PolicyFault {
    /// A fault without place.
    pub(crate) fn everywhere(message: impl Into<String>) -> Self {
        Self { line: None, column: None, message: shorten(&message.into()) }
    }

    /// A fault at a place.
    pub(super) fn at(line: u32, column: u32, message: impl Into<String>) -> Self {
        Self { line: Some(line), column: Some(column), message: shorten(&message.into()) }
    }

    /// The fault in an error of the engine, which writes `--> file:line:column`, the line itself, and `error: what`.
    pub(super) fn of_engine(error: &str) -> Self {
        let place = error.split_once("--> ").and_then(|(_, rest)| {
            let mut parts = rest.lines().next()?.rsplitn(3, ':');
            let column = parts.next()?.trim().parse().ok()?;
            let line = parts.next()?.trim().parse().ok()?;
            Some((line, column))
        });
        let message = error.rsplit_once("error: ").map_or(error, |(_, message)| message);
        let message = explain(message.trim());
        match place {
            Some((line, column)) => Self::at(line, column, message),
            None => Self::everywhere(message),
        }
    }
}

/// What the engine's words mean to an author of policies.
fn explain(message: &str) -> String {
    let hint = if message.contains("register") {
        "; the rule is too large: move long lists into `data`, or split it"
    } else if message.contains("`with`") || message.to_lowercase().contains("with keyword") {
        "; `with` is for tests of policies only"
    } else {
        ""
    };
    format!("{message}{hint}")
}

fn shorten(message: &str) -> String {
    let message: String =
        message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE).collect();
    message.trim().to_owned()
}
