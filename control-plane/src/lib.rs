//! Everything an admin or finance touches: projects, keys, ingest, usage queries.
