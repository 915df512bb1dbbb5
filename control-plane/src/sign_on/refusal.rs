//! Why a sign-on was refused, as the person reads it, and as the audit log names it.

use mindweave_identity::oidc::{FetchFault, OidcError};

use crate::http::problem::{Code, Problem};

/// Why nobody was signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The provider says that the person, or its own rules, did not want it: `error` of RFC 6749, section 4.1.2.1.
    Declined(&'static str),
    /// The provider cannot be asked, or what it says is not believed.
    Provider(OidcError),
    /// It tells no address.
    EmailMissing,
    /// It says that the address is not verified.
    EmailUnverified,
    /// The address is of another domain.
    Domain,
    /// Somebody has this address here, and the provider's word is not enough to be them.
    AccountExists,
    /// There is no such member, and none is made.
    NotAMember,
    /// Neither a group nor anybody has given them a role.
    NoRole,
    /// The account is disabled.
    Disabled,
    /// Who wants to link an identity is not whose identity it is.
    IdentityTaken,
}

impl From<OidcError> for Refusal {
    fn from(error: OidcError) -> Self {
        Self::Provider(error)
    }
}

/// What a provider may say to the browser (RFC 6749, section 4.1.2.1; OpenID Connect Core 1.0, section 3.1.2.6). Its own words are not
/// repeated.
pub(super) fn declined(error: &str) -> Refusal {
    const KNOWN: [&str; 12] = [
        "access_denied",
        "invalid_request",
        "unauthorized_client",
        "unsupported_response_type",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "interaction_required",
        "login_required",
        "account_selection_required",
        "consent_required",
        "registration_not_supported",
    ];
    Refusal::Declined(KNOWN.into_iter().find(|known| *known == error).unwrap_or("other"))
}

impl Refusal {
    /// A word for the audit log.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Declined(error) => error,
            Self::Provider(error) => error.reason(),
            Self::EmailMissing => "email_missing",
            Self::EmailUnverified => "email_unverified",
            Self::Domain => "domain",
            Self::AccountExists => "account_exists",
            Self::NotAMember => "not_a_member",
            Self::NoRole => "no_role",
            Self::Disabled => "user_disabled",
            Self::IdentityTaken => "identity_taken",
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Declined(error) => {
                format!("the sign-on provider did not sign you in: it says {error}; try again, or ask its administrators")
            }
            Self::Provider(error) if error.is_away() => {
                format!("the sign-on provider cannot be used now: {error}; try again later, or sign in another way")
            }
            Self::Provider(error) => {
                format!("the sign-on did not come to its end: {error}; the administrators of your organisation can put it right")
            }
            Self::EmailMissing => {
                "the provider tells no e-mail address: its administrators must let it send the claim `email`".to_owned()
            }
            Self::EmailUnverified => {
                "the provider says that your e-mail address is not verified: verify it there first".to_owned()
            }
            Self::Domain => "people with your e-mail address's domain may not sign in by this provider".to_owned(),
            Self::AccountExists => {
                "there is an account with your e-mail address already, which this provider's word does not open: sign in to it as \
                 before, and link this provider there (POST /auth/oauth/{provider}/link)"
                    .to_owned()
            }
            Self::NotAMember => {
                "only members of the organisation may sign in by this provider: ask for an invitation".to_owned()
            }
            Self::NoRole => {
                "none of your groups gives you a role in the organisation: ask its administrators".to_owned()
            }
            Self::Disabled => "this account is disabled".to_owned(),
            Self::IdentityTaken => "this identity at the provider is another account's".to_owned(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Provider(OidcError::Fetch { fault: FetchFault::Resting, .. }) => Code::Busy,
            Refusal::Provider(OidcError::Fetch { .. } | OidcError::Metadata(_)) => Code::ProviderUnavailable,
            _ => Code::SignOnRefused,
        };
        Self::new(code, refusal.sentence())
    }
}
