# What a request must say about itself, so that its cost can be told apart later.
#
# Data:
#   labels:  labels that the key must carry: by name, the values allowed; an empty list allows any.
#   user_id: true when the body must hold `metadata.user_id`. Optional.
#   batches: "exempt" (also when not given), or "one_user": every item of a batch must hold the same `user_id`. A batch
#            whose items name different users cannot be told from one with a missing name.
package mindweave.required_metadata

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the metadata policy has no `labels`"} if {
	not is_object(data.labels)
}

deny contains {"reason": "label_missing", "message": message} if {
	some name, _ in data.labels
	not is_string(input.principal.labels[name])
	message := sprintf("the key of this request must carry the label %s; ask an admin of %s", [name, input.principal.org_name])
}

deny contains {"reason": "label_not_allowed", "message": message} if {
	some name, values in data.labels
	count(values) > 0
	value = input.principal.labels[name]
	not value in values
	message := sprintf("the label %s of this key must be one of: %s", [name, concat(", ", values)])
}

deny contains {"reason": "user_id_missing", "message": "the request must hold `metadata.user_id`"} if {
	data.user_id == true
	runs_model
	not has_user
}

deny contains {"reason": "user_id_missing", "message": "every item of the batch must hold the same `metadata.user_id`"} if {
	data.user_id == true
	data.batches == "one_user"
	creates_batch
	not has_user
}

has_user if {
	is_string(input.request.metadata_user_id)
	input.request.metadata_user_id != ""
}

runs_model if input.request.kind in ["messages", "complete", "chat_completions"]

creates_batch if {
	input.request.method == "POST"
	input.request.endpoint == "/v1/messages/batches"
}
