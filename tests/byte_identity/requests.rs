//! Requests as the API sees them.

use super::{case, identical, ok};

#[test]
fn methods_and_targets_arrive_as_they_were_sent() {
    identical(vec![
        case("GET without body", &["GET /v1/models?limit=1000 HTTP/1.1"], b"", ok),
        case("beta query", &["POST /v1/messages?beta=true HTTP/1.1", "content-length: 2"], b"{}", ok),
        case("empty query", &["GET /v1/models? HTTP/1.1"], b"", ok),
        case("double slashes and dots", &["GET //v1/./models/../x//y HTTP/1.1"], b"", ok),
        case("percent escapes", &["GET /v1/files/a%2Fb%20c%00?q=%3F&&=;x=1&x=2 HTTP/1.1"], b"", ok),
        case("unusual characters", &["GET /v1/a;b=c,d'(e)*f!~@:$&+=g|h HTTP/1.1"], b"", ok),
        case("unknown method", &["PURGE /anything HTTP/1.1"], b"", ok),
        case("lower-case method", &["get /v1/models HTTP/1.1"], b"", ok),
        case("DELETE with body", &["DELETE /v1/files/file_1 HTTP/1.1", "content-length: 3"], b"abc", ok),
        case("GET with body", &["GET /v1/messages HTTP/1.1", "content-length: 3"], b"abc", ok),
        case("POST with empty body", &["POST /v1/x HTTP/1.1", "content-length: 0"], b"", ok),
        case("POST without any length", &["POST /v1/x HTTP/1.1"], b"", ok),
        case("OPTIONS", &["OPTIONS /v1/messages HTTP/1.1", "origin: https://a.example"], b"", ok),
        case("OPTIONS of the server", &["OPTIONS * HTTP/1.1"], b"", ok),
        case("root", &["GET / HTTP/1.1"], b"", ok),
        case("bytes beyond ASCII", &["GET /\u{e4}\u{1f600}?q=\u{e4} HTTP/1.1"], b"", ok),
        case("brackets and quotes", &["GET /x\"{}|[]\\^?a[]=1&b={'c':'d'}&g=^`\\| HTTP/1.1"], b"", ok),
        case("several question marks", &["GET /x?a?b?c=/d//e HTTP/1.1"], b"", ok),
        case("a broken escape", &["GET /x%zz%?q=%g HTTP/1.1"], b"", ok),
        case("target at the limit", &[&format!("GET /{} HTTP/1.1", "p".repeat(65_000))], b"", ok),
        case("long query", &[&format!("GET /x?{} HTTP/1.1", "q=1&".repeat(16_000))], b"", ok),
        case("very long path", &[&format!("GET /{} HTTP/1.1", "p".repeat(20_000))], b"", ok),
    ]);
}

#[test]
fn request_headers_keep_their_order_case_and_values() {
    let many: Vec<String> = (0..150).map(|n| format!("X-Many-{n}: value {n}")).collect();
    let mut lines = vec!["GET /v1/models HTTP/1.1"];
    lines.extend(many.iter().map(String::as_str));
    identical(vec![
        case(
            "mixed case and order",
            &["GET /x HTTP/1.1", "Zeta: 1", "alpha: 2", "X-MiXeD-CaSe: 3", "Beta: 4"],
            b"",
            ok,
        ),
        case(
            "repeated",
            &["GET /x HTTP/1.1", "anthropic-beta: a", "other: x", "anthropic-beta: b,c"],
            b"",
            ok,
        ),
        case("empty value", &["GET /x HTTP/1.1", "x-empty:", "x-next: 1"], b"", ok),
        case("odd whitespace", &["GET /x HTTP/1.1", "x-tabs:\ta\tb  c\t"], b"", ok),
        case("long value", &["GET /x HTTP/1.1", &format!("x-long: {}", "v".repeat(60_000))], b"", ok),
        case("accept-encoding", &["GET /x HTTP/1.1", "accept-encoding: gzip, deflate, br, zstd"], b"", ok),
        case(
            "credentials of the client",
            &["GET /x HTTP/1.1", "x-api-key: sk-ant-api03-x", "authorization: Bearer sk-ant-oat01-y"],
            b"",
            ok,
        ),
        case(
            "trace headers",
            &["GET /x HTTP/1.1", "traceparent: 00-1-2-01", "tracestate: a=b", "baggage: c=d"],
            b"",
            ok,
        ),
        case("more than a hundred", &lines, b"", ok),
        case("a head of 300 KB", &["GET /x HTTP/1.1", &format!("x-long: {}", "v".repeat(300_000))], b"", ok),
        case("bytes beyond ASCII", &["GET /x HTTP/1.1", "x-utf8: \u{e4}\u{1f600}"], b"", ok),
        case("two cookies", &["GET /x HTTP/1.1", "cookie: a=1", "Cookie: b=2; c=3"], b"", ok),
        case("an unknown expectation", &["GET /x HTTP/1.1", "expect: something-else"], b"", ok),
        case("trailers wanted", &["GET /x HTTP/1.1", "te: trailers"], b"", ok),
        case(
            "other gateways",
            &["GET /x HTTP/1.1", "via: 1.1 a, 1.1 b", "forwarded: for=1.2.3.4", "x-forwarded-for: 1.2.3.4"],
            b"",
            ok,
        ),
        case(
            "credentials that look like nothing",
            &["GET /x HTTP/1.1", "authorization: Basic dTpw", "proxy-authorization: Basic dTpw"],
            b"",
            ok,
        ),
        case(
            "caches",
            &["GET /x HTTP/1.1", "if-none-match: \"e\", W/\"f\"", "cache-control: no-cache", "pragma: x"],
            b"",
            ok,
        ),
        case("no space after the colon", &["GET /x HTTP/1.1", "x-tight:1", "x-wide:    1   "], b"", ok),
    ]);
}

