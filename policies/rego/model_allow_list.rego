# Which models a key may use, by its roles. What is not on the list is refused.
#
# Data:
#   roles: by role name; "*" is every key, also one without roles. A key may use what any of its roles may use.
#     models:   model ids. An id without a date also covers its dated snapshots.
#     families: beginnings of ids: "claude-haiku-" covers every Haiku. End them with "-", or more is covered than meant.
#
# Batches are judged by every model in them, and `fallbacks: "default"`, with which the API chooses, is refused. Managed agents name their models in bodies that are not read: shut those
# endpoints with endpoint_allow_list where that matters.
package mindweave.model_allow_list

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the model allow-list has no `roles`"} if {
	not is_object(data.roles)
}

deny contains {"reason": "request_too_varied", "message": "the request names more models than can be checked"} if {
	input.request.truncated
}

deny contains {"reason": "model_missing", "message": "the request names no model, so it cannot be allowed"} if {
	runs_model
	count(input.request.models) == 0
}

deny contains {"reason": "model_not_allowed", "message": message} if {
	input.request.has_default_fallback
	message := sprintf(
		"`fallbacks: \"default\"` lets the API choose a model that may not be on the list; name the fallbacks, or ask an admin of %s",
		[input.principal.org_name],
	)
}

deny contains {"reason": "model_not_allowed", "message": message} if {
	some model in input.request.models
	not allowed(model)
	message := sprintf(
		"model %s is not on the list for this key (roles: %s); ask an admin of %s",
		[model, role_names, input.principal.org_name],
	)
}

allowed(model) if {
	some role in roles
	undated(model) in data.roles[role].models
}

allowed(model) if {
	some role in roles
	model in data.roles[role].models
}

allowed(model) if {
	some role in roles
	strings.any_prefix_match(model, data.roles[role].families)
}

roles contains "*"

roles contains role if some role in input.principal.roles

# claude-sonnet-4-5-20250929 is a snapshot of claude-sonnet-4-5.
undated(model) := substring(model, 0, count(model) - 9) if {
	substring(model, count(model) - 9, 3) == "-20"
} else := model

runs_model if input.request.kind in ["messages", "complete", "chat_completions"]

runs_model if {
	input.request.method == "POST"
	input.request.endpoint == "/v1/messages/batches"
}

role_names := "none" if {
	count(input.principal.roles) == 0
} else := concat(", ", input.principal.roles)
