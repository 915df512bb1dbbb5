//! Whether a project takes a request: by the forms of its credentials, and by what it says it is for.

use std::sync::Arc;

use http::header::HeaderMap;
use mindweave_policy::{CredentialForm, CredentialKind, Principal, ProjectRules, Snapshot};

use crate::error::ProxyError;
use crate::headers::X_API_KEY;
use crate::identity::{OAUTH_PREFIX, credentials};
use crate::request_metadata::Metadata;

/// Claude API keys start with this, whichever header they are in.
const API_KEY_PREFIX: &[u8] = b"sk-ant-api";

/// A request whose owner is known.
pub(crate) struct Presented<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) principal: &'a Principal,
    /// By what the owner was known.
    pub(crate) kind: CredentialKind,
    /// What the request says of itself.
    pub(crate) metadata: &'a Metadata,
}

/// Refuses what its project does not take. Where no project has rules, this looks at an empty map.
pub(crate) fn check(snapshot: &Snapshot, presented: &Presented<'_>) -> Result<(), ProxyError> {
    match snapshot.project_rules.get(&presented.principal.project_id) {
        None => Ok(()),
        Some(rules) => check_rules(rules, presented),
    }
}

fn check_rules(rules: &ProjectRules, presented: &Presented<'_>) -> Result<(), ProxyError> {
    if let Some(accepted) = &rules.credential_forms
        && !forms_accepted(accepted, presented)
    {
        return Err(ProxyError::CredentialFormNotAccepted { accepted: accepted.clone() });
    }
    let has = |name: &Arc<str>| {
        presented.principal.labels.contains_key(name) || presented.metadata.contains_key(name)
    };
    let missing: Vec<_> = rules.required_metadata.iter().filter(|name| !has(name)).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(ProxyError::MetadataMissing { names: missing }) }
}

/// Whether the project accepts every credential that the request uses: the one that names the project, and those that go on to the
/// API. A client's own key beside a MindWeave key is as much its own as without one.
fn forms_accepted(accepted: &[CredentialForm], presented: &Presented<'_>) -> bool {
    let takes = |form: CredentialForm| accepted.contains(&form);
    let own = || credentials(presented.headers).map(|(name, credential)| form(name == X_API_KEY, credential));
    match presented.kind {
        // Nothing of the client's own goes on.
        CredentialKind::VirtualKey => takes(CredentialForm::MindweaveKey),
        CredentialKind::MindweaveKey => takes(CredentialForm::MindweaveKey) && own().all(takes),
        // Without any credential there is none of an accepted form.
        CredentialKind::Registered | CredentialKind::Unregistered => {
            own().next().is_some() && own().all(takes)
        }
    }
}

/// What a client's own credential is, by how it begins; where that does not say it by its header: the API takes keys in `x-api-key`
/// and tokens as a bearer.
fn form(in_key_header: bool, credential: &[u8]) -> CredentialForm {
    let is_token = credential.starts_with(OAUTH_PREFIX.as_bytes());
    if credential.starts_with(API_KEY_PREFIX) || (in_key_header && !is_token) {
        CredentialForm::AnthropicApiKey
    } else {
        CredentialForm::OauthToken
    }
}

#[cfg(test)]
mod tests {
    use CredentialForm::{AnthropicApiKey, MindweaveKey, OauthToken};
    use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
    use mindweave_metering::{OrgId, ProjectId};

    use super::*;

    fn principal() -> Principal {
        Principal {
            org_id: OrgId::new("org_1"),
            project_id: ProjectId::new("prj_1"),
            team_id: None,
            user_id: None,
            key_id: None,
            roles: Vec::new(),
            labels: [("env".into(), "prod".into())].into(),
        }
    }

