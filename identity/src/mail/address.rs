//! Where the SMTP server is, and what protects the way there.

use std::fmt;
use std::net::IpAddr;

use mindweave_policy::Secret;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// Submission over TLS (RFC 8314).
const SMTPS_PORT: u16 = 465;
/// Submission, with STARTTLS (RFC 6409).
const SUBMISSION_PORT: u16 = 587;

/// What protects the way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// TLS from the first byte.
    Tls,
    /// TLS after STARTTLS; a server that does not offer it gets nothing.
    StartTls,
    /// Nothing, because the address says so.
    None,
}

/// `smtps://..` or `smtp://..`, with user and password if the server wants them. Shows neither.
#[derive(Clone)]
pub struct SmtpUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) protection: Protection,
    pub(super) login: Option<(String, Secret)>,
}

/// Why a text is no address of a server. Repeats no part of it, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SmtpUrlFault {
    /// It is not a URL of this kind.
    #[error("is not of the form smtp://HOST or smtps://HOST")]
    Form,
    /// A password would travel in the clear.
    #[error("sends a password without TLS: leave `?tls=none` away")]
    PasswordInTheClear,
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpUrl")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("protection", &self.protection)
            .finish_non_exhaustive()
    }
}

impl SmtpUrl {
    /// Reads `smtps://user:password@host:port`, or `smtp://..` for STARTTLS. `smtp://..?tls=none` sends in the clear, which is for a
    /// relay on the same machine or network: without a password unless it is the same machine.
    ///
    /// # Errors
    /// See [`SmtpUrlFault`].
    pub fn parse(text: &str) -> Result<Self, SmtpUrlFault> {
        let url = Url::parse(text).map_err(|_| SmtpUrlFault::Form)?;
        let protection = match (url.scheme(), url.query()) {
            ("smtps", None) => Protection::Tls,
            ("smtp", None | Some("tls=required")) => Protection::StartTls,
            ("smtp", Some("tls=none")) => Protection::None,
            _ => return Err(SmtpUrlFault::Form),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(SmtpUrlFault::Form)?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(SmtpUrlFault::Form);
        }
        let login = login(&url)?;
        if protection == Protection::None && login.is_some() && !is_this_machine(&url) {
            return Err(SmtpUrlFault::PasswordInTheClear);
        }
        let usual = if protection == Protection::Tls { SMTPS_PORT } else { SUBMISSION_PORT };
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: url.port().unwrap_or(usual), protection, login })
    }
}

fn login(url: &Url) -> Result<Option<(String, Secret)>, SmtpUrlFault> {
    let decoded =
        |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| SmtpUrlFault::Form);
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(SmtpUrlFault::Form),
        (user, Some(password)) => Ok(Some((decoded(user)?, Secret::new(decoded(password)?)))),
    }
}

/// Hosts of a URL that is not one of the web's schemes are texts, also where they are numbers.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_and_how() {
        for (text, host, port, protection) in [
            ("smtps://mail.example.com", "mail.example.com", 465, Protection::Tls),
            ("smtp://mail.example.com", "mail.example.com", 587, Protection::StartTls),
            ("smtp://mail.example.com:2525/", "mail.example.com", 2525, Protection::StartTls),
            ("smtp://127.0.0.1:25?tls=none", "127.0.0.1", 25, Protection::None),
            ("smtps://[::1]:8465", "::1", 8465, Protection::Tls),
        ] {
            let url = SmtpUrl::parse(text).unwrap();
            assert_eq!((&*url.host, url.port, url.protection), (host, port, protection), "{text}");
            assert!(url.login.is_none());
        }
    }

    #[test]
    fn user_and_password_are_decoded_and_never_shown() {
        let url = SmtpUrl::parse("smtps://ada%40example.com:p%3Aw%2Fd@mail.example.com").unwrap();
        let (user, password) = url.login.as_ref().unwrap();
        assert_eq!((&**user, password.expose_secret()), ("ada@example.com", "p:w/d"));
        let shown = format!("{url:?}");
        assert!(!shown.contains("p:w") && !shown.contains("ada"), "{shown}");
    }

    #[test]
    fn what_is_no_address_or_would_give_a_password_away_is_refused() {
        for text in [
            "",
            "mail.example.com",
            "http://mail.example.com",
            "smtp://",
            "smtp://host?tls=opportunistic",
            "smtps://host?tls=none",
            "smtp://user@host",
            "smtp://:password@host",
            "smtp://host/path",
            "smtp://host:99999",
        ] {
            assert_eq!(SmtpUrl::parse(text).unwrap_err(), SmtpUrlFault::Form, "{text}");
        }
        let refused = SmtpUrl::parse("smtp://user:password@mail.example.com?tls=none");
        assert_eq!(refused.unwrap_err(), SmtpUrlFault::PasswordInTheClear);
        assert!(SmtpUrl::parse("smtp://user:password@127.0.0.1?tls=none").is_ok());
    }
}
