# When keys may be used. Outside these hours only reading passes (GET, HEAD, OPTIONS), for example of batch results.
#
# Data:
#   hours:        by weekday ("Monday"): from and to as "HH:MM", 24 hours; "24:00" is the end of the day. `from` is
#                 inside, `to` is not. Where `to` is before `from`, the hours run past midnight into the next day.
#                 A weekday that is not there is closed.
#   time_zone:    IANA name. Optional; the organisation's time zone if not given. An unknown one is an error of the policy.
#   exempt_roles: roles that may work at any time. Optional.
#
# Reads the time to the minute, so decisions are cached for up to a minute.
package mindweave.working_hours

import rego.v1

deny contains {"reason": "policy_misconfigured", "message": "the data of the working hours has no `hours`"} if {
	not is_object(data.hours)
}

deny contains {"reason": "outside_working_hours", "message": message} if {
	not reading
	not open
	not exempt
	message := sprintf(
		"this key works within the working hours of %s only (%s)",
		[input.principal.org_name, zone],
	)
}

reading if input.request.method in ["GET", "HEAD", "OPTIONS"]

exempt if {
	some role in input.principal.roles
	role in data.exempt_roles
}

open if {
	today = data.hours[weekday]
	today.from <= today.to
	today.from <= clock
	clock < today.to
}

open if {
	tonight = data.hours[weekday]
	tonight.to < tonight.from
	tonight.from <= clock
}

open if {
	last_night = data.hours[day_before[weekday]]
	last_night.to < last_night.from
	clock < last_night.to
}

weekday := time.weekday([input.time.minute_ns, zone])

clock := sprintf("%02d:%02d", [hour, minute]) if [hour, minute, _] = time.clock([input.time.minute_ns, zone])

zone := data.time_zone if {
	is_string(data.time_zone)
} else := input.time.time_zone

day_before := {
	"Monday": "Sunday",
	"Tuesday": "Monday",
	"Wednesday": "Tuesday",
	"Thursday": "Wednesday",
	"Friday": "Thursday",
	"Saturday": "Friday",
	"Sunday": "Saturday",
}
