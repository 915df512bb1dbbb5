//! Events that were ever shipped decode for ever; the newest form is written byte for byte as its golden file.

#[cfg(test)]
mod golden {
    use mindweave_metering::{
        DecisionRecord, EVENT_VERSION, Envelope, EventType, RequestDigest, UsageEvent, VerdictKind,
        VerdictMode,
    };

    /// As written before anything governed requests; read and written alike ever since.
    const V1: &str = include_str!("../golden/usage_event.v1.json");
    /// With what was asked for, and what each policy and budget said to it.
    const GOVERNED: &str = include_str!("../golden/usage_event.v1.governed.json");
    /// A call of an MCP tool, which belongs to a request.
    const MCP_TOOL: &str = include_str!("../golden/usage_event.v1.mcp_tool.json");

    #[test]
    fn version_1_is_read_and_written_byte_for_byte() {
        for text in [V1, GOVERNED, MCP_TOOL] {
            let event: Envelope<UsageEvent> = serde_json::from_str(text).unwrap();
            assert_eq!(&*event.version, EVENT_VERSION);
            assert_eq!(serde_json::to_string_pretty(&event).unwrap() + "\n", text);
        }
    }

    #[test]
    fn a_governed_request_says_who_refused_it_and_what_it_asked_for() {
        let event: Envelope<UsageEvent> = serde_json::from_str(GOVERNED).unwrap();
        let decision = &event.data.decision;
        let verdicts: Vec<_> =
            decision.verdicts.iter().map(|verdict| (verdict.mode, verdict.kind, &*verdict.reason)).collect();
        assert_eq!(
            verdicts,
            [
                (VerdictMode::Enforce, VerdictKind::Deny, "model_not_allowed"),
                (VerdictMode::Shadow, VerdictKind::Deny, "outside_hours"),
                (VerdictMode::Enforce, VerdictKind::Warn, "model_retires_soon"),
            ]
        );
        assert_eq!(decision.refused_by.as_deref(), Some("quo_1"));
        let request = event.data.request.unwrap();
        assert_eq!((request.max_tokens, request.estimated_input_tokens), (Some(4096), Some(6211)));
        assert_eq!(request.client_ip, Some("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn a_tool_call_is_linked_to_its_request_and_carries_no_figures() {
        let event: Envelope<UsageEvent> = serde_json::from_str(MCP_TOOL).unwrap();
        let request: Envelope<UsageEvent> = serde_json::from_str(V1).unwrap();
        assert_eq!(event.data.event_type, EventType::McpTool);
        assert_eq!(event.data.parent_event_id, Some(request.id));
        assert_eq!(event.correlation_id, request.correlation_id);
        assert_eq!((event.data.tool_calls.len(), event.data.buckets.len()), (1, 0));
    }

    /// What a digest and a decision leave out is absent, and read back as nothing.
    #[test]
    fn an_empty_digest_and_an_empty_decision_are_written_short() {
        let digest = RequestDigest::default();
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, r#"{"stream":false,"message_count":0}"#);
        assert_eq!(serde_json::from_str::<RequestDigest>("{}").unwrap(), digest);
        let allowed = DecisionRecord::allowed();
        let text = serde_json::to_string(&allowed).unwrap();
        assert_eq!(text, r#"{"effect":"allow","reasons":[],"policy_revision":0,"shadow":[]}"#);
        assert_eq!(serde_json::from_str::<DecisionRecord>(&text).unwrap(), allowed);
    }

    /// An event without a single optional field: what a refused request leaves behind.
    #[test]
    fn version_1_needs_none_of_its_optional_fields() {
        let mut event: serde_json::Value = serde_json::from_str(V1).unwrap();
        let data = event["data"].as_object_mut().unwrap();
        for optional in [
            "team_id",
            "user_id",
            "key_id",
            "cost_nano_usd",
            "cost_usd",
            "certainty_reason",
            "stop_reason",
            "error_type",
            "ttft_ms",
            "request_id",
            "message_id",
            "service_tier",
            "session_id",
            "agent_id",
            "parent_agent_id",
            "request_class",
            "sequence",
            "batch",
            "metadata",
        ] {
            assert!(data.remove(optional).is_some(), "{optional} is not in the golden file");
        }
        let bare: Envelope<UsageEvent> = serde_json::from_value(event).unwrap();
        let written = serde_json::to_value(&bare).unwrap();
        for absent in ["cost_nano_usd", "cost_usd", "batch", "stop_reason"] {
            assert_eq!(written["data"].get(absent), None, "{absent} was written as null");
        }
    }

    /// What a later version adds must not keep this one from reading.
    #[test]
    fn fields_of_later_versions_are_ignored() {
        let later = V1.replacen("\"input_tokens\"", "\"colour\": \"red\", \"input_tokens\"", 1);
        assert!(serde_json::from_str::<Envelope<UsageEvent>>(&later).is_ok());
    }
}
