//! The hot path: a transparent hyper reverse proxy that meters what it streams.