#[test]
fn request_bodies_arrive_whole_however_they_are_framed() {
    let chunked = "transfer-encoding: chunked";
    let json = br#"{"model":"claude-opus-5","max_tokens":8,"messages":[{"role":"user","content":"hi"}]}"#;
    identical(vec![
        case(
            "message",
            &["POST /v1/messages HTTP/1.1", &format!("content-length: {}", json.len())],
            json,
            ok,
        ),
        case("not JSON", &["POST /v1/messages HTTP/1.1", "content-length: 6"], b"{\"a\":\xff", ok),
        case("chunked", &["POST /v1/x HTTP/1.1", chunked], b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n", ok),
        case("chunked message", &["POST /v1/messages HTTP/1.1", chunked], b"2\r\n{}\r\n0\r\n\r\n", ok),
        case("empty chunked", &["POST /v1/x HTTP/1.1", chunked], b"0\r\n\r\n", ok),
        case(
            "said to be gzip",
            &["POST /v1/messages HTTP/1.1", "content-encoding: gzip", "content-length: 4"],
            b"\x1f\x8b\x08\x00",
            ok,
        ),
        case(
            "large binary",
            &[
                "POST /v1/files HTTP/1.1",
                "content-type: multipart/form-data; boundary=x",
                "content-length: 3000000",
            ],
            &[0xA5; 3_000_000],
            ok,
        ),
    ]);
}

#[test]
fn bodies_of_odd_shapes_arrive_whole() {
    let chunked = "transfer-encoding: chunked";
    let upper = "Transfer-Encoding: Chunked";
    let many: Vec<u8> = b"1\r\nx\r\n".repeat(5_000).into_iter().chain(*b"0\r\n\r\n").collect();
    identical(vec![
        case(
            "trailers",
            &["POST /x HTTP/1.1", chunked, "trailer: x-sum"],
            b"3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
            ok,
        ),
        case("many small chunks", &["POST /v1/messages HTTP/1.1", chunked], &many, ok),
        case(
            "sizes with zeros and capitals",
            &["POST /x HTTP/1.1", upper],
            b"00A\r\n0123456789\r\n000\r\n\r\n",
            ok,
        ),
        case("extensions", &["POST /x HTTP/1.1", chunked], b"3;a=b;c=\"d\"\r\nabc\r\n0;last\r\n\r\n", ok),
        case("GET, chunked", &["GET /x HTTP/1.1", chunked], b"3\r\nabc\r\n0\r\n\r\n", ok),
        case("DELETE, chunked", &["DELETE /x HTTP/1.1", chunked], b"3\r\nabc\r\n0\r\n\r\n", ok),
        case("unknown method with body", &["QUERY /x HTTP/1.1", "content-length: 3"], b"abc", ok),
        case("OPTIONS with body", &["OPTIONS /x HTTP/1.1", "content-length: 3"], b"abc", ok),
        case("length with zeros", &["POST /x HTTP/1.1", "content-length: 0003"], b"abc", ok),
        case(
            "a body like a request",
            &["POST /x HTTP/1.1", "content-length: 26"],
            b"GET /evil HTTP/1.1\r\na: b\r\n",
            ok,
        ),
        case(
            "every byte",
            &["POST /v1/messages HTTP/1.1", "content-length: 256"],
            &(0..=255).collect::<Vec<u8>>(),
            ok,
        ),
        case("nothing but white space", &["POST /v1/messages HTTP/1.1", "content-length: 4"], b" \r\n\t", ok),
        case("deep JSON", &["POST /v1/messages HTTP/1.1", "content-length: 200000"], &[b'['; 200_000], ok),
    ]);
}

#[test]
fn requests_in_packets_of_one_byte_arrive_whole() {
    let chunked = "transfer-encoding: chunked";
    let json = br#"{"model":"claude-opus-5","max_tokens":8,"messages":[]}"#;
    identical(vec![
        case("GET", &["GET /v1/models HTTP/1.1"], b"", ok).bytewise(),
        case(
            "message",
            &["POST /v1/messages HTTP/1.1", &format!("content-length: {}", json.len())],
            json,
            ok,
        )
        .bytewise(),
        case("chunked", &["POST /v1/messages HTTP/1.1", chunked], b"2;x=y\r\n{}\r\n0\r\n\r\n", ok).bytewise(),
    ]);
}
