# Projects that may look but not spend: finished, suspended or under audit. Reading (GET, HEAD, OPTIONS) and counting
# tokens pass, everything else is refused.
#
# Data:
#   projects: by project id, the reason as a text that developers will see.
package mindweave.read_only_projects

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the read-only projects has no `projects`"} if {
	not is_object(data.projects)
}

deny contains {"reason": "project_read_only", "message": message} if {
	why = data.projects[input.principal.project_id]
	not reading
	message := sprintf("project %s is read-only: %v", [input.principal.project_name, why])
}

reading if input.request.method in ["GET", "HEAD", "OPTIONS"]

reading if input.request.kind == "count_tokens"
