//! Names of projects, for people.

use std::collections::HashMap;

use crate::client::{Client, ClientError, Query};
use crate::projects::text;

/// The projects' names by id.
pub(super) struct ProjectNames {
    names: HashMap<String, String>,
}

impl ProjectNames {
    /// Asks the server.
    pub(super) fn load(client: &Client) -> Result<Self, ClientError> {
        let projects = client.list("/projects", &Query::new())?;
        let names =
            projects.iter().map(|project| (text(project, "id").to_owned(), text(project, "name").to_owned()));
        Ok(Self { names: names.collect() })
    }

    /// The name, or the id of a project that is gone or new.
    pub(super) fn of<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    /// Whether the name is known.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.names.contains_key(id)
    }

    /// Makes do with the id, so that an unknown project is asked for only once.
    pub(super) fn settle_for_id(&mut self, id: &str) {
        self.names.entry(id.to_owned()).or_insert_with(|| id.to_owned());
    }
}

#[cfg(test)]
impl ProjectNames {
    /// Names for a test.
    pub(super) fn with(pairs: &[(&str, &str)]) -> Self {
        Self { names: pairs.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect() }
    }
}
