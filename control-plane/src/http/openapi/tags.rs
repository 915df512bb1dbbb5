//! The parts of the API, in the order of its documentation.

/// Each tag and what its operations are about.
pub(super) const TAGS: [(&str, &str); 20] = [
    ("auth", "Signing in and out, and what people do about their own account."),
    ("mfa", "Second factors: one-time passwords, recovery codes, passkeys."),
    ("tokens", "Personal access tokens, for programs that act for a person."),
    ("service-accounts", "Programs that belong to an organisation, and their tokens."),
    ("sign-on", "Signing in through a company's own provider (OpenID Connect)."),
    ("orgs", "Organisations: whom everything else belongs to."),
    ("members", "Who has which role, and where."),
    ("teams", "Teams of an organisation."),
    ("invitations", "Asking people in by e-mail."),
    ("projects", "Projects, their settings and the Claude key that is used for them."),
    ("keys", "MindWeave keys, which apps use in place of a Claude key."),
    ("credentials", "Claude keys and logins of clients' own that belong to a project."),
    ("governance", "Policies, rate limits and budgets, and what was decided by them."),
    ("usage", "Single events and sums."),
    ("analytics", "Sums by time, project, model, team, user and key."),
    ("events", "Events of other producers than MindWeave's own proxies."),
    ("audit", "Every change: who made it, when, from where, and what it was before."),
    ("privacy", "What is kept of a person: to hand over, and to erase."),
    ("proxies", "The proxies that are connected, and the tokens by which they are."),
    ("system", "The control plane itself."),
];
