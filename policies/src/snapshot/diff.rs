//! What changed from one snapshot to another: a new key must not cost every proxy the transfer of all keys.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use mindweave_metering::ProjectId;
use serde::{Deserialize, Serialize};

use super::Snapshot;
use super::wire::{CredentialWire, KeyWire, ProjectRulesWire, ProjectWire, compiled, hexadecimal};
use crate::fingerprint::Fingerprint;
use crate::governance::Governance;
use crate::principal::Principal;

/// From one revision to a later one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotDiff {
    /// The revision that it changes.
    pub from: u64,
    /// The revision that it leads to.
    pub revision: u64,
    /// Keys that are new or different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys_upserted: Vec<KeyWire>,
    /// Keys that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys_removed: Vec<FingerprintWire>,
    /// Credentials that are new or different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials_upserted: Vec<CredentialWire>,
    /// Credentials that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials_removed: Vec<FingerprintWire>,
    /// Projects that are new or different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects_upserted: Vec<ProjectWire>,
    /// Projects that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects_removed: Vec<ProjectId>,
    /// Projects that ask for something new of their requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub project_rules_upserted: Vec<ProjectRulesWire>,
    /// Projects that ask for nothing any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub project_rules_removed: Vec<ProjectId>,
    /// Who pays for unregistered credentials, when that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_principal: Option<DefaultPrincipal>,
    /// All policies, limits and budgets, when any of them changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governance: Option<Arc<Governance>>,
}

/// A fingerprint, in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FingerprintWire(#[serde(with = "hexadecimal")] pub Fingerprint);

/// A default principal or that there is none any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultPrincipal {
    /// The new one.
    #[serde(default)]
    pub principal: Option<Arc<Principal>>,
}

/// A diff for another snapshot than the one at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change is from revision {from}, but {found} is in force")]
pub struct WrongBase {
    /// The revision that it changes.
    pub from: u64,
    /// The revision at hand.
    pub found: u64,
}

impl SnapshotDiff {
    /// What leads from one snapshot to another.
    pub fn between(from: &Snapshot, to: &Snapshot) -> Self {
        let same_key = |a: &super::KeyEntry, b: &super::KeyEntry| {
            a.expires_at == b.expires_at && a.principal == b.principal
        };
        let same_project = |a: &super::ProjectEntry, b: &super::ProjectEntry| {
            a.name == b.name && a.upstream_key == b.upstream_key
        };
        let default_principal = (from.default_principal != to.default_principal)
            .then(|| DefaultPrincipal { principal: to.default_principal.clone() });
        let same_governance =
            Arc::ptr_eq(&from.governance, &to.governance) || from.governance == to.governance;
        Self {
            from: from.revision,
            revision: to.revision,
            keys_upserted: upserted(&from.keys, &to.keys, same_key, |id, entry| KeyWire::of(*id, entry)),
            keys_removed: removed(&from.keys, &to.keys, |id| FingerprintWire(*id)),
            credentials_upserted: upserted(
                &from.client_credentials,
                &to.client_credentials,
                Arc::eq,
                |id, principal| CredentialWire::of(*id, principal),
            ),
            credentials_removed: removed(&from.client_credentials, &to.client_credentials, |id| {
                FingerprintWire(*id)
            }),
            projects_upserted: upserted(&from.projects, &to.projects, same_project, ProjectWire::of),
            projects_removed: removed(&from.projects, &to.projects, Clone::clone),
            project_rules_upserted: upserted(
                &from.project_rules,
                &to.project_rules,
                Arc::eq,
                ProjectRulesWire::of,
            ),
            project_rules_removed: removed(&from.project_rules, &to.project_rules, Clone::clone),
            default_principal,
            governance: (!same_governance).then(|| Arc::clone(&to.governance)),
        }
    }

    /// The snapshot that it leads to. Blocks while changed policies are compiled.
    ///
    /// # Errors
    /// When it does not belong to `base`.
    pub fn apply(self, base: &Snapshot) -> Result<Snapshot, WrongBase> {
        if self.from != base.revision {
            return Err(WrongBase { from: self.from, found: base.revision });
        }
        let mut next = base.clone();
        next.revision = self.revision;
        for FingerprintWire(id) in &self.keys_removed {
            next.keys.remove(id);
        }
        next.keys.extend(self.keys_upserted.into_iter().map(KeyWire::into_entry));
        for FingerprintWire(id) in &self.credentials_removed {
            next.client_credentials.remove(id);
        }
        let credentials = self.credentials_upserted.into_iter();
        next.client_credentials.extend(credentials.map(|entry| (entry.fingerprint, entry.principal)));
        for id in &self.projects_removed {
            next.projects.remove(id);
        }
        next.projects.extend(self.projects_upserted.into_iter().map(ProjectWire::into_entry));
        for id in &self.project_rules_removed {
            next.project_rules.remove(id);
        }
        next.project_rules
            .extend(self.project_rules_upserted.into_iter().map(|entry| (entry.id, entry.rules)));
        if let Some(changed) = self.default_principal {
            next.default_principal = changed.principal;
        }
        if let Some(governance) = self.governance {
            next.policies = compiled(&governance, Some(base));
            next.governance = governance;
        }
        Ok(next)
    }
}

fn upserted<K: Eq + Hash, V, W>(
    from: &HashMap<K, V>,
    to: &HashMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
    wire: impl Fn(&K, &V) -> W,
) -> Vec<W> {
    let changed = to.iter().filter(|(id, entry)| !from.get(id).is_some_and(|known| same(known, entry)));
    changed.map(|(id, entry)| wire(id, entry)).collect()
}

fn removed<K: Eq + Hash, V, W>(from: &HashMap<K, V>, to: &HashMap<K, V>, wire: impl Fn(&K) -> W) -> Vec<W> {
    from.keys().filter(|id| !to.contains_key(id)).map(wire).collect()
}

#[cfg(test)]
mod tests;
