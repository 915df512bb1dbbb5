//! The cookie that ties a sign-on to the browser that began it. Each sign-on has its own, named after its state, so that two tabs do not
//! take each other's away.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use mindweave_identity::oidc::Binding;
use mindweave_policy::Fingerprint;
use zeroize::Zeroizing;

use super::flow::STATE_LIFETIME;

/// Characters of the state's hash in the name.
const NAME_CHARS: usize = 16;
/// What the names start with.
const PREFIX: &str = "mindweave_sign_on_";
/// With this in front, browsers take the cookie from this very host over https only: else another host of the same domain could put
/// its own sign-on into somebody's browser (RFC 6265bis, section 4.1.3.2). They demand `Secure` and the path `/` for it.
const HOST_PREFIX: &str = "__Host-";
const HOST_PATH: &str = "/";
/// Where it is sent to without https, where there is no such protection.
const PATH: &str = "/auth/oauth";

fn name(state: &str, https: bool) -> String {
    let hash = Fingerprint::of(state.as_bytes());
    let hexadecimal: String = hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = hexadecimal.chars().take(NAME_CHARS).collect();
    let host = if https { HOST_PREFIX } else { "" };
    format!("{host}{PREFIX}{short}")
}

/// The header that sets it. `Lax`: the provider sends the browser back from another site, with a plain GET.
pub(super) fn set(state: &str, binding: &Binding, https: bool) -> Option<(HeaderName, HeaderValue)> {
    let value = binding.cookie();
    header(&name(state, https), value.as_str(), STATE_LIFETIME.as_secs(), https)
}

/// The header that takes it away again.
pub(super) fn clear(state: &str, https: bool) -> Option<(HeaderName, HeaderValue)> {
    header(&name(state, https), "", 0, https)
}

fn header(name: &str, value: &str, max_age: u64, https: bool) -> Option<(HeaderName, HeaderValue)> {
    let (path, secure) = if https { (HOST_PATH, "; Secure") } else { (PATH, "") };
    let text = Zeroizing::new(format!(
        "{name}={value}; Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"
    ));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some((SET_COOKIE, value))
}

/// What the browser kept for this state.
pub(super) fn read(headers: &HeaderMap, state: &str, https: bool) -> Option<Binding> {
    let name = name(state, https);
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(given, _)| *given == name)?;
    Binding::from_cookie(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gives_back_the_cookie_of_its_own_state_only() {
        let (one, other) = (Binding::generate().unwrap(), Binding::generate().unwrap());
        let mut headers = HeaderMap::new();
        for (state, binding) in [("mwo_1", &one), ("mwo_2", &other)] {
            let (_, set) = set(state, binding, true).unwrap();
            assert!(set.is_sensitive());
            let text = set.to_str().unwrap();
            // Nobody but this very host can set such a cookie (RFC 6265bis, section 4.1.3.2).
            assert!(text.starts_with("__Host-"), "{text}");
            for attribute in ["; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
                assert!(text.contains(attribute), "{text}");
            }
            headers.append(COOKIE, text.split(';').next().unwrap().parse().unwrap());
        }
        assert_eq!(read(&headers, "mwo_1", true).unwrap().fingerprint(), one.fingerprint());
        assert_eq!(read(&headers, "mwo_2", true).unwrap().fingerprint(), other.fingerprint());
        assert!(read(&headers, "mwo_3", true).is_none());
        assert!(read(&headers, "mwo_1", false).is_none());
        assert!(read(&HeaderMap::new(), "mwo_1", true).is_none());
    }

    #[test]
    fn without_https_the_cookie_is_not_one_that_only_https_sends() {
        let (_, set) = set("mwo_1", &Binding::generate().unwrap(), false).unwrap();
        let text = set.to_str().unwrap();
        assert!(
            !text.contains("Secure") && !text.contains("__Host-") && text.contains("; Path=/auth/oauth;")
        );
        assert!(clear("mwo_1", false).unwrap().1.to_str().unwrap().contains("Max-Age=0"));
    }
}
