//! The API of the control plane, as commands use it: blocking, with errors that say what to do.

use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

use mindweave_policy::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{HeaderValue, Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::cli::Server;
use crate::config::{Config, ConfigError};
use crate::data_dir;
use crate::endpoints::{Endpoints, local_url};
use crate::trust::trusted;

/// Connecting on the same machine or network takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The slowest query reads days of single calls.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// A page of single calls has some hundred kilobytes.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// Entries asked for at once.
const PAGE: &str = "500";

/// Why a call of the API failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answers, or something that does not speak HTTP.
    #[error(
        "no MindWeave control plane answers at {url}: start one with `mindweave serve`, or pass --server"
    )]
    NoServer {
        /// Where.
        url: String,
        #[source]
        cause: Box<ureq::Error>,
    },
    /// Its certificate is not one that is believed here.
    #[error(
        "the certificate of {url} is not believed: pass its authority with --ca-file or MINDWEAVE_CA_FILE, and call it by a name that its certificate has, with --server"
    )]
    Untrusted {
        /// Which server.
        url: String,
        #[source]
        cause: Box<ureq::Error>,
    },
    /// There is no token to send.
    #[error("no token: sign in with `mindweave login`, pass --token, set MINDWEAVE_ADMIN_TOKEN, or run this where {} can be read", .0.display())]
    NoToken(std::path::PathBuf),
    /// The token is not one of the server's, or not any more.
    #[error(
        "{url} does not accept this token ({detail}): sign in with `mindweave login`, or pass another with --token"
    )]
    WrongToken {
        /// Which server.
        url: String,
        /// Its own words.
        detail: String,
    },
    /// The token cannot stand in a header.
    #[error("the token has characters that no token has: is it cut or pasted in the wrong place?")]
    StrangeToken,
    /// The server said no, and why.
    #[error("{detail} ({status})")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// The server's own words.
        detail: String,
    },
    /// The answer is not what the API sends: another server, or another version.
    #[error("{url} does not answer like a MindWeave control plane")]
    Strange {
        /// Which server.
        url: String,
        #[source]
        cause: Box<ureq::Error>,
    },
}

/// Words of an error answer: RFC 9457.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    data: Vec<Value>,
    next_cursor: Option<String>,
}

/// Parameters of a query.
pub(crate) type Query = Vec<(&'static str, String)>;

/// A client of one control plane.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    token: Secret,
}

impl Client {
    /// The client for the server that the options name, else that of the profile, else for the one that runs on this machine. Profile
    /// and configuration are only needed for what the options leave open.
    ///
    /// # Errors
    /// When they are needed and faulty, or there is no token.
    pub(crate) fn new(options: &Server, config: Result<Config, ConfigError>) -> anyhow::Result<Self> {
        let mut ca_file = options.ca_file.clone();
        let profile = options.remembered()?;
        let (base, token) = match (&options.server, &options.token, profile) {
            (Some(server), Some(token), _) => (server.clone(), Secret::new(token.clone())),
            (server, token, Some(profile)) => {
                ca_file = ca_file.or(profile.ca_file);
                let token = token.clone().map_or(profile.token, Secret::new);
                (server.clone().unwrap_or(profile.server), token)
            }
            (server, token, None) => {
                let config = config?;
                let base = server.clone().unwrap_or_else(|| running_server(&config));
                // A certificate that signed itself is its own authority.
                let own = config.control_plane_tls_cert_file.as_ref().filter(|_| server.is_none());
                ca_file = ca_file.or_else(|| own.cloned());
                let token = match token {
                    Some(token) => Secret::new(token.clone()),
                    None => data_dir::stored_admin_token(&config.data_dir)
                        .ok_or_else(|| ClientError::NoToken(config.data_dir.clone()))?,
                };
                (base, token)
            }
        };
        Self::with(&base, token, ca_file.as_deref())
    }

