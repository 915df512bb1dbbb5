//! Whose usage an event is. What a key says, an event need not say and must not contradict.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::SignedDuration;
use mindweave_metering::{KeyId, OrgId, ProjectId, TeamId, UserId};
use mindweave_policy::{Principal, Snapshot};

use super::caller::Caller;
use super::fault::Faults;
use super::form::{Places, Sent, SentOwner};

/// Completes the owners of one request's events.
pub(super) struct Owners<'a> {
    caller: &'a Caller,
    snapshot: &'a Snapshot,
    /// Keys in force by id, once somebody names one.
    keys: OnceCell<HashMap<&'a KeyId, &'a Arc<Principal>>>,
}

impl<'a> Owners<'a> {
    pub(super) fn new(caller: &'a Caller, snapshot: &'a Snapshot) -> Self {
        Self { caller, snapshot, keys: OnceCell::new() }
    }

    /// Sets the owner of an event.
    pub(super) fn complete(&self, sent: &mut Sent, faults: &mut Faults) {
        let SentOwner { org_id, project_id, team_id, user_id, key_id } = std::mem::take(&mut sent.owner);
        let principal = match self.caller {
            Caller::Key(principal) => Some(&**principal),
            // A key of a project that is not open to them is as good as none.
            Caller::Member { projects, .. } => {
                let named = key_id.as_ref().and_then(|key_id| self.key(key_id));
                named.filter(|principal| projects.contains_key(&principal.project_id))
            }
        };
        let places = &sent.places;
        let whose = Whose { places, is_key: matches!(self.caller, Caller::Key(_)) };
        let of = |id: fn(&Principal) -> Option<&str>| principal.and_then(id);
        let project = of(|principal| Some(principal.project_id.as_str()));
        let (team, user) = (
            of(|principal| principal.team_id.as_ref().map(TeamId::as_str)),
            of(|principal| principal.user_id.as_ref().map(UserId::as_str)),
        );
        whose.hold(faults, "project_id", project_id.as_deref(), project);
        whose.hold(faults, "team_id", team_id.as_deref(), team);
        whose.hold(faults, "user_id", user_id.as_deref(), user);
        let project = project.map(Arc::from).or(project_id).map(ProjectId::new);
        let org = match (principal, &project) {
            (Some(principal), _) => Some(&principal.org_id),
            (None, Some(project)) => self.org(project),
            (None, None) => None,
        };
        whose.hold(faults, "org_id", org_id.as_deref(), org.map(OrgId::as_str));
        let draft = &mut sent.draft;
        match (project, org) {
            (Some(project), Some(org)) if self.snapshot.projects.contains_key(&project) => {
                (draft.project_id, draft.org_id) = (project, org.clone());
            }
            (Some(_), _) => faults.add(places.of("project_id"), "is not the id of a project here"),
            (None, _) => faults.add(
                places.of("project_id"),
                "is required without a MindWeave key, or the key_id of a key in force",
            ),
        }
        draft.team_id = team.map(Arc::from).or(team_id).map(TeamId::new);
        draft.user_id = user.map(Arc::from).or(user_id).map(UserId::new);
        draft.key_id = match self.caller {
            Caller::Key(principal) => {
                let own = principal.key_id.as_ref().map(KeyId::as_str);
                whose.hold(faults, "key_id", key_id.as_deref(), own);
                principal.key_id.clone()
            }
            Caller::Member { .. } => key_id.map(KeyId::new),
        };
        if let Some(principal) = principal {
            label(&mut draft.metadata, &principal.labels, places, faults);
        }
    }

    /// How long raw events of a project are kept, where the project says so.
    pub(super) fn kept(&self, project_id: &ProjectId) -> Option<SignedDuration> {
        let days = self.snapshot.project_rules.get(project_id)?.raw_days?;
        Some(SignedDuration::from_hours(i64::from(days).saturating_mul(24)))
    }

    /// Of what is in force.
    pub(super) fn revision(&self) -> u64 {
        self.snapshot.revision
    }

    fn key(&self, key_id: &str) -> Option<&'a Principal> {
        let snapshot = self.snapshot;
        let keys = self.keys.get_or_init(|| {
            let principals = snapshot.keys.values().map(|entry| &entry.principal);
            principals.filter_map(|principal| Some((principal.key_id.as_ref()?, principal))).collect()
        });
        keys.get(&KeyId::new(key_id)).map(|principal| &***principal)
    }

    /// Whose a project is that is open to the caller.
    fn org(&self, project_id: &ProjectId) -> Option<&'a OrgId> {
        match self.caller {
            Caller::Key(principal) => Some(&principal.org_id),
            Caller::Member { projects, .. } => projects.get(project_id),
        }
    }
}

struct Whose<'a> {
    places: &'a Places,
    is_key: bool,
}

impl Whose<'_> {
    /// Refuses what contradicts the key.
    fn hold(&self, faults: &mut Faults, field: &str, given: Option<&str>, own: Option<&str>) {
        if given.is_some() && own.is_some() && given != own {
            let whose = if self.is_key {
                "the key that this was sent with"
            } else {
                "the key or installation that it names"
            };
            faults.add(self.places.of(field), format!("is not that of {whose}; it can be left out"));
        }
    }
}

/// Adds the key's labels.
fn label(
    metadata: &mut BTreeMap<Arc<str>, Arc<str>>,
    labels: &BTreeMap<Arc<str>, Arc<str>>,
    places: &Places,
    faults: &mut Faults,
) {
    for (name, value) in labels {
        let before = metadata.insert(Arc::clone(name), Arc::clone(value));
        if before.is_some_and(|before| before != *value) {
            let place = super::fault::pointer_to(&places.of("metadata"), name);
            faults.add(place, "is a label of the key, which an event must not contradict");
        }
    }
}
