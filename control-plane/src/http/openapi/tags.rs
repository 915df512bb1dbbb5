//! The parts of the API, in the order of its documentation.

/// Each tag and what its operations are about.
pub(super) const TAGS: [(&str, &str); 17] = [
    (
        "auth",
        "Signing in and out, second factors, sessions, and what people do about their own account and their own tokens.",
    ),
    ("sign-on", "Signing in through a company's own provider (OpenID Connect)."),
    ("orgs", "Organisations: whom everything else belongs to."),
    ("members", "Who has which role, and where."),
    ("teams", "Teams of an organisation."),
    ("invitations", "Asking people in by e-mail."),
    ("service accounts", "Programs that belong to an organisation, and their tokens."),
    ("projects", "Projects, their settings and the Claude key that is used for them."),
    (
        "keys",
        "What apps send: MindWeave keys, and Claude keys and logins of their own that belong to a project.",
    ),
    ("governance", "Policies, rate limits and budgets, and what was decided by them."),
    ("usage", "Single events and sums, and events of other producers."),
    ("billing", "What an organisation owes."),
    ("audit", "Every change: who made it, when, from where, and what it was before."),
    ("privacy", "What is kept of a person: to hand over, and to erase."),
    ("proxies", "The proxies that are connected, and the tokens by which they are."),
    ("installation", "What belongs to no organisation."),
    ("system", "The control plane itself."),
];
