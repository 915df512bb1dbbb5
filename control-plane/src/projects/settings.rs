//! What a project asks of its requests, and how long its raw events are kept.

use mindweave_policy::{CredentialForm, ProjectRules};
use serde::{Deserialize, Serialize};

use crate::db::StoreError;
use crate::http::body::Fields;

/// Most names that one project may require: each is looked for in every request.
const MAX_REQUIRED: usize = 16;
/// Longest of these names, in bytes: longer ones cannot be sent.
const MAX_NAME_BYTES: usize = 128;
/// Longest retention that can be asked for, in days: ten years.
const MAX_RAW_DAYS: i64 = 3_650;

/// The settings as they are stored. What is not set is left out, so that it follows the defaults of later versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProjectSettings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_credentials: Option<Vec<CredentialForm>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    required_metadata: Vec<String>,
    #[serde(default)]
    retention: Retention,
}

/// How long something of a project is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ProjectRetention)]
pub(crate) struct Retention {
    /// Days that raw events are kept. `null`, or more than the installation keeps them: as long as those.
    #[schema(minimum = 1, maximum = 3650)]
    raw_days: Option<u32>,
}

/// The settings of a project, all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct ShownSettings {
    /// The forms of credentials that requests may use. A client's own key beside a MindWeave key counts as well.
    #[schema(value_type = Vec<CredentialFormName>)]
    client_credentials: Vec<CredentialForm>,
    /// Names that a request's metadata must have: labels of its key, or pairs of its header `x-mindweave-metadata`.
    required_metadata: Vec<String>,
    retention: Retention,
}

/// A form in which a request proves whose it is.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CredentialForm)]
#[expect(dead_code, reason = "describes `CredentialForm` of another crate")]
pub(crate) enum CredentialFormName {
    MindweaveKey,
    AnthropicApiKey,
    OauthToken,
}

impl ProjectSettings {
    /// What stands in the database.
    pub(crate) fn stored(json: &str) -> Result<Self, StoreError> {
        serde_json::from_str(json).map_err(|_| StoreError::Corrupt { what: "the settings of a project" })
    }

    /// As it is stored.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned()) // texts and numbers only: it always serialises
    }

    /// As the API shows it.
    pub(super) fn shown(&self) -> ShownSettings {
        let forms = self.client_credentials.clone().unwrap_or_else(|| CredentialForm::ALL.into());
        ShownSettings {
            client_credentials: forms,
            required_metadata: self.required_metadata.clone(),
            retention: self.retention,
        }
    }

    /// What proxies and the intake of events go by.
    pub(crate) fn rules(&self) -> ProjectRules {
        ProjectRules {
            credential_forms: self.client_credentials.clone(),
            required_metadata: self.required_metadata.iter().map(|name| name.as_str().into()).collect(),
            raw_days: self.retention.raw_days,
        }
    }

    /// Days that raw events are kept, if the project says so.
    pub(crate) fn raw_days(&self) -> Option<u32> {
        self.retention.raw_days
    }

    /// What a request changes: what is not given stays, and `null` stands for the default.
    pub(super) fn change(&mut self, fields: &mut Fields) {
        if fields.given("client_credentials") {
            self.client_credentials = read_forms(fields);
        }
        if fields.given("required_metadata") {
            self.required_metadata = read_names(fields);
        }
        if fields.given("retention") {
            self.retention = match fields.nested("retention") {
                None => Retention::default(),
                Some(mut nested) => {
                    if nested.given("raw_days") {
                        let days = nested.count("raw_days", 1, MAX_RAW_DAYS);
                        self.retention.raw_days = days.and_then(|days| u32::try_from(days).ok());
                    }
                    fields.close(nested);
                    self.retention
                }
            };
        }
    }
}

/// `None` for all forms that there are: those of later versions then count as well.
fn read_forms(fields: &mut Fields) -> Option<Vec<CredentialForm>> {
    let words = fields.texts("client_credentials", CredentialForm::ALL.len())?;
    let known = |word: &String| CredentialForm::ALL.into_iter().find(|form| form.as_str() == word);
    let given: Option<Vec<_>> = words.iter().map(known).collect();
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        let names = CredentialForm::ALL.map(CredentialForm::as_str).join(", ");
        fields.refuse("client_credentials", &format!("must be one or more of: {names}"));
        return None;
    };
    let forms: Vec<_> = CredentialForm::ALL.into_iter().filter(|form| given.contains(form)).collect();
    (forms.len() < CredentialForm::ALL.len()).then_some(forms)
}

fn read_names(fields: &mut Fields) -> Vec<String> {
    let mut names = fields.texts("required_metadata", MAX_REQUIRED).unwrap_or_default();
    if names.iter().any(|name| name.len() > MAX_NAME_BYTES || name.trim() != name) {
        let message = format!("names have at most {MAX_NAME_BYTES} bytes and no blanks around them");
        fields.refuse("required_metadata", &message);
    }
    names.sort_unstable();
    names.dedup();
    names
}
