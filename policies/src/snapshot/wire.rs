//! Snapshots and figures between processes: the lines of `GET /internal/v1/watch`.
//!
//! Every line is one JSON object with `type` and `version`. A reader ignores fields and types that it does not know: a newer
//! control plane may send them. [`WIRE_VERSION`] rises only when an older reader would misunderstand; then it reads
//! nothing and says so.
//!
//! Snapshots hold upstream keys in the clear. They travel on that one authenticated channel and nowhere else; whoever keeps
//! them on disk seals them.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::ProjectId;
use serde::{Deserialize, Serialize};

use super::diff::SnapshotDiff;
use super::rules::ProjectRules;
use super::{KeyEntry, ProjectEntry, Snapshot};
use crate::CompiledPolicies;
use crate::fingerprint::Fingerprint;
use crate::governance::Governance;
use crate::principal::Principal;
use crate::secret::Secret;
use crate::usage_feed::UsageFeed;

/// The version of the lines that this build writes and reads.
pub const WIRE_VERSION: u32 = 1;

/// One line of a watch.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchLine {
    /// Replaces everything, also what has a higher revision: the control plane may have been put back from a backup.
    Snapshot(Box<SnapshotWire>),
    /// Changes the snapshot that the last line about it left.
    Change(Box<SnapshotDiff>),
    /// Figures of budgets. The first one on a connection is full.
    Usage(UsageFeed),
    /// The control plane is there.
    Heartbeat(Heartbeat),
    /// Something that this build does not know, to be passed over.
    Unknown,
}

/// The body of a heartbeat line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When it was sent.
    pub at: Timestamp,
    /// The revision in force.
    pub revision: u64,
    /// How many proxies are connected.
    pub live_proxies: u32,
}

/// Why a line could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The other side is of another age.
    #[error(
        "the control plane speaks version {theirs} of the watch protocol, this build speaks version {WIRE_VERSION}: upgrade the older of the two"
    )]
    Version {
        /// The version of the line.
        theirs: u32,
    },
    /// Not a line of this protocol. The text repeats nothing of it: it may hold keys.
    #[error("the line is malformed at column {column}")]
    Malformed {
        /// Where, in bytes from 1.
        column: usize,
    },
}

impl WireError {
    fn malformed(error: &serde_json::Error) -> Self {
        Self::Malformed { column: error.column() }
    }
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u32,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    version: u32,
}

impl WatchLine {
    /// The line as it is sent, with its line end.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Snapshot(body) => tagged("snapshot", &**body),
            Self::Change(body) => tagged("change", &**body),
            Self::Usage(body) => tagged("usage", body),
            Self::Heartbeat(body) => tagged("heartbeat", body),
            Self::Unknown => Ok(Vec::new()),
        }
    }

    /// Reads a line, with or without its line end.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(line: &[u8]) -> Result<Self, WireError> {
        let head: Head = read(line)?;
        if head.version != WIRE_VERSION {
            return Err(WireError::Version { theirs: head.version });
        }
        match head.kind.as_str() {
            "snapshot" => Ok(Self::Snapshot(read(line)?)),
            "change" => Ok(Self::Change(read(line)?)),
            "usage" => Ok(Self::Usage(read(line)?)),
            "heartbeat" => Ok(Self::Heartbeat(read(line)?)),
            _ => Ok(Self::Unknown),
        }
    }
}

fn tagged<T: Serialize>(kind: &'static str, body: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(&Tagged { kind, version: WIRE_VERSION, body })?;
    line.push(b'\n');
    Ok(line)
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(line).map_err(|error| WireError::malformed(&error))
}

/// A whole snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotWire {
    /// Which run of which control plane made it. Revisions compare only within one.
    pub lineage: Arc<str>,
    /// See [`Snapshot::revision`], as for the other fields.
    pub revision: u64,
    /// In the order of their fingerprints, as are the credentials.
    pub keys: Vec<KeyWire>,
    /// Clients' own credentials.
    pub client_credentials: Vec<CredentialWire>,
    /// In the order of their ids.
    pub projects: Vec<ProjectWire>,
    /// In the order of their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub project_rules: Vec<ProjectRulesWire>,
    /// Who pays for unregistered credentials.
    #[serde(default)]
    pub default_principal: Option<Arc<Principal>>,
    /// Policies, limits and budgets.
    pub governance: Arc<Governance>,
}

/// A MindWeave key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyWire {
    /// In hexadecimal.
    #[serde(with = "hexadecimal")]
    pub fingerprint: Fingerprint,
    /// Whose it is.
    pub principal: Arc<Principal>,
    /// From when on it is refused, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A client's own credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialWire {
    /// In hexadecimal.
    #[serde(with = "hexadecimal")]
    pub fingerprint: Fingerprint,
    /// Whose it is.
    pub principal: Arc<Principal>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectWire {
    /// Which one.
    pub id: ProjectId,
    /// See [`ProjectEntry::name`].
    pub name: Arc<str>,
    /// See [`ProjectEntry::upstream_key`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "secret_text")]
    pub upstream_key: Option<Secret>,
}

