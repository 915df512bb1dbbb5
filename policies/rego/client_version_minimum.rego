# The oldest versions of clients that are accepted, by their user agent.
#
# Data:
#   minimum: versions by client, as its user agent begins: "claude-cli" for `claude-cli/2.0.31 (external, cli)`,
#            "Anthropic/Python" for `Anthropic/Python 0.40.0`.
#   others:  what happens to clients that are not listed, or do not say who they are: "allow" (also when not given),
#            "warn" or "deny".
#
# A user agent is what the client says it is: this finds old clients, it does not keep out dishonest ones.
package mindweave.client_version_minimum

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the client versions has no `minimum`"} if {
	not is_object(data.minimum)
}

deny contains {"reason": "client_too_old", "message": message} if {
	listed
	not recent
	message := sprintf("%s is too old for %s: update it to %s or later", [words[0], input.principal.org_name, minimum])
}

deny contains {"reason": "client_unknown", "message": "this client is not on the list of those that may be used"} if {
	data.others == "deny"
	not listed
}

warn contains {"reason": "client_unknown", "message": "this client is not on the list of those that are kept up to date"} if {
	data.others == "warn"
	not listed
}

listed if is_string(minimum)

recent if semver.compare(version, minimum) >= 0

# `Anthropic/Python 0.40.0` has its version in the second word, `claude-cli/2.0.31 (external, cli)` in the first.
minimum := data.minimum[words[0]] if {
	is_string(data.minimum[words[0]])
} else := data.minimum[parts[0]]

version := words[1] if {
	is_string(data.minimum[words[0]])
} else := parts[1]

words := split(input.request.user_agent, " ")

parts := split(words[0], "/")
