//! What did this exchange cost? Pure: no IO, clock or async.

mod certainty;
mod decode;
mod endpoint;
mod estimate;
mod event;
mod ids;
mod json;
mod metered;
mod money;
mod prices;
mod request;
mod response;
mod sse;
mod tokens;
mod usage;

pub use certainty::CertaintyReason;
pub use decode::{DecodeError, Encoding, MAX_DECODED_BASE_BYTES, MAX_DECODED_RATIO, SideDecoder, Slice};
pub use endpoint::{BatchCall, Endpoint, EndpointKind, MAX_BATCH_ID_BYTES, MAX_UNKNOWN_PATH_BYTES};
pub use estimate::{OUTPUT_ESTIMATE_BOUND, OUTPUT_ESTIMATE_SLACK};
pub use event::{
    BatchItem, BatchResults, Bucket, BucketKind, BucketSource, Certainty, DecisionRecord, EVENT_VERSION,
    Effect, Envelope, EventType, Outcome, RequestDigest, ToolCall, ToolKind, UsageEvent, VerdictKind,
    VerdictMode, VerdictRecord,
};
pub use ids::{EventId, KeyId, LimitId, OrgId, PolicyId, ProjectId, ProxyId, QuotaId, TeamId, UserId};
pub use json::{
    Action as JsonAction, Captured as JsonCaptured, JsonFault, JsonFaultKind, MAX_DEPTH as MAX_JSON_DEPTH,
    MAX_KEY_BYTES as MAX_JSON_KEY_BYTES, Scanner as JsonScanner, ValueKind as JsonKind,
    Visitor as JsonVisitor,
};
pub use metered::{MeteredItem, MeteredResponse, Pass};
pub use money::{NanoUsd, PicoUsd};
pub use prices::{Bill, PriceBook, PriceBookError, PriceFault};
pub use request::{
    CacheTtl, INPUT_ESTIMATE_BOUND, INPUT_ESTIMATE_SLACK, MAX_DISTINCT_VALUES, MAX_MCP_SERVERS,
    MAX_NAME_BYTES, MAX_SESSION_ID_BYTES, MAX_TOOLS, MAX_URL_BYTES, MAX_USER_ID_BYTES, RequestFacts,
    RequestReading, RequestScan, RequestedMcpServer, RequestedTool, ScanFault,
};
pub use response::{BATCH_ITEMS_PER_EVENT, MAX_TOOL_CALLS, Progress, ResponseHead, ResponseTap};
pub use tokens::{TokenCounts, TokenKind};
