# How many requests a batch may hold, by the roles of its key.
#
# Data:
#   roles: requests by role name; "*" is every key and must be there. 0 forbids batches. The most generous of a key's
#          roles counts.
package mindweave.batch_size_cap

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the batch size cap has no `roles[\"*\"]`"} if {
	not is_number(data.roles["*"])
}

deny contains {"reason": "batch_too_large", "message": message} if {
	creates_batch
	not within
	message := sprintf("a batch of this key may hold %v requests, this one holds %v", [cap, input.request.batch_requests])
}

within if {
	is_number(input.request.batch_requests)
	input.request.batch_requests <= cap
}

cap := max(caps)

caps contains data.roles["*"]

caps contains limit if {
	some role in input.principal.roles
	limit = data.roles[role]
}

creates_batch if {
	input.request.method == "POST"
	input.request.endpoint == "/v1/messages/batches"
}