    fn judged(
        rules: ProjectRules,
        kind: CredentialKind,
        headers: &[(HeaderName, &'static str)],
        metadata: &Metadata,
    ) -> Result<(), ProxyError> {
        let headers: HeaderMap =
            (headers.iter()).map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        let project_rules = [(ProjectId::new("prj_1"), Arc::new(rules))].into();
        let snapshot = Snapshot { project_rules, ..Snapshot::default() };
        let presented = Presented { headers: &headers, principal: &principal(), kind, metadata };
        check(&snapshot, &presented)
    }

    #[test]
    fn only_credentials_of_accepted_forms_pass() {
        let api_key = (X_API_KEY, "sk-ant-api03-x");
        let token = (AUTHORIZATION, "Bearer sk-ant-oat01-x");
        let key_as_bearer = (AUTHORIZATION, "Bearer sk-ant-api03-x");
        let token_as_key = (X_API_KEY, "sk-ant-oat01-x");
        let workload = (AUTHORIZATION, "Bearer eyJhbGciOi");
        let basic = (AUTHORIZATION, "Basic eDp5");
        let virtual_key = (X_API_KEY, "mw_key");
        use CredentialKind as Kind;
        let rows = [
            (Kind::VirtualKey, vec![virtual_key.clone()], vec![MindweaveKey]),
            (Kind::VirtualKey, vec![virtual_key, token.clone()], vec![MindweaveKey]),
            (Kind::MindweaveKey, vec![], vec![MindweaveKey]),
            (Kind::MindweaveKey, vec![token.clone()], vec![MindweaveKey, OauthToken]),
            (Kind::MindweaveKey, vec![api_key.clone()], vec![MindweaveKey, AnthropicApiKey]),
            (Kind::Registered, vec![api_key.clone()], vec![AnthropicApiKey]),
            (Kind::Unregistered, vec![token.clone()], vec![OauthToken]),
            (Kind::Unregistered, vec![workload], vec![OauthToken]),
            (Kind::Unregistered, vec![key_as_bearer], vec![AnthropicApiKey]),
            (Kind::Registered, vec![token_as_key], vec![OauthToken]),
            (Kind::Registered, vec![api_key, token], vec![AnthropicApiKey, OauthToken]),
        ];
        for (kind, headers, needed) in rows {
            for bits in 0..8_u8 {
                let accepted: Vec<_> =
                    (0..3).filter(|bit| bits >> bit & 1 == 1).map(|bit| CredentialForm::ALL[bit]).collect();
                let expected = needed.iter().all(|form| accepted.contains(form));
                let rules =
                    ProjectRules { credential_forms: Some(accepted.clone()), ..ProjectRules::default() };
                let passed = judged(rules, kind, &headers, &Metadata::new()).is_ok();
                assert_eq!(passed, expected, "{kind:?} {headers:?} where {accepted:?} are accepted");
            }
        }
        for none in [&[][..], &[basic]] {
            let all = ProjectRules {
                credential_forms: Some(CredentialForm::ALL.into()),
                ..ProjectRules::default()
            };
            assert!(judged(all, Kind::Unregistered, none, &Metadata::new()).is_err());
            assert!(judged(ProjectRules::default(), Kind::Unregistered, none, &Metadata::new()).is_ok());
        }
    }

    #[test]
    fn metadata_counts_from_the_key_and_from_the_request_and_what_lacks_is_named() {
        let asks = |names: &[&str]| ProjectRules {
            required_metadata: names.iter().map(|name| Arc::from(*name)).collect(),
            ..ProjectRules::default()
        };
        let said: Metadata = [("ticket".into(), "A-1".into())].into();
        let judged =
            |names: &[&str], said: &Metadata| judged(asks(names), CredentialKind::VirtualKey, &[], said);
        assert!(judged(&["env"], &Metadata::new()).is_ok());
        assert!(judged(&["env", "ticket"], &said).is_ok());
        let Err(ProxyError::MetadataMissing { names }) = judged(&["team", "env", "ticket"], &Metadata::new())
        else {
            panic!("two names lack")
        };
        assert_eq!(names, ["team".into(), "ticket".into()]);
    }
}
