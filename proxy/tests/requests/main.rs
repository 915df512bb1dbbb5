//! The request path over real loopback connections: raw clients, a scripted upstream, and the journal in between.

#[cfg(test)]
mod batch_results;
#[cfg(test)]
mod costly;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod governed;
#[cfg(test)]
mod held_bodies;
#[cfg(test)]
mod hop_by_hop;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod identity_of_bytes;
#[cfg(test)]
mod late_changes;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod mcp_calls;
#[cfg(test)]
mod open_streams;
#[cfg(test)]
mod own_answers;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod recordings;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod settlement;
#[cfg(test)]
mod wire;
