# Refuses requests in whose bodies personal data or secrets were found.
#
# Data:
#   refuse: categories that refuse the request.
#   warn:   categories that are noted only. Optional.
#   exempt_projects: ids of projects that may send anything. Optional.
#   Categories: api_key, credit_card, email, iban, ip_address, phone, us_ssn.
#
# Detection is by form and checksum: it finds what looks like one, and no names or addresses. Only the bodies of messages,
# completions and batches are searched; shut other endpoints (files) with endpoint_allow_list. What was found is not kept
# on events, so this policy cannot be replayed on past traffic: use shadow mode.
package mindweave.pii_refusal

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the PII policy has no list `refuse`"} if {
	not is_array(data.refuse)
}

deny contains {"reason": "pii_not_checked", "message": "the request could not be searched for personal data"} if {
	runs_model
	not is_array(input.request.pii)
	not exempt
}

deny contains {"reason": "pii_found", "message": message} if {
	some category in input.request.pii
	category in data.refuse
	not exempt
	message := sprintf(
		"the request seems to hold personal data or a secret (%s): remove it and send again",
		[category],
	)
}

warn contains {"reason": "pii_found", "message": message} if {
	some category in input.request.pii
	category in data.warn
	not exempt
	message := sprintf("the request seems to hold personal data or a secret (%s)", [category])
}

exempt if input.principal.project_id in data.exempt_projects

runs_model if input.request.kind in ["messages", "complete", "chat_completions"]

runs_model if {
	input.request.method == "POST"
	input.request.endpoint == "/v1/messages/batches"
}
