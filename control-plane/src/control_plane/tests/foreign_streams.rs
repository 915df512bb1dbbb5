//! What goes on for long, and what comes in, of two organisations: each hears and delivers its own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use mindweave_eventlog::{ReadLimits, Sequence};
use serde_json::{Value, json};

use super::foreign_tenants::{start, tenant, use_it};
use super::people::{At, person, person_with, roles_revoke, token_revoke};
use super::*;

/// A stream as somebody watches it.
struct Watching(BufReader<TcpStream>);

impl Watching {
    fn connect(server: &Server, token: &str) -> Self {
        let mut stream = TcpStream::connect(server.control_plane.local_addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET /v1/usage/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n").unwrap();
        let mut watching = Self(BufReader::new(stream));
        watching.until(": subscribed").unwrap();
        watching
    }

    /// The next line that starts with this; `None` at the end.
    fn until(&mut self, start: &str) -> Option<String> {
        tokio::task::block_in_place(|| {
            loop {
                let mut line = String::new();
                if self.0.read_line(&mut line).unwrap() == 0 {
                    return None;
                }
                if line.starts_with(start) {
                    return Some(line);
                }
            }
        })
    }
}

async fn live_streams_show_what_is_theirs_and_end_when_the_token_or_the_role_is_gone() {
    let (server, _) = start().await;
    let (own, other) = (tenant(&server, "ours").await, tenant(&server, "theirs").await);
    let tokens = [
        person(&server, &own.org, At::Org, "developer").await,
        person(&server, &own.org, At::Project(&own.project), "auditor").await,
    ];
    let mut streams: Vec<_> = tokens.iter().map(|token| Watching::connect(&server, token)).collect();
    use_it(&server, &other, 1).await;
    use_it(&server, &own, 2).await;
    for stream in &mut streams {
        let first = stream.until("data: ").expect("the stream goes on");
        assert!(first.contains(&own.project) && !first.contains(&other.org), "{first}");
    }
    token_revoke(&server, &tokens[0]).await;
    roles_revoke(&server, &tokens[1]).await;
    for stream in &mut streams {
        assert_eq!(stream.until("data: "), None, "the stream ends");
    }
    let nobody = person_with(&server, &[], &["*"]).await;
    assert_eq!(server.client.get_as(&nobody, "/v1/usage/live").status, 403);
}

async fn who_may_deliver_events_of_a_project_does_so_with_a_token() {
    let (server, journal) = start().await;
    let own = tenant(&server, "ours").await;
    let sent = json!({ "project_id": own.project, "model": "claude-sonnet-4-5", "input_tokens": 3, "output_tokens": 1 });
    let developer = person(&server, &own.org, At::Project(&own.project), "developer").await;
    let taken = server.client.call_as(&developer, "POST", "/v1/track", Some(&sent));
    assert_eq!(taken.status, 202, "{}", taken.body);
    let records =
        journal.tail(Sequence::ZERO).read(ReadLimits { max_records: 10, max_bytes: 1 << 20 }).records;
    let stored: Value = serde_json::from_slice(&records[0].1).unwrap();
    assert_eq!(
        (&stored["data"]["org_id"], &stored["data"]["project_id"]),
        (&json!(own.org), &json!(own.project))
    );
    let auditor = person(&server, &own.org, At::Org, "auditor").await;
    let refused = server.client.call_as(&auditor, "POST", "/v1/track", Some(&sent));
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    let scoped = person_with(&server, &[(&own.org, At::Org, "owner")], &["read"]).await;
    let refused = server.client.call_as(&scoped, "POST", "/v1/track", Some(&sent));
    assert_eq!((refused.status, refused.code()), (403, "scope_missing"));
    // The admin token delivers for every organisation, and the event belongs to the project's.
    let taken = server.client.post("/v1/track", &sent);
    assert_eq!(taken.status, 202, "{}", taken.body);
    let records =
        journal.tail(Sequence::ZERO).read(ReadLimits { max_records: 10, max_bytes: 1 << 20 }).records;
    let stored: Value = serde_json::from_slice(&records[1].1).unwrap();
    assert_eq!(stored["data"]["org_id"], json!(own.org));
}

on_every_engine!(
    live_streams_show_what_is_theirs_and_end_when_the_token_or_the_role_is_gone,
    who_may_deliver_events_of_a_project_does_so_with_a_token,
);
