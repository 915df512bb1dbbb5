-- The decision log of one project: the refusals of a runaway neighbour would otherwise be walked over for it. The index holds
-- flagged events only, of which there were none before: locks nothing for longer than a moment.

CREATE INDEX usage_events_flagged_by_project ON usage_events (project_id, ended_at) WHERE flagged = 1;
