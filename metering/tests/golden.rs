//! Events that were ever shipped decode for ever; the newest form is written byte for byte as its golden file.

#[cfg(test)]
mod golden {
    use mindweave_metering::{EVENT_VERSION, Envelope, UsageEvent};

    const V1: &str = include_str!("../golden/usage_event.v1.json");

    #[test]
    fn version_1_is_read_and_written_byte_for_byte() {
        let event: Envelope<UsageEvent> = serde_json::from_str(V1).unwrap();
        assert_eq!(&*event.version, EVENT_VERSION);
        assert_eq!(serde_json::to_string_pretty(&event).unwrap() + "\n", V1);
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
