//! What did this exchange cost? Pure: no IO, clock or async.

mod event;
mod ids;
mod money;
mod tokens;

pub use event::{
    BatchItem, BatchResults, Bucket, BucketKind, BucketSource, Certainty, DecisionRecord, EVENT_VERSION,
    Effect, Envelope, EventType, Outcome, ToolCall, ToolKind, UsageEvent,
};
pub use ids::{EventId, KeyId, OrgId, ProjectId, ProxyId, TeamId, UserId};
pub use money::{NanoUsd, PicoUsd};
pub use tokens::{TokenCounts, TokenKind};
