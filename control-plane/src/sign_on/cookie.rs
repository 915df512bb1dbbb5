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
/// Where it is sent to.
const PATH: &str = "/auth/oauth";

fn name(state: &str) -> String {
    let hash = Fingerprint::of(state.as_bytes());
    let hexadecimal: String = hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = hexadecimal.chars().take(NAME_CHARS).collect();
    format!("{PREFIX}{short}")
}

/// The header that sets it. `Lax`: the provider sends the browser back from another site, with a plain GET.
pub(super) fn set(state: &str, binding: &Binding, https: bool) -> Option<(HeaderName, HeaderValue)> {
    let value = binding.cookie();
    header(&name(state), value.as_str(), STATE_LIFETIME.as_secs(), https)
}

/// The header that takes it away again.
pub(super) fn clear(state: &str, https: bool) -> Option<(HeaderName, HeaderValue)> {
    header(&name(state), "", 0, https)
}

fn header(name: &str, value: &str, max_age: u64, https: bool) -> Option<(HeaderName, HeaderValue)> {
    let secure = if https { "; Secure" } else { "" };
    let text = Zeroizing::new(format!(
        "{name}={value}; Path={PATH}; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"
    ));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some((SET_COOKIE, value))
}

/// What the browser kept for this state.
pub(super) fn read(headers: &HeaderMap, state: &str) -> Option<Binding> {
    let name = name(state);
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
            for attribute in ["; Path=/auth/oauth;", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
                assert!(text.contains(attribute), "{text}");
            }
            headers.append(COOKIE, text.split(';').next().unwrap().parse().unwrap());
        }
        assert_eq!(read(&headers, "mwo_1").unwrap().fingerprint(), one.fingerprint());
        assert_eq!(read(&headers, "mwo_2").unwrap().fingerprint(), other.fingerprint());
        assert!(read(&headers, "mwo_3").is_none());
        assert!(read(&HeaderMap::new(), "mwo_1").is_none());
    }

    #[test]
    fn without_https_the_cookie_is_not_one_that_only_https_sends() {
        let (_, set) = set("mwo_1", &Binding::generate().unwrap(), false).unwrap();
        assert!(!set.to_str().unwrap().contains("Secure"));
        assert!(clear("mwo_1", false).unwrap().1.to_str().unwrap().contains("Max-Age=0"));
    }
}
