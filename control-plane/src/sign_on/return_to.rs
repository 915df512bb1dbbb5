//! Where a sign-on leads in the end: a page of this site, or a program on the person's own machine. Nowhere else, so that nobody can be
//! sent to another site by a link to this one.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Longest address.
const MAX_BYTES: usize = 1_000;
/// Stands for this site while an address is taken apart. `.invalid` is nobody's (RFC 2606).
const HERE: &str = "https://here.invalid";

/// What is added to the address in the end.
const ANSWERS: [&str; 3] = ["code", "error", "linked"];

/// A place that a sign-on may lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReturnTo {
    /// A path of this site.
    Page(String),
    /// A program that listens on this machine (RFC 8252, section 7.3).
    Loopback(String),
}

/// What is said about an address that was refused.
pub(super) const REFUSED: &str = "must be a path of this site, for example /welcome, or http://127.0.0.1:PORT/.. of a program on your machine, without code, error or linked in its query";

impl ReturnTo {
    /// Reads an address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if !plain || text.len() > MAX_BYTES {
            return None;
        }
        if text.starts_with('/') {
            // What a browser would make of it decides, not what it looks like.
            let here = Url::parse(HERE).ok()?;
            let joined = here.join(text).ok()?;
            let same = joined.origin() == here.origin()
                && joined.path().starts_with('/')
                && !joined.path().starts_with("//");
            return (same && !text.starts_with("//") && joined.fragment().is_none() && !answers(&joined))
                .then(|| Self::Page(text.to_owned()));
        }
        let url = Url::parse(text).ok()?;
        let local = match url.host()? {
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
            Host::Domain(_) => false, // what a name means is up to others (section 8.3)
        };
        let named = !url.username().is_empty() || url.password().is_some();
        let fits =
            url.scheme() == "http" && local && url.port().is_some() && !named && url.fragment().is_none();
        let fits = fits && !answers(&url);
        fits.then(|| Self::Loopback(url.into()))
    }

    /// Whether another program on the machine could be listening there in its place: then the one that asked has to prove itself.
    pub(super) fn needs_proof(&self) -> bool {
        matches!(self, Self::Loopback(_))
    }

    /// The address with one more parameter, whose name and value need no escaping.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let (Self::Page(address) | Self::Loopback(address)) = self;
        let joint = if address.contains('?') { '&' } else { '?' };
        format!("{address}{joint}{name}={value}")
    }
}

/// Whether an address has an answer in it already. Whoever made the link could have put their own code there, and the page would sign the
/// person in as them.
fn answers(url: &Url) -> bool {
    url.query_pairs().any(|(name, _)| ANSWERS.contains(&&*name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sign_on_leads_to_this_site_or_to_this_machine_only() {
        for page in ["/", "/welcome", "/a/b?c=d"] {
            assert_eq!(ReturnTo::parse(page), Some(ReturnTo::Page(page.into())), "{page}");
        }
        for local in ["http://127.0.0.1:4711/", "http://127.0.0.1:4711/done?state=x", "http://[::1]:4711/"] {
            assert_eq!(ReturnTo::parse(local), Some(ReturnTo::Loopback(local.into())), "{local}");
        }
        for elsewhere in [
            "",
            "welcome",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/%09/evil\t",
            "/\n/evil.example",
            "https://evil.example/",
            "http://127.0.0.1.evil.example:80/",
            "http://127.0.0.1:80@evil.example/",
            "http://user@127.0.0.1:4711/",
            "http://localhost:4711/",
            "https://127.0.0.1:4711/",
            "http://127.0.0.1/",
            "http://127.0.0.1:4711/#code",
            "/page#code",
            "javascript:alert(1)",
            "data:text/html,x",
            "/..//evil.example",
            // Of two codes, the page would take the one that a link brought along: somebody else's.
            "/done?code=mwo_x",
            "/done?a=1&error=no",
            "/done?linked=other",
            "/done?c%6Fde=mwo_x",
            "http://127.0.0.1:4711/done?code=mwo_x",
        ] {
            assert_eq!(ReturnTo::parse(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn the_code_joins_what_the_address_has() {
        assert_eq!(ReturnTo::Page("/a".into()).with("code", "c"), "/a?code=c");
        assert_eq!(ReturnTo::Page("/a?b=1".into()).with("code", "c"), "/a?b=1&code=c");
    }

    proptest! {
        #[test]
        fn whatever_is_taken_stays_on_this_site_or_machine(text in "[/\\\\.:@#?a-z0-9%\\[\\]]{0,40}|/[ -~]{0,30}|http://[ -~]{0,30}") {
            if let Some(place) = ReturnTo::parse(&text) {
                let here = Url::parse("https://mindweave.example/auth/oauth/callback").unwrap();
                let target = here.join(&place.with("code", "c")).unwrap();
                match place {
                    ReturnTo::Page(_) => prop_assert_eq!(target.origin(), here.origin()),
                    ReturnTo::Loopback(_) => {
                        let loopback = match target.host().unwrap() {
                            Host::Ipv4(address) => address.is_loopback(),
                            Host::Ipv6(address) => address.is_loopback(),
                            Host::Domain(_) => false,
                        };
                        prop_assert!(loopback);
                    }
                }
            }
        }
    }
}
