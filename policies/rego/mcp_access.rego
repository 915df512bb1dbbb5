# Which MCP servers and tools a key may use, by its roles. What is not listed is unknown: refused, or only warned about.
#
# Data:
#   unknown_servers: "deny" (also when not given) or "warn".
#   connectors:      servers of the API's MCP connector by host name in small letters, each with the roles that may use it; with
#                    its port ("mcp.example:8443") where that is not the usual one. By host, because the names in a request are
#                    the client's choice.
#   client_servers:  servers behind the client's own `mcp__server__tool` tools, by server name:
#     roles: who may use the server.
#     tools: roles by tool name, for tools that need more. Optional; a tool that is not there needs `roles` only.
#   The role "*" is every key.
#
# The names of client-side servers are what the client calls them: this keeps honest clients to the list, while a client
# that renames its tools gets past it. Connector hosts cannot be renamed.
package mindweave.mcp_access

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the MCP access policy has no `connectors`"} if {
	not is_object(data.connectors)
}

deny contains {"reason": "policy_misconfigured", "message": "the data of the MCP access policy has no `client_servers`"} if {
	not is_object(data.client_servers)
}

deny contains {"reason": "request_too_varied", "message": "the request names more tools or servers than can be checked"} if {
	input.request.truncated
}

deny contains {"reason": "mcp_server_unknown", "message": message} if {
	not lenient
	some message in unknown
}

warn contains {"reason": "mcp_server_unknown", "message": message} if {
	lenient
	some message in unknown
}

deny contains {"reason": "mcp_server_not_allowed", "message": message} if {
	some server in input.request.mcp_servers
	known_connector(server)
	not may(data.connectors[server.host])
	message := sprintf("the roles of this key do not include the MCP server at %s", [server.host])
}

deny contains {"reason": "mcp_server_not_allowed", "message": message} if {
	some tool in input.request.mcp_tools
	is_object(data.client_servers[tool.server])
	not may(data.client_servers[tool.server].roles)
	message := sprintf("the roles of this key do not include the MCP server %s", [tool.server])
}

deny contains {"reason": "mcp_tool_not_allowed", "message": message} if {
	some tool in input.request.mcp_tools
	roles = data.client_servers[tool.server].tools[tool.tool]
	not may(roles)
	message := sprintf("the roles of this key do not include the tool %s of the MCP server %s", [tool.tool, tool.server])
}

lenient if data.unknown_servers == "warn"

unknown contains message if {
	some server in input.request.mcp_servers
	not known_connector(server)
	message := sprintf(
		"the MCP server %v (%v) is not approved; ask an admin of %s",
		[server.name, server.host, input.principal.org_name],
	)
}

unknown contains message if {
	some tool in input.request.mcp_tools
	not is_object(data.client_servers[tool.server])
	message := sprintf("the MCP server %v is not approved; ask an admin of %s", [tool.server, input.principal.org_name])
}

known_connector(server) if is_array(data.connectors[server.host])

may(roles) if "*" in roles

may(roles) if {
	some role in input.principal.roles
	role in roles
}
