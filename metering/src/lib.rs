//! What did this exchange cost? Pure: no IO, clock or async.

mod decode;
mod endpoint;
mod event;
mod ids;
mod json;
mod money;
mod request;
mod tokens;

pub use decode::{DecodeError, Encoding, MAX_DECODED_BASE_BYTES, MAX_DECODED_RATIO, SideDecoder};
pub use endpoint::{BatchCall, Endpoint, EndpointKind, MAX_BATCH_ID_BYTES, MAX_UNKNOWN_PATH_BYTES};
pub use event::{
    BatchItem, BatchResults, Bucket, BucketKind, BucketSource, Certainty, DecisionRecord, EVENT_VERSION,
    Effect, Envelope, EventType, Outcome, ToolCall, ToolKind, UsageEvent,
};
pub use ids::{EventId, KeyId, OrgId, ProjectId, ProxyId, TeamId, UserId};
pub use json::{
    Action as JsonAction, Captured as JsonCaptured, JsonFault, JsonFaultKind, MAX_DEPTH as MAX_JSON_DEPTH,
    MAX_KEY_BYTES as MAX_JSON_KEY_BYTES, Scanner as JsonScanner, ValueKind as JsonKind,
    Visitor as JsonVisitor,
};
pub use money::{NanoUsd, PicoUsd};
pub use request::{
    MAX_DISTINCT_VALUES, MAX_MCP_SERVERS, MAX_NAME_BYTES, MAX_SESSION_ID_BYTES, MAX_TOOLS, MAX_URL_BYTES,
    MAX_USER_ID_BYTES, RequestFacts, RequestReading, RequestScan, RequestedMcpServer, RequestedTool,
    ScanFault,
};
pub use tokens::{TokenCounts, TokenKind};
