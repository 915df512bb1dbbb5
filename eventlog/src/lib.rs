//! How events reach the control plane: the journal and its shippers.
