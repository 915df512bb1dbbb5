//! Whom a limit or a budget counts: one organisation, team, user, project or key, or each of a kind separately.

use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::principal::Principal;

/// Stands for "each one separately" in place of an id.
const EACH: &str = "*";

/// What kind of thing is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    /// A whole organisation.
    Org,
    /// A team.
    Team,
    /// A person or service account.
    User,
    /// A project.
    Project,
    /// A MindWeave key.
    Key,
}

impl SubjectKind {
    /// Every kind, from wide to narrow.
    pub const ALL: [Self; 5] = [Self::Org, Self::Team, Self::User, Self::Project, Self::Key];

    /// The word for it in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Org => "org",
            Self::Team => "team",
            Self::User => "user",
            Self::Project => "project",
            Self::Key => "key",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The principal's own id of this kind, if it has one.
    pub fn id_in(self, principal: &Principal) -> Option<&str> {
        match self {
            Self::Org => Some(principal.org_id.as_str()),
            Self::Team => principal.team_id.as_ref().map(|id| id.as_str()),
            Self::User => principal.user_id.as_ref().map(|id| id.as_str()),
            Self::Project => Some(principal.project_id.as_str()),
            Self::Key => principal.key_id.as_ref().map(|id| id.as_str()),
        }
    }
}

/// Whom a limit or a budget counts. In JSON an object of one entry: `{"project": "prj_.."}`, or `{"key": "*"}` for each
/// key separately.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// What kind of thing.
    pub kind: SubjectKind,
    /// Which one; `None` counts each one separately.
    pub id: Option<Arc<str>>,
}

impl Subject {
    /// The id under which this principal's use is counted; `None` when it is not counted here.
    pub fn counted<'a>(&self, principal: &'a Principal) -> Option<&'a str> {
        let own = self.kind.id_in(principal)?;
        self.id.as_deref().is_none_or(|id| id == own).then_some(own)
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.kind.as_str(), self.id.as_deref().unwrap_or(EACH))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneEntry;

        impl<'de> Visitor<'de> for OneEntry {
            type Value = Subject;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "an object of one entry, for example {\"project\": \"prj_..\"} or {\"key\": \"*\"}",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Subject, A::Error> {
                let entry: Option<(String, String)> = map.next_entry()?;
                let (name, id) = entry.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let kind = SubjectKind::from_name(&name).ok_or_else(|| {
                    de::Error::unknown_field(&name, &["org", "team", "user", "project", "key"])
                })?;
                if map.next_entry::<String, String>()?.is_some() {
                    return Err(de::Error::invalid_length(2, &self));
                }
                Ok(Subject { kind, id: (id != EACH).then(|| id.into()) })
            }
        }

        deserializer.deserialize_map(OneEntry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_an_object_of_one_entry() {
        for text in [r#"{"org":"org_1"}"#, r#"{"key":"*"}"#, r#"{"project":"prj_1"}"#] {
            let subject: Subject = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&subject).unwrap(), text);
        }
        for text in ["{}", r#"{"org":"a","key":"b"}"#, r#"{"planet":"earth"}"#, r#""org""#] {
            assert!(serde_json::from_str::<Subject>(text).is_err(), "{text}");
        }
    }
}
