//! What a project asks of its requests, beyond a credential that is good.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A form in which a request proves whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialForm {
    /// `mw_...`, in the place of a Claude key or beside the client's own.
    MindweaveKey,
    /// The client's own Claude API key.
    AnthropicApiKey,
    /// The client's own OAuth or workload-identity token, as Claude Code has after a login.
    OauthToken,
    /// One that a newer control plane knows. No request has it here.
    #[serde(other)]
    Unknown,
}

impl CredentialForm {
    /// Those that there are.
    pub const ALL: [Self; 3] = [Self::MindweaveKey, Self::AnthropicApiKey, Self::OauthToken];

    /// Its name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MindweaveKey => "mindweave_key",
            Self::AnthropicApiKey => "anthropic_api_key",
            Self::OauthToken => "oauth_token",
            Self::Unknown => "unknown",
        }
    }
}

/// The rules of one project. A project without any has none of these at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRules {
    /// The forms that it accepts; `None`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_forms: Option<Vec<CredentialForm>>,
    /// Names that must be among a request's metadata: labels of its key, or what it says of itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_metadata: Vec<Arc<str>>,
    /// Days that its raw events are kept, where that is less than the others are: older ones are not known any more, so they
    /// must not be delivered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_days: Option<u32>,
}

impl ProjectRules {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
