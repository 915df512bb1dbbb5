# Which endpoints of the API a key may call, by its roles. What is not on the list is refused.
#
# Data:
#   roles: by role name; "*" is every key. A key may call what any of its roles may call.
#     kinds:     messages, count_tokens, batches, batch_results, complete, chat_completions, models, files, skills,
#                user_profiles, session_stream, managed_agents, organization, oauth. A kind is known by path and method
#                together, in every spelling of the path.
#     endpoints: method and path, for what has no kind of its own: "HEAD /". Ids in paths are written {id}.
package mindweave.endpoint_allow_list

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the endpoint allow-list has no `roles`"} if {
	not is_object(data.roles)
}

deny contains {"reason": "endpoint_not_allowed", "message": message} if {
	not allowed
	message := sprintf(
		"%s is not on the list of endpoints for this key (roles: %s); ask an admin of %s",
		[call, role_names, input.principal.org_name],
	)
}

allowed if {
	some role in roles
	input.request.kind in data.roles[role].kinds
}

allowed if {
	some role in roles
	call in data.roles[role].endpoints
}

call := concat(" ", [input.request.method, input.request.endpoint])

roles contains "*"

roles contains role if some role in input.principal.roles

role_names := "none" if {
	count(input.principal.roles) == 0
} else := concat(", ", input.principal.roles)
