# Who may use the dearer ways of serving: `speed` (fast mode) and `service_tier`. What is not listed is refused.
#
# Data:
#   speeds:        roles by value of `speed`. "standard" is free for everybody.
#   service_tiers: roles by value of `service_tier`. "standard_only" is free for everybody.
#   The role "*" is every key. Batches are judged by every value in them.
package mindweave.fast_mode_access

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the fast mode policy has no `speeds`"} if {
	not is_object(data.speeds)
}

deny contains {"reason": "policy_misconfigured", "message": "the data of the fast mode policy has no `service_tiers`"} if {
	not is_object(data.service_tiers)
}

deny contains {"reason": "request_too_varied", "message": "the request names more speeds or tiers than can be checked"} if {
	input.request.truncated
}

deny contains {"reason": "speed_not_allowed", "message": message} if {
	some speed in input.request.speeds
	speed != "standard"
	not may(data.speeds[speed])
	message := sprintf("the roles of this key do not include speed %s", [speed])
}

deny contains {"reason": "service_tier_not_allowed", "message": message} if {
	some tier in input.request.service_tiers
	tier != "standard_only"
	not may(data.service_tiers[tier])
	message := sprintf("the roles of this key do not include service_tier %s", [tier])
}

may(roles) if "*" in roles

may(roles) if {
	some role in input.principal.roles
	role in roles
}
