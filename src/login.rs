//! `mindweave login`, `logout`, `whoami`. A sign-in on this machine ends in a personal access token, which is remembered, and can be seen
//! and revoked among one's others; the session that made it is over at once.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mindweave_policy::Secret;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use crate::cli::{Login, WhoAmI};
use crate::client::{Client, Query, running_server};
use crate::config::{Config, ConfigError};
use crate::listing::{self, Column, Kind};
use crate::profiles::{Profile, Profiles};
use crate::projects::text;
use crate::terminal;

/// Most bytes of the request with which a browser comes back.
const MAX_RETURN_BYTES: u64 = 16 * 1024;
/// How long a browser may take over its request once it has connected.
const RETURN_TIMEOUT: Duration = Duration::from_secs(10);

/// What `whoami` shows.
const COLUMNS: [Column; 5] = [
    ("NAME", "user.name", Kind::Plain),
    ("E-MAIL", "user.email", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("KIND", "kind", Kind::Plain),
    ("SCOPES", "scopes", Kind::Plain),
];

/// Signs in and remembers the token.
///
/// # Errors
/// When the server refuses, or the token cannot be remembered.
pub(crate) fn login(
    options: &Login,
    config: Result<Config, ConfigError>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut profiles = Profiles::read()?;
    let known = profiles.chosen(Some(&options.profile)).ok().flatten().cloned();
    let (server, ca_file) = match (&options.server, known) {
        (Some(server), _) => (server.clone(), options.ca_file.clone()),
        (None, Some(profile)) => (profile.server, options.ca_file.clone().or(profile.ca_file)),
        (None, None) => {
            let config = config?;
            // A certificate that signed itself is its own authority.
            let own = config.control_plane_tls_cert_file.clone();
            (running_server(&config), options.ca_file.clone().or(own))
        }
    };
    let reach = |token: Option<&Secret>| {
        let token = token.cloned().unwrap_or_else(|| Secret::new(String::new()));
        Client::with(&server, token, ca_file.as_deref())
    };
    let (token, token_id) = if options.with_token {
        (token_of_stdin()?, None)
    } else {
        let anonymous = reach(None)?;
        let session = match &options.sso {
            Some(provider) => by_browser(&anonymous, provider)?,
            None => by_password(&anonymous, options.email.as_deref())?,
        };
        token_of_session(&reach(Some(&session))?)?
    };
    let client = reach(Some(&token))?;
    let me: Value = client.get("/auth/me", &Query::new())?;
    // A service account has an id only.
    let email = me.get("user").map_or("", |user| text(user, "email"));
    let holder = if email.is_empty() { text(&me, "id") } else { email }.to_owned();
    let server = client.base().to_owned();
    profiles.set(
        &options.profile,
        Profile { server: server.clone(), token, token_id, holder: Some(holder.clone()), ca_file },
    );
    profiles.write()?;
    Ok(writeln!(out, "signed in at {server} as {holder}")?)
}

/// Revokes the token of a profile and forgets it.
///
/// # Errors
/// When there is no such profile. A server that cannot be reached, or does not know the token any more, is told to the user.
pub(crate) fn logout(profile: Option<&str>, out: &mut impl Write) -> anyhow::Result<()> {
    let mut profiles = Profiles::read()?;
    profiles.chosen(profile)?;
    let (name, profile) = profiles.remove(profile).context("you are not signed in anywhere")?;
    let revoked = match &profile.token_id {
        Some(id) => Client::with(&profile.server, profile.token.clone(), profile.ca_file.as_deref())
            .and_then(|client| Ok(client.delete(&format!("/auth/tokens/{id}"))?)),
        None => Ok(()), // it was brought along: whoever made it may need it elsewhere
    };
    profiles.write()?;
    match revoked {
        Ok(()) => writeln!(out, "signed out of {} (profile {name})", profile.server)?,
        Err(error) => writeln!(
            out,
            "forgot the profile {name}; its token could not be revoked at {}: {error:#}",
            profile.server
        )?,
    }
    Ok(())
}

/// Says who one is at a server.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn who_am_i(options: &WhoAmI, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    let me: Value = client.get("/auth/me", &Query::new())?;
    Ok(listing::one(&me, &COLUMNS, options.json, out)?)
}

