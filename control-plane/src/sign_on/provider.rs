//! A sign-on provider as the API shows it.

use jiff::Timestamp;
use mindweave_identity::oidc::{Issuer, Registration};
use mindweave_policy::Secret;
use serde::{Deserialize, Serialize};

use crate::access::{Place, Role};
use crate::http::problem::Problem;

/// Whose word about addresses is only good with `hd`: <https://developers.google.com/identity/openid-connect/openid-connect#hd-param>.
/// Everybody on earth can be signed in by it.
pub(super) const GOOGLE: &str = "https://accounts.google.com";

/// Who may come in by a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Provisioning {
    /// Also people who are new: their accounts are made when they first sign in.
    JustInTime,
    /// People who have a role in the organisation already.
    MembersOnly,
}

/// Where a mapped role is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MappedPlace {
    Org,
    Team,
    Project,
}

/// The role that people of a group get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct MappedRole {
    /// As the provider writes it in the claim.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) group: String,
    pub(crate) role: Role,
    pub(crate) place: MappedPlace,
    /// The team or project; not for the organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place_id: Option<String>,
}

impl MappedRole {
    pub(super) fn place(&self) -> Place {
        let id = self.place_id.clone().unwrap_or_default();
        match self.place {
            MappedPlace::Org => Place::Org,
            MappedPlace::Team => Place::Team(id),
            MappedPlace::Project => Place::Project(id),
        }
    }
}

/// What is stored of a provider as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Settings {
    /// What is asked of the provider; `openid` is always among it.
    pub(crate) scopes: Vec<String>,
    /// The claim with the groups or app roles. Its name, or the way to it with dots.
    pub(crate) groups_claim: Option<String>,
    /// Which groups have which roles. At every sign-in, roles that the groups do not give any more are taken.
    pub(crate) role_mapping: Vec<MappedRole>,
    /// The role in the organisation of people to whom no group gives one; without it, they are refused unless they have been given a
    /// role by hand.
    pub(crate) default_role: Option<Role>,
    /// Only people with an address of one of these domains may sign in. Empty: all that the provider knows.
    pub(crate) domains: Vec<String>,
    pub(crate) provisioning: Provisioning,
}

impl Settings {
    /// What holds for what a new provider does not say.
    pub(super) fn usual() -> Self {
        Self {
            scopes: ["openid", "email", "profile"].map(str::to_owned).into(),
            groups_claim: None,
            role_mapping: Vec::new(),
            default_role: None,
            domains: Vec::new(),
            provisioning: Provisioning::JustInTime,
        }
    }

    /// The roles that it can give.
    pub(super) fn gives(&self) -> impl Iterator<Item = Role> {
        self.role_mapping.iter().map(|mapped| mapped.role).chain(self.default_role)
    }
}

/// A sign-on provider. Its client secret is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Provider {
    /// Its name in `/auth/oauth/{provider}`.
    #[schema(example = "okta")]
    pub(crate) id: String,
    pub(crate) org_id: String,
    /// What people are shown.
    pub(crate) name: String,
    /// Exactly as the provider writes it.
    #[schema(example = "https://example.okta.com")]
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// Whether a client secret is stored.
    pub(crate) has_client_secret: bool,
    #[serde(flatten)]
    pub(crate) settings: Settings,
    pub(crate) enabled: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl Provider {
    /// What we are to it.
    pub(super) fn registration(&self, client_secret: Option<Secret>) -> Result<Registration, Problem> {
        Ok(Registration {
            issuer: Issuer::new(&self.issuer).map_err(|error| Problem::internal(&error))?,
            client_id: self.client_id.clone(),
            client_secret,
            scopes: self.settings.scopes.clone(),
            groups_claim: self.settings.groups_claim.clone(),
        })
    }

    /// Whether people with an address of this domain may come in.
    pub(super) fn takes_domain(&self, domain: &str) -> bool {
        let domains = &self.settings.domains;
        domains.is_empty() || domains.iter().any(|own| own.eq_ignore_ascii_case(domain))
    }
}
