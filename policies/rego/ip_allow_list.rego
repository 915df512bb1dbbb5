# From which addresses keys may be used.
#
# Data:
#   networks: by project id, lists of networks in CIDR notation (IPv4 and IPv6; one address is /32 or /128). "*" is every
#             project; a project's own list comes on top of it.
#
# A network that is not valid CIDR covers nothing. IPv4 addresses that arrive over an IPv6 socket count as IPv4.
package mindweave.ip_allow_list

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the IP allow-list has no `networks`"} if {
	not is_object(data.networks)
}

deny contains {"reason": "address_not_allowed", "message": message} if {
	not allowed
	message := sprintf(
		"requests of project %s are not accepted from %s; ask an admin of %s to add its network",
		[input.principal.project_name, input.request.client_ip, input.principal.org_name],
	)
}

allowed if {
	some network in data.networks["*"]
	net.cidr_is_valid(network)
	net.cidr_contains(network, input.request.client_ip)
}

allowed if {
	some network in data.networks[input.principal.project_id]
	net.cidr_is_valid(network)
	net.cidr_contains(network, input.request.client_ip)
}
