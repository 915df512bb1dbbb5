mod bodies;
mod streams;

use std::sync::LazyLock;

use super::*;
use crate::event::{Certainty, ToolKind};
use crate::prices::{Bill, PriceBook};
use crate::tokens::TokenCounts;

/// An answer of `POST /v1/messages`.
struct Reply<'a> {
    status: u16,
    content_type: Option<&'a str>,
    method: &'a str,
    path: &'a str,
}

const JSON: Reply<'static> =
    Reply { status: 200, content_type: Some("application/json"), method: "POST", path: "/v1/messages" };
const STREAM: Reply<'static> = Reply { content_type: Some("text/event-stream; charset=utf-8"), ..JSON };

impl Reply<'_> {
    fn tap(&self) -> ResponseTap {
        ResponseTap::new(&ResponseHead {
            endpoint: &Endpoint::of(self.method, self.path),
            status: self.status,
            content_type: self.content_type,
            content_encoding: None,
        })
    }

    /// Meters the body whole, and checks that it gives the same byte by byte.
    fn meter(&self, body: &str, outcome: Outcome) -> MeteredResponse {
        let mut whole = self.tap();
        whole.feed(body.as_bytes());
        let whole = whole.finish(outcome);
        let mut bytes = self.tap();
        for byte in body.as_bytes().chunks(1) {
            bytes.feed(byte);
        }
        assert_eq!(bytes.finish(outcome), whole, "byte by byte");
        whole
    }
}

fn price(metered: &MeteredResponse) -> Bill {
    static BOOK: LazyLock<PriceBook> = LazyLock::new(|| PriceBook::bundled().unwrap());
    BOOK.price(metered, None, "2026-11-21T00:00:00Z".parse().unwrap())
}

fn reason(metered: &MeteredResponse) -> Option<&'static str> {
    metered.certainty_reason.map(CertaintyReason::as_str)
}

fn tokens(input: u64, output: u64) -> Option<TokenCounts> {
    Some(TokenCounts { input, output, ..TokenCounts::default() })
}

proptest::proptest! {
    /// Whatever an upstream sends: no panic, and no cost out of nothing.
    #[test]
    fn no_body_makes_it_panic(
        bodies in proptest::collection::vec(
            proptest::prop_oneof![
                "event: (message_start|message_delta|content_block_start|content_block_delta|error)\ndata: ",
                "\\{\"(type|usage|message|content|model|delta|iterations|result)\":",
                "[\\[\\]{},:\"\n 0-9a-z\\\\-]{0,12}",
                "\n\n",
            ],
            0..30,
        ),
        path in proptest::sample::select(vec!["/v1/messages", "/v1/complete", "/v1/messages/batches/b/results"]),
        content_type in proptest::option::of(proptest::sample::select(vec!["application/json", "text/event-stream"])),
    ) {
        let method = if path.ends_with("results") { "GET" } else { "POST" };
        let metered = Reply { status: 200, content_type, method, path }.meter(&bodies.concat(), Outcome::Complete);
        let bill = price(&metered);
        proptest::prop_assert_eq!(bill.cost.is_none(), bill.certainty == Certainty::Unknown);
    }
}
