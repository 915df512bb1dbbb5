//! What can go wrong with a provider. No text of the provider's is in any of it but what is compared with ours.

use super::issuer::IssuerFault;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `/.well-known/openid-configuration`.
    Discovery,
    /// `jwks_uri`.
    Keys,
    /// `token_endpoint`.
    Token,
    /// `userinfo_endpoint`.
    UserInfo,
}

impl std::fmt::Display for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Discovery => "the discovery document",
            Self::Keys => "the list of keys",
            Self::Token => "the token endpoint",
            Self::UserInfo => "the userinfo endpoint",
        })
    }
}

/// Why there was no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFault {
    /// No connection.
    #[error("cannot be reached: check the host and port, and whether a firewall lets MindWeave out to it")]
    Unreachable,
    /// No such host.
    #[error("cannot be reached: its host name is not known here")]
    UnknownHost,
    /// The certificate, or TLS as such.
    #[error("cannot be reached over TLS: its certificate must be one that this machine trusts")]
    Tls,
    /// Too slow.
    #[error("did not answer in time")]
    Timeout,
    /// An answer longer than any that is meant.
    #[error("sent more than such an answer has")]
    TooLarge,
    /// An unexpected status.
    #[error("answered with the status {0}")]
    Status(u16),
    /// A redirect, which is not followed: it may lead anywhere.
    #[error("answered with a redirect, which is not followed: give the address that it leads to")]
    Redirected,
    /// Something else than the JSON object that it should be.
    #[error("did not answer with a JSON object of the expected form")]
    NotJson,
    /// The last attempt, a moment ago, found it away, or too many are waiting for it.
    #[error("did not answer others a moment ago; try again in some seconds")]
    Resting,
}

/// Why a discovery document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// Another issuer's.
    #[error("says that its issuer is {0:?}, which is not the one given: both must be the same to the letter")]
    OtherIssuer(String),
    /// Entra ID's documents for people of all tenants.
    #[error(
        "is Entra ID's for people of any tenant: give your tenant's issuer, https://login.microsoftonline.com/<tenant id>/v2.0"
    )]
    AllTenants,
    /// An endpoint is missing.
    #[error("names no {0}")]
    Missing(&'static str),
    /// An endpoint has no usable address.
    #[error("names a {0} that is not an https URL")]
    Insecure(&'static str),
    /// No authorisation code flow.
    #[error("does not offer the authorisation code flow (response_types_supported has no \"code\")")]
    NoCodeFlow,
    /// PKCE only in the clear.
    #[error("does not offer PKCE with S256 (code_challenge_methods_supported)")]
    NoS256,
    /// Signs in no way that can be checked.
    #[error(
        "signs ID tokens with none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA: choose one of them for this client"
    )]
    NoAlgorithm,
    /// Takes no client secret as we can send it.
    #[error(
        "takes client secrets neither as client_secret_basic nor as client_secret_post: choose one of them for this client"
    )]
    NoClientAuthentication,
}

/// Why an ID token was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a signed token at all.
    #[error("it is not a signed token")]
    Malformed,
    /// `none`, a shared secret, or something else that is not accepted.
    #[error("its algorithm is not one that is accepted")]
    Algorithm,
    /// None of the issuer's keys.
    #[error("it was signed with a key that the issuer does not list")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// Of another issuer.
    #[error("it is another issuer's")]
    Issuer,
    /// For another client.
    #[error("it was made for another client")]
    Audience,
    /// Given to another client.
    #[error("it was given to another client")]
    AuthorizedParty,
    /// Too old.
    #[error("it has expired, or the clocks differ")]
    Expired,
    /// From the future, or long ago.
    #[error("its time of issue is not now: do the clocks agree?")]
    IssuedAt,
    /// Of another sign-on.
    #[error("it was made for another sign-on")]
    Nonce,
    /// The access token is another one's.
    #[error("it belongs to another access token")]
    AccessTokenHash,
    /// Says not who it is about.
    #[error("it does not say whom it is about")]
    Subject,
    /// What userinfo says is about somebody else.
    #[error("the userinfo endpoint speaks of somebody else")]
    UserInfoSubject,
    /// More groups than an ID token of Entra ID's holds, so that it holds none.
    #[error(
        "the person has too many groups for the token: in Entra ID, send only groups assigned to the application, or use app roles"
    )]
    GroupsOverage,
}

/// Why a sign-on did not come to its end at the provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// The issuer is none.
    #[error("the issuer {0}")]
    Issuer(#[from] IssuerFault),
    /// The provider cannot be asked.
    #[error("{document} {fault}")]
    Fetch {
        /// What was asked for.
        document: Document,
        /// What happened.
        fault: FetchFault,
    },
    /// The discovery document cannot be used.
    #[error("the discovery document {0}")]
    Metadata(#[from] MetadataFault),
    /// The token endpoint did not take the code.
    #[error("the provider refused the exchange of the code: {0}")]
    Refused(&'static str),
    /// The answer to the browser came from another issuer (RFC 9207).
    #[error("the answer came from another issuer")]
    OtherIssuerAnswered,
    /// The ID token is not believed.
    #[error("the ID token was refused: {0}")]
    Token(#[from] TokenFault),
}

impl OidcError {
    /// A word for logs and the audit log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Issuer(_) => "issuer_invalid",
            Self::Fetch { fault: FetchFault::Timeout, .. } => "provider_timeout",
            Self::Fetch { .. } if self.is_away() => "provider_away",
            Self::Fetch { .. } | Self::Metadata(_) => "provider_unfit",
            Self::Refused(_) => "code_refused",
            Self::OtherIssuerAnswered => "issuer_mismatch",
            Self::Token(fault) => fault.reason(),
        }
    }

    /// Whether it may work in a moment: the provider is away, not wrong.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Fetch { fault, .. } => match fault {
                FetchFault::Unreachable
                | FetchFault::UnknownHost
                | FetchFault::Tls
                | FetchFault::Timeout
                | FetchFault::Resting => true,
                FetchFault::Status(status) => *status >= 500,
                FetchFault::TooLarge | FetchFault::Redirected | FetchFault::NotJson => false,
            },
            Self::Issuer(_)
            | Self::Metadata(_)
            | Self::Refused(_)
            | Self::OtherIssuerAnswered
            | Self::Token(_) => false,
        }
    }
}

impl TokenFault {
    /// A word for logs and the audit log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_key_unknown",
            Self::Signature => "token_signature",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::AuthorizedParty => "token_authorized_party",
            Self::Expired => "token_expired",
            Self::IssuedAt => "token_issued_at",
            Self::Nonce => "token_nonce",
            Self::AccessTokenHash => "token_access_token_hash",
            Self::Subject => "token_subject",
            Self::UserInfoSubject => "userinfo_subject",
            Self::GroupsOverage => "groups_overage",
        }
    }
}