    /// A client for this URL, which trusts these authorities beside those of the machine.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub(crate) fn with(base: &str, token: Secret, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self::trusting(roots(base, ca_file)?, base, token))
    }

    /// A client for this URL, or for `host:port`, which trusts as the machine does.
    pub(crate) fn at(base: &str, token: Secret) -> Self {
        Self::trusting(RootCerts::WebPki, base, token)
    }

    fn trusting(roots: RootCerts, base: &str, token: Secret) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0) // the API sends none, and a token must not follow one
            .proxy(None) // the control plane is near: an environment's proxy is for the way out
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(CALL_TIMEOUT))
            .build();
        let base = base.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        Self { agent: config.new_agent(), base, token }
    }

    /// A client of the same server with another token.
    pub(crate) fn with_token(&self, token: Secret) -> Self {
        Self { agent: self.agent.clone(), base: self.base.clone(), token }
    }

    /// URL of the server.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// GETs a path.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<T, ClientError> {
        let request =
            self.agent.get(self.url(path)).query_pairs(query.iter().map(|(name, value)| (*name, value)));
        self.decode(self.answer(request.header("authorization", self.bearer()?).call())?)
    }

    /// GETs every entry of a list, page by page.
    pub(crate) fn list(&self, path: &str, query: &Query) -> Result<Vec<Value>, ClientError> {
        let mut entries = Vec::new();
        let mut query = query.clone();
        query.push(("limit", PAGE.to_owned()));
        loop {
            let page: Page = self.get(path, &query)?;
            entries.extend(page.data);
            let Some(cursor) = page.next_cursor else { return Ok(entries) };
            query.retain(|(name, _)| *name != "cursor");
            query.push(("cursor", cursor));
        }
    }

    /// POSTs JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let request = self.agent.post(self.url(path)).header("authorization", self.bearer()?);
        self.decode(self.answer(request.send_json(body))?)
    }

    /// PUTs JSON.
    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let request = self.agent.put(self.url(path)).header("authorization", self.bearer()?);
        self.decode(self.answer(request.send_json(body))?)
    }

    /// PATCHes with JSON.
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let request = self.agent.patch(self.url(path)).header("authorization", self.bearer()?);
        self.decode(self.answer(request.send_json(body))?)
    }

    /// DELETEs a path.
    pub(crate) fn delete(&self, path: &str) -> Result<(), ClientError> {
        let request = self.agent.delete(self.url(path)).header("authorization", self.bearer()?);
        self.answer(request.call()).map(drop)
    }

    /// GETs a path whose answer is read as it comes, however long that takes.
    pub(crate) fn stream(
        &self,
        path: &str,
        query: &Query,
    ) -> Result<BufReader<impl Read + use<>>, ClientError> {
        let request =
            self.agent.get(self.url(path)).query_pairs(query.iter().map(|(name, value)| (*name, value)));
        let request = request.header("authorization", self.bearer()?).config().timeout_global(None).build();
        Ok(BufReader::new(self.answer(request.call())?.into_body().into_reader()))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The credential of every call, marked so that no log of a library shows it.
    fn bearer(&self) -> Result<HeaderValue, ClientError> {
        let text = Zeroizing::new(format!("Bearer {}", self.token.expose_secret()));
        let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::StrangeToken)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The answer, if it is a success.
    fn answer(&self, result: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, ClientError> {
        let no_server = |cause: ureq::Error| {
            let (url, untrusted) = (self.base.clone(), is_about_a_certificate(&cause));
            let cause = Box::new(cause);
            if untrusted {
                ClientError::Untrusted { url, cause }
            } else {
                ClientError::NoServer { url, cause }
            }
        };
        let mut response = result.map_err(no_server)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        match response.body_mut().read_json::<Problem>() {
            Ok(problem) if status == StatusCode::UNAUTHORIZED && !self.token.expose_secret().is_empty() => {
                Err(ClientError::WrongToken { url: self.base.clone(), detail: problem.detail })
            }
            Ok(problem) => Err(ClientError::Refused { status, detail: problem.detail }),
            Err(_) => Err(self.strange(ureq::Error::StatusCode(status.as_u16()))),
        }
    }

    fn decode<T: DeserializeOwned>(&self, mut response: Response<Body>) -> Result<T, ClientError> {
        if response.status() == StatusCode::NO_CONTENT {
            return serde_json::from_value(Value::Null)
                .map_err(|_| self.strange(ureq::Error::StatusCode(StatusCode::NO_CONTENT.as_u16())));
        }
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        body.read_json().map_err(|cause| self.strange(cause))
    }

    fn strange(&self, cause: ureq::Error) -> ClientError {
        ClientError::Strange { url: self.base.clone(), cause: Box::new(cause) }
    }
}

/// An id that can stand in a path.
///
/// # Errors
/// When it is none: ids are letters, digits and a few marks.
pub(crate) fn id(text: &str) -> anyhow::Result<&str> {
    let sound =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    anyhow::ensure!(sound, "{text:?} is no id: lists show them");
    Ok(text)
}

/// The URL of this machine's server: the one that runs, else the one that the configuration would start.
pub(crate) fn running_server(config: &Config) -> String {
    let running = Endpoints::read(&config.data_dir).and_then(|endpoints| endpoints.control_plane);
    local_url(config.control_plane_scheme(), running.unwrap_or(config.control_plane_listen))
}

/// Whom to trust there. Looking at the machine's authorities takes a moment, and is left out where there is no TLS.
fn roots(base: &str, ca_file: Option<&Path>) -> anyhow::Result<RootCerts> {
    if !base.starts_with("https://") {
        return Ok(RootCerts::WebPki);
    }
    trusted(ca_file).map_err(anyhow::Error::msg)
}

/// Whether a connection failed for the server's certificate.
fn is_about_a_certificate(error: &ureq::Error) -> bool {
    let fault = match error {
        ureq::Error::Rustls(fault) => Some(fault),
        ureq::Error::Io(error) => error.get_ref().and_then(|cause| cause.downcast_ref()),
        _ => None,
    };
    matches!(fault, Some(rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use std::io::Write;
    use std::net::TcpListener;

    fn defaults() -> Config {
        Config::load(None, &Environment::default()).unwrap()
    }

    /// Answers one request with this and returns the address.
    fn answering_once(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap();
            assert!(read > 0, "a request comes before its answer");
            stream.write_all(answer.as_bytes()).unwrap();
        });
        format!("http://{addr}")
    }

    fn failure(answer: &'static str) -> String {
        let client = Client::at(&answering_once(answer), Secret::new("t".to_owned()));
        client.get::<Value>("/projects", &Query::new()).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_server_is_named_with_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Client::at(&url, Secret::new("t".to_owned()))
            .get::<Value>("/projects", &Query::new())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "no MindWeave control plane answers at {url}: start one with `mindweave serve`, or pass --server"
            )
        );
    }

    #[test]
    fn the_servers_own_words_reach_the_user() {
        let text = failure("HTTP/1.1 422 X\r\nconnection: close\r\n\r\n{\"detail\":\"name: is empty\"}");
        assert_eq!(text, "name: is empty (422 Unprocessable Entity)");
        assert!(
            failure("HTTP/1.1 401 X\r\nconnection: close\r\n\r\n{\"detail\":\"it was revoked\"}")
                .contains("does not accept this token (it was revoked)")
        );
        assert!(
            failure("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").contains("does not answer like")
        );
    }

    #[test]
    fn without_a_token_the_error_says_where_one_could_come_from() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data_dir: folder.path().to_path_buf(), ..defaults() };
        let options = Server { server: None, token: None, profile: None, ca_file: None };
        let error = Client::new(&options, Ok(config)).err().unwrap().to_string();
        assert!(error.starts_with("no token: sign in with `mindweave login`"), "{error}");
    }

    #[test]
    fn a_faulty_configuration_does_not_matter_when_server_and_token_are_given() {
        let faulty = Config::load(None, &Environment::with(&[("MINDWEAVE_NO__SUCH", "1")]));
        let options = Server {
            server: Some("http://x/".to_owned()),
            token: Some("t".to_owned()),
            profile: None,
            ca_file: None,
        };
        assert_eq!(Client::new(&options, faulty).unwrap().base, "http://x");
    }

    #[test]
    fn a_server_may_be_named_by_host_and_port() {
        assert_eq!(Client::at("10.0.0.1:3000", Secret::new("t".to_owned())).base, "http://10.0.0.1:3000");
    }
}