/// What a project asks of its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRulesWire {
    /// Which one.
    pub id: ProjectId,
    /// What it asks for.
    pub rules: Arc<ProjectRules>,
}

impl KeyWire {
    pub(super) fn of(fingerprint: Fingerprint, entry: &KeyEntry) -> Self {
        Self { fingerprint, principal: Arc::clone(&entry.principal), expires_at: entry.expires_at }
    }

    pub(super) fn into_entry(self) -> (Fingerprint, KeyEntry) {
        (self.fingerprint, KeyEntry { principal: self.principal, expires_at: self.expires_at })
    }
}

impl CredentialWire {
    pub(super) fn of(fingerprint: Fingerprint, principal: &Arc<Principal>) -> Self {
        Self { fingerprint, principal: Arc::clone(principal) }
    }
}

impl ProjectWire {
    pub(super) fn of(id: &ProjectId, entry: &ProjectEntry) -> Self {
        Self { id: id.clone(), name: Arc::clone(&entry.name), upstream_key: entry.upstream_key.clone() }
    }

    pub(super) fn into_entry(self) -> (ProjectId, ProjectEntry) {
        (self.id, ProjectEntry { name: self.name, upstream_key: self.upstream_key })
    }
}

impl ProjectRulesWire {
    pub(super) fn of(id: &ProjectId, rules: &Arc<ProjectRules>) -> Self {
        Self { id: id.clone(), rules: Arc::clone(rules) }
    }
}

impl SnapshotWire {
    /// The form in which a snapshot travels.
    pub fn of(snapshot: &Snapshot, lineage: Arc<str>) -> Self {
        let mut keys: Vec<_> =
            snapshot.keys.iter().map(|(fingerprint, entry)| KeyWire::of(*fingerprint, entry)).collect();
        keys.sort_unstable_by_key(|key| key.fingerprint);
        let credentials = snapshot.client_credentials.iter();
        let mut client_credentials: Vec<_> =
            credentials.map(|(fingerprint, principal)| CredentialWire::of(*fingerprint, principal)).collect();
        client_credentials.sort_unstable_by_key(|credential| credential.fingerprint);
        let mut projects: Vec<_> =
            snapshot.projects.iter().map(|(id, entry)| ProjectWire::of(id, entry)).collect();
        projects.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let mut project_rules: Vec<_> =
            snapshot.project_rules.iter().map(|(id, rules)| ProjectRulesWire::of(id, rules)).collect();
        project_rules.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Self {
            lineage,
            revision: snapshot.revision,
            keys,
            client_credentials,
            projects,
            project_rules,
            default_principal: snapshot.default_principal.clone(),
            governance: Arc::clone(&snapshot.governance),
        }
    }

    /// The snapshot, its policies compiled; those that `previous` has alike are taken from there. Blocks while it compiles.
    pub fn into_snapshot(self, previous: Option<&Snapshot>) -> Snapshot {
        let credentials = self.client_credentials.into_iter();
        Snapshot {
            revision: self.revision,
            keys: self.keys.into_iter().map(KeyWire::into_entry).collect(),
            client_credentials: credentials.map(|entry| (entry.fingerprint, entry.principal)).collect(),
            projects: self.projects.into_iter().map(ProjectWire::into_entry).collect(),
            project_rules: self.project_rules.into_iter().map(|entry| (entry.id, entry.rules)).collect(),
            default_principal: self.default_principal,
            policies: compiled(&self.governance, previous),
            governance: self.governance,
        }
    }
}

/// The policies of a governance: those of the previous snapshot when they are the same, so that their caches stay warm.
pub(super) fn compiled(governance: &Governance, previous: Option<&Snapshot>) -> Arc<CompiledPolicies> {
    match previous {
        Some(previous) if previous.governance.policies == governance.policies => {
            Arc::clone(&previous.policies)
        }
        Some(previous) => Arc::new(CompiledPolicies::compile(governance, Some(&previous.policies))),
        None => Arc::new(CompiledPolicies::compile(governance, None)),
    }
}

pub(super) mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::fingerprint::Fingerprint;

    pub(crate) fn text(fingerprint: &Fingerprint) -> String {
        let digits = fingerprint.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
    }

    pub(crate) fn parse(text: &str) -> Option<Fingerprint> {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes: Option<Vec<u8>> = text
            .as_bytes()
            .chunks(2)
            .map(|pair| match *pair {
                [high, low] => Some(digit(high)? << 4 | digit(low)?),
                _ => None,
            })
            .collect();
        Fingerprint::from_bytes(&bytes?)
    }

    pub(crate) fn serialize<S: Serializer>(
        fingerprint: &Fingerprint,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(fingerprint))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fingerprint, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| de::Error::custom("a fingerprint is 64 hexadecimal digits"))
    }
}

mod secret_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::secret::Secret;

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::expose_secret).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
    }
}

#[cfg(test)]
mod tests;
