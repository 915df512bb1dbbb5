# Where prompts of a project may be processed.
#
# Data:
#   projects: by project id; "*" is every project without an entry of its own. Projects without either are free.
#     geos:     values of `inference_geo` that are allowed. A request must name one: without it the API chooses.
#     families: beginnings of model ids that may be used. Optional; older models do not heed `inference_geo`, so name
#               those that do.
#
# Every item of a batch must name the same allowed `inference_geo`. Managed agents and files are not read: shut those
# endpoints with endpoint_allow_list where that matters.
package mindweave.data_residency

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the data residency policy has no `projects`"} if {
	not is_object(data.projects)
}

deny contains {"reason": "request_too_varied", "message": "the request names more places or models than can be checked"} if {
	is_object(rules)
	input.request.truncated
}

deny contains {"reason": "inference_geo_missing", "message": message} if {
	is_object(rules)
	runs_model
	not is_string(input.request.inference_geo)
	message := sprintf(
		"every request of project %s must name its `inference_geo`, all items of a batch the same",
		[input.principal.project_name],
	)
}

deny contains {"reason": "inference_geo_not_allowed", "message": message} if {
	is_object(rules)
	some geo in input.request.inference_geos
	not geo in rules.geos
	message := sprintf("project %s may not be processed in `inference_geo` %s", [input.principal.project_name, geo])
}

deny contains {"reason": "model_not_resident", "message": message} if {
	is_array(rules.families)
	some model in input.request.models
	not strings.any_prefix_match(model, rules.families)
	message := sprintf(
		"model %s is not on the list of models that heed where project %s is processed",
		[model, input.principal.project_name],
	)
}

deny contains {"reason": "model_not_resident", "message": message} if {
	is_array(rules.families)
	input.request.has_default_fallback
	message := sprintf(
		"`fallbacks: \"default\"` lets the API choose a model that may not heed where project %s is processed; name the fallbacks",
		[input.principal.project_name],
	)
}

rules := data.projects[input.principal.project_id] if {
	is_object(data.projects[input.principal.project_id])
} else := data.projects["*"]

runs_model if input.request.kind in ["messages", "complete", "chat_completions"]

runs_model if {
	input.request.method == "POST"
	input.request.endpoint == "/v1/messages/batches"
}
