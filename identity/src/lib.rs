//! How people prove who they are. No SQL and no routes: those are the control plane's.
