//! The upstream's URL, taken apart once.

use http::header::{HOST, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Version};
use rustls_pki_types::ServerName;

use super::config::UpstreamConfigError;

/// Everything about the upstream's URL that a request or a connection needs.
#[derive(Debug)]
pub(crate) struct BaseUrl {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// The authority as the `host` header has it.
    pub(crate) host_header: HeaderValue,
    /// For the name look-up: no brackets around an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For SNI and for checking the certificate.
    pub(crate) server_name: ServerName<'static>,
    /// Goes in front of every path; empty or starting with a slash, never ending with one.
    prefix: String,
}

impl BaseUrl {
    pub(crate) fn parse(url: &str) -> Result<Self, UpstreamConfigError> {
        let wrong = |fault| UpstreamConfigError::Url { url: url.to_owned(), fault };
        let uri: Uri = url.parse().map_err(|_not_a_url| wrong("is not a url"))?;
        let default_port = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => 80,
            Some(scheme) if *scheme == Scheme::HTTPS => 443,
            Some(_) | None => return Err(wrong("must start with http:// or https://")),
        };
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority().cloned()) else {
            return Err(wrong("names no host"));
        };
        if authority.as_str().contains('@') {
            return Err(wrong("must not contain credentials"));
        }
        if uri.query().is_some() {
            return Err(wrong("must not have a query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        let has_port_text = !authority.as_str().ends_with(']') && authority.as_str() != authority.host();
        if has_port_text && authority.port_u16().is_none() {
            return Err(wrong("has a port that is not a number below 65536"));
        }
        let server_name =
            ServerName::try_from(host.clone()).map_err(|_bad| wrong("names an impossible host"))?;
        let host_header =
            HeaderValue::from_str(authority.as_str()).map_err(|_bad| wrong("names an impossible host"))?;
        Ok(Self {
            host_header,
            server_name,
            port: authority.port_u16().unwrap_or(default_port),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            host,
            scheme,
            authority,
        })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The request target for HTTP/1.1: path and query behind the prefix, byte for byte.
    ///
    /// `None` when prefix and path together are longer than a URI may be.
    pub(crate) fn origin_form(&self, uri: &Uri) -> Option<Uri> {
        let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        if self.prefix.is_empty() || target == "*" {
            if uri.scheme().is_none() && uri.authority().is_none() {
                return Some(uri.clone());
            }
            return target.parse().ok();
        }
        format!("{}{target}", self.prefix).parse().ok()
    }

    /// A request that has its final target, as HTTP/1.1 wants it.
    pub(crate) fn as_http1<B>(&self, mut request: Request<B>) -> Request<B> {
        *request.version_mut() = Version::HTTP_11;
        // It may come back from an HTTP/2 connection that did not take it.
        if request.uri().scheme().is_some() {
            let target = request.uri().path_and_query().cloned();
            *request.uri_mut() = target.map(Uri::from).unwrap_or_default();
            request.headers_mut().entry(HOST).or_insert_with(|| self.host_header.clone());
        }
        request
    }

    /// A request that has its final target, as HTTP/2 wants it: the host is part of the target and no field.
    pub(crate) fn as_http2<B>(&self, mut request: Request<B>) -> Option<Request<B>> {
        *request.version_mut() = Version::HTTP_2;
        if request.uri().scheme().is_none() {
            let mut parts = request.uri().clone().into_parts();
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(self.authority.clone());
            *request.uri_mut() = Uri::from_parts(parts).ok()?;
        }
        if request.headers().contains_key(HOST) {
            let headers = std::mem::take(request.headers_mut());
            *request.headers_mut() = without_host(headers);
        }
        Some(request)
    }
}

/// Keeps the order of the other fields, which `remove` would not.
fn without_host(headers: HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(headers.len());
    let mut current = None;
    for (name, value) in headers {
        current = name.or(current);
        if let Some(name) = current.as_ref().filter(|name| **name != HOST) {
            kept.append(name.clone(), value);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_takes_the_host_from_the_fields_and_http1_puts_it_back() {
        let base = BaseUrl::parse("https://h:8443").unwrap();
        let request =
            Request::get("/x?y").header("a", "1").header(HOST, "h:8443").header("b", "2").header("b", "3");
        let request = base.as_http2(request.body(()).unwrap()).unwrap();
        assert_eq!(request.uri(), "https://h:8443/x?y");
        let fields: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("a", &b"1"[..]), ("b", b"2"), ("b", b"3")]);
        let request = base.as_http1(request);
        assert_eq!(
            (request.uri().to_string().as_str(), &request.headers()[HOST]),
            ("/x?y", &base.host_header)
        );
    }

    #[test]
    fn ports_hosts_and_prefixes_are_taken_apart() {
        let cases = [
            ("https://api.anthropic.com", "api.anthropic.com", 443, "api.anthropic.com", "/v1/x?y=1"),
            ("http://localhost:8080/", "localhost", 8080, "localhost:8080", "/v1/x?y=1"),
            ("http://[::1]:9/base/claude", "::1", 9, "[::1]:9", "/base/claude/v1/x?y=1"),
            ("https://[2001:db8::1]/p/", "2001:db8::1", 443, "[2001:db8::1]", "/p/v1/x?y=1"),
        ];
        for (url, host, port, header, target) in cases {
            let base = BaseUrl::parse(url).unwrap();
            assert_eq!((base.host.as_str(), base.port), (host, port), "{url}");
            assert_eq!(base.host_header, header, "{url}");
            assert_eq!(
                base.origin_form(&Uri::from_static("/v1/x?y=1")).unwrap().to_string(),
                target,
                "{url}"
            );
        }
    }

    #[test]
    fn odd_paths_keep_their_bytes() {
        let base = BaseUrl::parse("http://h/pre").unwrap();
        for path in ["/a//b", "/a/../b", "/%2e%2E/x%20y", "/?", "/x?a=b?c&&", "/a;b=c,d|e"] {
            assert_eq!(base.origin_form(&path.parse().unwrap()).unwrap().to_string(), format!("/pre{path}"));
        }
        assert_eq!(base.origin_form(&Uri::from_static("*")).unwrap().to_string(), "*");
    }

    #[test]
    fn a_target_that_names_a_host_cannot_choose_the_host() {
        let base = BaseUrl::parse("http://h").unwrap();
        assert_eq!(base.origin_form(&Uri::from_static("http://evil/x?y")).unwrap().to_string(), "/x?y");
    }

    #[test]
    fn what_is_no_server_url_is_refused() {
        for url in [
            "",
            "api.anthropic.com",
            "ftp://h",
            "https://",
            "http://user:pw@h",
            "http://h/?q",
            "http://h:99999",
        ] {
            assert!(BaseUrl::parse(url).is_err(), "{url}");
        }
    }
}
