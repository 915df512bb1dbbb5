# Warns when a budget that counts the request is nearly used up. Never refuses: budgets do that themselves.
#
# Data:
#   percent: from how much of a budget on.
#   budgets: other percentages, by budget name. Optional.
package mindweave.budget_soft_warning

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the budget warning has no `percent`"} if {
	not is_number(data.percent)
}

warn contains {"reason": "budget_nearly_used", "message": message} if {
	some name, budget in input.usage
	budget.percent >= threshold(name)
	message := sprintf("budget %s is used to %v %% or more", [name, threshold(name)])
}

threshold(name) := data.budgets[name] if {
	is_number(data.budgets[name])
} else := data.percent
