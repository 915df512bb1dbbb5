# Which of the API's own tools (web search, code execution, computer use) a key may offer to the model, by its roles.
# What is not listed is refused. Tools of the client's own are not judged, MCP toolsets are by mcp_access.
#
# Data:
#   tools: roles by tool type without its date: "web_search" for `web_search_20260318`. The role "*" is every key.
package mindweave.server_tool_access

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the server tool policy has no `tools`"} if {
	not is_object(data.tools)
}

deny contains {"reason": "request_too_varied", "message": "the request names more tools than can be checked"} if {
	input.request.truncated
}

deny contains {"reason": "server_tool_not_allowed", "message": message} if {
	some tool in input.request.tools
	is_string(tool.type)
	not tool.type in ["custom", "function", "mcp_toolset"]
	not may(data.tools[undated(tool.type)])
	message := sprintf("the roles of this key do not include the tool %s", [tool.type])
}

undated(type) := substring(type, 0, count(type) - 9) if {
	substring(type, count(type) - 9, 3) == "_20"
} else := type

may(roles) if "*" in roles

may(roles) if {
	some role in input.principal.roles
	role in roles
}
