"""What the description cannot say: refusals of requests that fit it, by operation. Anything else that refuses such a request is a fault.

Each text is the code of a problem, or a part of what it says of a field, after the name of the field."""

# One-time tokens are secrets: nobody has one who was not sent it.
LINK = ["invalid_link"]
# A password has to be a rare one.
PASSWORD = ["password: is one that many people use", "password: repeats itself", "password: must not"]
# Of the ways to prove who one is, a request takes one; the password has to be the right one.
PROOF = ["code: give only one of", "code: must be", "recovery_code: ", "password: ", "passkey", "invalid_link", "code: "]
# Ids of things that are not there.
PLACE = ["team_id: is not the id of a team", "project_id: ", "org_id: "]
SCOPE = ["scope: there is no", "scope: no ", "scope: "]
# A policy has to compile.
REGO = ["invalid_policy", "rego: ", "bundled: ", "data: "]
TIMES = ["range_too_wide", "from: must be before to", "to: ", "interval: sums by"]
FUTURE = ["expires_at: must lie in the future"]
EVENT = ["invalid_event"]

REFUSALS = {
    "DELETE /orgs/{org_id}": ["confirm: must be the name"],
    "GET /analytics/usage": TIMES + ["group_by: must be a comma-separated list"],
    "GET /v1/usage/summary": TIMES + ["group_by: must be a comma-separated list"],
    "GET /auth/oauth/callback": LINK,
    "GET /auth/oauth/{provider}": ["return_to: must be a path", "code_challenge: "],
    "POST /auth/oauth/{provider}/link": ["return_to: must be a path"],
    "POST /auth/oauth/token": LINK,
    "POST /auth/mfa/disable": PROOF,
    "POST /auth/mfa/enable": PROOF,
    "POST /auth/mfa/recovery-codes": PROOF,
    "POST /auth/mfa/verify": PROOF,
    "POST /auth/passkeys/login/start": LINK,
    "POST /auth/passkeys/login/finish": LINK + ["credential: this is not the answer"],
    "POST /auth/passkeys/register/start": PROOF,
    "POST /auth/passkeys/register/finish": LINK + ["credential: this is not the answer"],
    "POST /auth/password": ["current_password: is not your password", "new_password: "],
    "POST /auth/register": PASSWORD,
    "POST /auth/reset": LINK + PASSWORD,
    "POST /auth/setup": LINK + PASSWORD,
    "POST /auth/tokens": PROOF,
    "POST /auth/verify-email": LINK,
    "POST /invitations/accept": LINK,
    "POST /governance/evaluate": REGO + ["request.client_ip: ", "request.mcp_tools: ", "principal.", "policy.id: is no policy in force"],
    "POST /governance/limits": SCOPE + ["burst: is not for concurrent_requests"],
    "PATCH /governance/limits/{limit_id}": SCOPE + ["burst: is not for concurrent_requests"],
    "POST /governance/policies": REGO + SCOPE,
    "PATCH /governance/policies/{policy_id}": REGO + SCOPE,
    "POST /governance/policies/{policy_id}/replay": REGO + TIMES + ["version: "],
    "POST /governance/policies/{policy_id}/restore": ["version: "],
    "POST /governance/quotas": SCOPE + ["limit_usd: is for budgets of the unit cost", "limit_usd: must be a text with a decimal"],
    "PATCH /governance/quotas/{quota_id}": SCOPE
    + ["limit_usd: is for budgets of the unit cost", "limit_usd: must be a text with a decimal", "unit: changes what limit means"],
    "POST /orgs": ["time_zone: must be an IANA time zone"],
    "PATCH /orgs/{org_id}": ["time_zone: must be an IANA time zone"],
    "POST /orgs/{org_id}/invitations": PLACE,
    "POST /orgs/{org_id}/sign-on": ["issuer: ", "scopes: ", "domains: ", "role_mapping"],
    "PATCH /orgs/{org_id}/sign-on/{provider}": ["issuer: ", "scopes: ", "domains: ", "role_mapping"],
    "POST /projects": PLACE,
    "PATCH /projects/{project_id}": PLACE,
    "PATCH /projects/{project_id}/settings": ["required_metadata: "],
    "POST /projects/{project_id}/credentials": PLACE,
    "PATCH /projects/{project_id}/credentials/{credential_id}": PLACE,
    "POST /projects/{project_id}/keys": PLACE + FUTURE,
    "PATCH /projects/{project_id}/keys/{key_id}": PLACE + FUTURE,
    "POST /proxies/tokens": FUTURE,
    "POST /v1/events": EVENT,
    "POST /v1/track": EVENT,
}


def explains(operation, problem):
    """Whether each thing that the problem names is a refusal that this operation has."""
    known = REFUSALS.get(operation, [])
    if problem.get("code") in known:
        return True
    errors = [f"{error['field']}: {error['message']}" for error in problem.get("errors", ())]
    errors = errors or [problem.get("detail", "")]
    return all(any(text in error for text in known) for error in errors)
