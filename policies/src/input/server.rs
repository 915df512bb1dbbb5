//! What policies see of a server's address.

use std::net::Ipv6Addr;

/// What of a server's address policies see: providers hand out secrets in user info, query and fragment.
///
/// Whoever calls the server reads its address by rules of their own, so one that could be read in two ways is none: policies
/// that go by hosts must not approve one while another is called.
pub(super) struct ServerAddress {
    /// Host name or address in small letters, with its port unless that is the scheme's own.
    pub(super) host: Option<String>,
    /// Scheme, host, port and path.
    pub(super) url: Option<String>,
}

impl ServerAddress {
    /// Of an absolute URL; nothing of what is none.
    pub(super) fn of(url: Option<&str>) -> Self {
        url.and_then(Self::read).unwrap_or(Self { host: None, url: None })
    }

    fn read(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !scheme.starts_with(|c: char| c.is_ascii_lowercase())
            || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        {
            return None;
        }
        let rest = rest.get(..rest.find(['?', '#']).unwrap_or(rest.len()))?;
        // Browsers take a backslash for a slash, and leave out tabs and line ends.
        if rest.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control()) {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
        let (name, port) = match server.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                (server.get(..address.len() + 2)?, port.strip_prefix(':').or(port.is_empty().then_some(""))?)
            }
            None => server.split_once(':').unwrap_or((server, "")),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if name.is_empty() || !(name.starts_with('[') || name.bytes().all(plain)) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        let own = match scheme.as_str() {
            "https" | "wss" => Some(443),
            "http" | "ws" => Some(80),
            _ => None,
        };
        let host = match port {
            "" => name,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port: u16 = digits.parse().ok()?;
                if Some(port) == own { name } else { format!("{name}:{port}") }
            }
            _ => return None,
        };
        let url = format!("{scheme}://{host}{path}");
        Some(Self { host: Some(host), url: Some(url) })
    }
}
