//! A browser as far as a sign-on needs one: it keeps cookies, follows redirects, and fills in the login page.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};

/// Most redirects of one sign-on. The provider's own are three.
const MAX_REDIRECTS: usize = 10;

/// A browser.
pub(crate) struct Browser {
    agent: Agent,
    /// By origin and name. Real ones keep them by host; here every server is another one's host.
    cookies: Mutex<BTreeMap<(String, String), String>>,
}

/// An answer that is no redirect, or one that leads out of what the browser may follow.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) text: String,
}

impl Page {
    /// The answer as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Browser {
    pub(crate) fn new() -> Self {
        let config = Agent::config_builder().http_status_as_error(false).max_redirects(0).build();
        Self { agent: config.into(), cookies: Mutex::default() }
    }

    /// One request, without following what it answers.
    pub(crate) fn get(&self, url: &str) -> Page {
        self.send(url, Request::get(url), ())
    }

    /// Sends a form.
    pub(crate) fn post_form(&self, url: &str, form: &str) -> Page {
        let request = Request::post(url).header("content-type", "application/x-www-form-urlencoded");
        self.send(url, request, form.to_owned())
    }

    /// Sends JSON, with a token if there is one.
    pub(crate) fn post_json(&self, url: &str, token: Option<&str>, body: &Value) -> Page {
        let mut request = Request::post(url).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(url, request, body.to_string())
    }

    fn send(
        &self,
        url: &str,
        mut request: ureq::http::request::Builder,
        body: impl ureq::AsSendBody,
    ) -> Page {
        let origin = origin(url);
        let cookies = self.cookies.lock().expect("no thread failed");
        let sent: Vec<String> = (cookies.iter())
            .filter(|((of, _), _)| *of == origin)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        drop(cookies);
        if !sent.is_empty() {
            request = request.header("cookie", sent.join("; "));
        }
        let response = self.agent.run(request.body(body).expect("a request"));
        let mut response: Response<ureq::Body> = response.unwrap_or_else(|error| panic!("{url}: {error}"));
        let header = |name: &str| -> Vec<String> {
            let values = response.headers().get_all(name).iter();
            values.map(|value| value.to_str().expect("a plain header").to_owned()).collect()
        };
        let (set_cookies, location) = (header("set-cookie"), header("location").pop());
        for cookie in &set_cookies {
            let (name, rest) = cookie.split_once('=').expect("a cookie has a name");
            let value = rest.split(';').next().unwrap_or_default().to_owned();
            self.cookies.lock().expect("no thread failed").insert((origin.clone(), name.to_owned()), value);
        }
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().expect("a text");
        Page { url: url.to_owned(), status, location, text }
    }

    /// Follows redirects from a page, as far as `stop` does not say otherwise of an address.
    pub(crate) fn follow(&self, mut page: Page, stop: impl Fn(&str) -> bool) -> Page {
        for _ in 0..MAX_REDIRECTS {
            let Some(location) = page.location.clone().filter(|_| (300..400).contains(&page.status)) else {
                return page;
            };
            let next =
                if location.starts_with('/') { format!("{}{location}", origin(&page.url)) } else { location };
            if stop(&next) {
                return page;
            }
            page = self.get(&next);
        }
        panic!("more than {MAX_REDIRECTS} redirects, the last at {}", page.url);
    }

    /// Signs in on the provider's page that the sign-on leads to, and comes back to MindWeave, whose answer it returns.
    pub(crate) fn sign_on(&self, start: &str, login: &str, password: &str) -> Page {
        let back = self.sign_on_until_callback(start, login, password);
        self.get(&back)
    }

    /// The same up to the address that the provider sends the browser back to.
    pub(crate) fn sign_on_until_callback(&self, start: &str, login: &str, password: &str) -> String {
        let is_callback = |url: &str| url.contains("/auth/oauth/callback?");
        let begun = self.get(start);
        assert_eq!(begun.status, 302, "{begun:?}");
        self.log_in(begun, login, password, is_callback)
    }

    /// From an answer that leads to the provider to the address that it sends the browser back to.
    pub(crate) fn log_in(
        &self,
        begun: Page,
        login: &str,
        password: &str,
        is_callback: impl Fn(&str) -> bool,
    ) -> String {
        let mut page = self.follow(begun, &is_callback);
        if page.status == 200 {
            assert!(page.text.contains("type=\"password\""), "a login page: {page:?}");
            let action = page.text.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
            let action = format!("{}{}", origin(&page.url), action.expect("a form"));
            let form = format!("login={login}&password={}", password.replace(' ', "+"));
            page = self.post_form(&action, &form);
            page = self.follow(page, &is_callback);
        }
        let back = page.location.clone().unwrap_or_else(|| panic!("no way back: {page:?}"));
        assert!(is_callback(&back), "{page:?}");
        back
    }

    /// What it keeps for MindWeave.
    pub(crate) fn cookies_of(&self, base: &str) -> Vec<String> {
        let origin = origin(base);
        let cookies = self.cookies.lock().expect("no thread failed");
        let own = cookies.iter().filter(|((of, _), value)| *of == origin && !value.is_empty());
        own.map(|((_, name), _)| name.clone()).collect()
    }
}

fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

/// A parameter of an address.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    Some(pair.to_owned())
}
