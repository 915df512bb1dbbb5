//! Lists of web origins.

use super::setting::{BaseUrl, Setting};

/// Stands for every origin.
const ANY: &str = "*";

/// Origins as browsers write them (RFC 6454, section 6.2), or `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origins(pub(crate) Vec<String>);

impl Setting for Origins {
    fn allowed() -> String {
        "origins with commas between them, for example `https://app.example.com, http://localhost:5173`, or `*`".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        if text == ANY {
            return Some(Self(vec![ANY.to_owned()]));
        }
        text.split(',').map(|origin| read_origin(origin.trim())).collect::<Option<_>>().map(Self)
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

/// One origin: scheme, host, and a port that is not the scheme's own. Anything else would never equal what a browser sends.
fn read_origin(text: &str) -> Option<String> {
    let usual_port = if text.starts_with("https:") { ":443" } else { ":80" };
    let as_sent = !text.ends_with(['/', ':'])
        && !text.ends_with(usual_port)
        && text.matches('/').count() == 2
        && !text.bytes().any(|byte| byte == b'*' || byte.is_ascii_uppercase());
    BaseUrl::read(text).filter(|_| as_sent).map(|url| url.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_as_browsers_write_them_and_in_no_other_spelling() {
        let read = Origins::read("https://app.example.com, http://localhost:5173,http://[::1]:3000").unwrap();
        assert_eq!(read.0, ["https://app.example.com", "http://localhost:5173", "http://[::1]:3000"]);
        assert_eq!(Origins::read("*").unwrap().0, ["*"]);
        for text in [
            "",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/x",
            "https://App.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://app.example.com,",
            "https://*.example.com",
            "*, https://app.example.com",
            "null",
        ] {
            assert_eq!(Origins::read(text), None, "{text}");
        }
    }
}
