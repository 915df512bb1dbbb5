# How long an answer a key may ask for (`max_tokens`), by its roles and by model.
#
# Data:
#   roles:  tokens by role name; "*" is every key and must be there. The most generous of a key's roles counts.
#   models: tokens by model id without date. Optional; holds for everybody, whatever their roles.
#
# A batch is judged by its longest item and by every model in it. An answer without a stated length could be as long as
# the model allows: such a request is refused.
package mindweave.max_tokens_cap

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the max_tokens cap has no `roles[\"*\"]`"} if {
	not is_number(data.roles["*"])
}

deny contains {"reason": "request_too_varied", "message": "the request names more models than can be checked"} if {
	input.request.truncated
}

deny contains {"reason": "max_tokens_missing", "message": "the request must say `max_tokens`, because they are capped"} if {
	runs_model
	not is_number(input.request.max_tokens)
}

deny contains {"reason": "max_tokens_too_high", "message": message} if {
	input.request.max_tokens > role_cap
	message := sprintf("max_tokens %d is over the cap of %d for this key", [input.request.max_tokens, role_cap])
}

deny contains {"reason": "max_tokens_too_high", "message": message} if {
	some model in input.request.models
	cap = data.models[undated(model)]
	input.request.max_tokens > cap
	message := sprintf("max_tokens %d is over the cap of %d for %s", [input.request.max_tokens, cap, model])
}

role_cap := max(caps)

caps contains data.roles["*"]

caps contains cap if {
	some role in input.principal.roles
	cap = data.roles[role]
}

# claude-sonnet-4-5-20250929 is a snapshot of claude-sonnet-4-5.
undated(model) := substring(model, 0, count(model) - 9) if {
	substring(model, count(model) - 9, 3) == "-20"
} else := model

runs_model if input.request.kind in ["messages", "complete", "chat_completions"]

runs_model if {
	input.request.method == "POST"
	input.request.endpoint == "/v1/messages/batches"
}