/// Does something as a person who has just signed in, which no token can; the session is over afterwards.
///
/// # Errors
/// When the sign-in fails, or what is done.
pub(crate) fn signed_in<T>(
    client: &Client,
    act: impl FnOnce(&Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let me: Value = client.get("/auth/me", &Query::new())?;
    let email = me.get("user").map_or("", |user| text(user, "email"));
    ensure!(!email.is_empty(), "this takes a person's sign-in: make access tokens as one");
    let anonymous = client.with_token(Secret::new(String::new()));
    let session = client.with_token(by_password(&anonymous, Some(email))?);
    let done = act(&session);
    session.post("/auth/logout", &json!({}))?;
    done
}

fn token_of_stdin() -> anyhow::Result<Secret> {
    if io::stdin().is_terminal() {
        return terminal::ask_unseen("Access token: ");
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read the token from standard input")?;
    let token = line.trim();
    ensure!(!token.is_empty(), "no token on standard input");
    Ok(Secret::new(token.to_owned()))
}

/// A session by address, password and, where one is enrolled, a second factor.
fn by_password(client: &Client, email: Option<&str>) -> anyhow::Result<Secret> {
    let email = match email {
        Some(email) => email.to_owned(),
        None => terminal::ask("E-mail: ")?,
    };
    let password = terminal::ask_unseen("Password: ")?;
    let answer =
        client.post("/auth/login", &json!({ "email": email, "password": password.expose_secret() }))?;
    session_of(client, answer)
}

/// The session of an answer to a sign-in, after the second factor that it may want.
fn session_of(client: &Client, mut answer: Value) -> anyhow::Result<Secret> {
    if let Some(wanted) = answer.get("second_factor") {
        let methods: Vec<&str> = wanted
            .get("methods")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        ensure!(
            methods.iter().any(|method| *method != "passkey"),
            "this account wants a passkey, which only a browser has: make an access token there, and pass it to `mindweave login --with-token`"
        );
        let token = text(wanted, "token").to_owned();
        let code = terminal::ask_unseen("Code of your authenticator, or a recovery code: ")?;
        let code = code.expose_secret();
        // Codes of an authenticator are six digits.
        let field = if code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) {
            "code"
        } else {
            "recovery_code"
        };
        answer = client.post("/auth/mfa/verify", &json!({ "token": token, field: code }))?;
    }
    match text(&answer, "access_token") {
        "" => bail!("the server did not begin a session"),
        token => Ok(Secret::new(token.to_owned())),
    }
}

/// A session by a sign-on provider: the browser comes back to a port of this machine (RFC 8252, section 7.3).
fn by_browser(client: &Client, provider: &str) -> anyhow::Result<Secret> {
    let sound = provider.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    ensure!(sound && !provider.is_empty(), "{provider:?} is not the name of a provider");
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen for the browser's return")?;
    let port = listener.local_addr()?.port();
    let verifier = verifier()?;
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.expose_secret().as_bytes()));
    writeln!(
        io::stderr(),
        "Open this in a browser of this machine:\n\n  {}/auth/oauth/{provider}?return_to=http%3A%2F%2F127.0.0.1%3A{port}%2F&code_challenge={challenge}\n",
        client.base()
    )?;
    loop {
        let (stream, _) = listener.accept()?;
        if let Some(code) = returned(stream)? {
            let answer = client.post(
                "/auth/oauth/token",
                &json!({ "code": code.expose_secret(), "code_verifier": verifier.expose_secret() }),
            )?;
            return session_of(client, answer);
        }
    }
}

/// What proves that the code was asked for here: other programs of this machine can see the port, and other pages can call it (RFC 7636).
fn verifier() -> anyhow::Result<Secret> {
    const BYTES: usize = 32;
    let mut random = [0; BYTES];
    let filled = SystemRandom::new().fill(&mut random);
    ensure!(filled.is_ok(), "the operating system gave no random bytes");
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(random)))
}

/// The code with which a browser came back. `None`: it asked for something else, as browsers do.
fn returned(mut stream: TcpStream) -> anyhow::Result<Option<Secret>> {
    stream.set_read_timeout(Some(RETURN_TIMEOUT))?;
    let mut line = String::new();
    let read = BufReader::new((&stream).take(MAX_RETURN_BYTES)).read_line(&mut line);
    let query = line.split(' ').nth(1).and_then(|target| target.split_once('?')).map(|(_, query)| query);
    let field = |name: &str| {
        query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| {
            pair.split_once('=').filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
        })
    };
    let (code, error) = (field("code"), field("error"));
    let (status, words) = match (&read, &code) {
        (Ok(_), Some(_)) => {
            ("200 OK", "You are signed in. You can close this page and go back to your terminal.\n")
        }
        _ => ("404 Not Found", "There is nothing here.\n"),
    };
    let answered = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{words}",
        words.len()
    );
    if let Some(error) = error {
        bail!("the sign-in failed: {error}");
    }
    drop(answered); // a browser that is gone has done its part
    Ok(code.map(Secret::new))
}

/// Makes the token that is remembered, and ends the session.
fn token_of_session(client: &Client) -> anyhow::Result<(Secret, Option<String>)> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let made =
        client.post("/auth/tokens", &json!({ "name": format!("mindweave on {host}"), "scopes": ["*"] }))?;
    let token = Secret::new(text(&made, "token").to_owned());
    ensure!(!token.expose_secret().is_empty(), "the server made no access token");
    client.post("/auth/logout", &json!({}))?;
    Ok((token, Some(text(&made, "id").to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(request: &'static str) -> (anyhow::Result<Option<Secret>>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut browser = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        browser.write_all(request.as_bytes()).unwrap();
        let code = returned(listener.accept().unwrap().0);
        let mut answer = String::new();
        browser.read_to_string(&mut answer).unwrap();
        (code, answer)
    }

    #[test]
    fn a_browser_that_comes_back_brings_a_code_or_says_what_went_wrong() {
        let (code, answer) = answer_to("GET /?code=mwo_abc&state=x HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(code.unwrap().unwrap().expose_secret(), "mwo_abc");
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("mwo_abc"), "{answer}");
        let (code, _) = answer_to("GET /favicon.ico HTTP/1.1\r\n\r\n");
        assert!(code.unwrap().is_none());
        let (code, _) = answer_to("GET /?error=access_denied HTTP/1.1\r\n\r\n");
        assert_eq!(code.unwrap_err().to_string(), "the sign-in failed: access_denied");
    }
}
