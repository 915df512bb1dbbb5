//! What can be set of identity and mails, and what of it does not go together.

use mindweave_control_plane::{Registration, Sender, SmtpUrl};

use super::setting::{Setting, choices};
use super::{Config, Fault};

/// Less memory makes a password's hash cheap to guess: the least of OWASP's configurations for argon2id.
const LEAST_PASSWORD_MEMORY: u64 = 7 << 20;
/// More than this would let a few sign-ins take a machine's memory.
const MOST_PASSWORD_MEMORY: u64 = 1 << 30;

choices!(Registration { "open" => Open, "invitation" => Invitation, "closed" => Closed });

impl Setting for Sender {
    fn allowed() -> String {
        "an e-mail address, with a name or without: `MindWeave <mindweave@example.com>`".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

/// Faults that need a look at what a key holds, or at several keys.
pub(super) fn contradictions(config: &Config, faults: &mut Vec<Fault>) {
    let mut fault = |key: &str, problem: &str| faults.push(Fault::together(key, problem));
    if !(LEAST_PASSWORD_MEMORY..=MOST_PASSWORD_MEMORY).contains(&config.identity_password_memory.0) {
        fault("identity.password.memory", "must be from `7MiB` to `1GiB`");
    }
    if config.identity_access_token_lifetime > config.identity_refresh_token_lifetime {
        fault("identity.access_token_lifetime", "must not be longer than `identity.refresh_token_lifetime`");
    }
    if config.identity_refresh_token_lifetime > config.identity_session_lifetime {
        fault("identity.refresh_token_lifetime", "must not be longer than `identity.session_lifetime`");
    }
    let Some(url) = &config.mail_smtp_url else {
        if config.mail_from.is_some() {
            fault("mail.smtp_url", "is missing: `mail.from` alone sends nothing");
        }
        return;
    };
    // The value is not repeated: it may hold a password.
    if let Err(error) = SmtpUrl::parse(url.expose()) {
        fault("mail.smtp_url", &error.to_string());
    }
    if config.mail_from.is_none() {
        fault("mail.from", "is missing: `mail.smtp_url` needs to know whom mails come from");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment};

    fn faults(variables: &[(&str, &str)]) -> Vec<String> {
        match Config::load(None, &Environment::with(variables)) {
            Ok(_) => Vec::new(),
            Err(error) => error.faults().iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_mail_server_and_a_sender_go_together() {
        let (url, from) = ("MINDWEAVE_MAIL__SMTP_URL", "MINDWEAVE_MAIL__FROM");
        assert!(faults(&[(url, "smtps://mail.example.com"), (from, "MindWeave <m@example.com>")]).is_empty());
        assert!(faults(&[(url, "smtps://mail.example.com")])[0].contains("`mail.from` is missing"));
        assert!(faults(&[(from, "m@example.com")])[0].contains("`mail.smtp_url` is missing"));
        assert!(faults(&[(from, "nobody")])[0].contains("must be an e-mail address"));
    }

    #[test]
    fn a_broken_address_of_a_mail_server_is_refused_without_repeating_it() {
        for url in ["http://u:s3cret@mail", "smtp://u:s3cret@mail.example.com?tls=none"] {
            let found =
                faults(&[("MINDWEAVE_MAIL__SMTP_URL", url), ("MINDWEAVE_MAIL__FROM", "m@example.com")]);
            assert!(found.len() == 1 && found[0].contains("mail.smtp_url"), "{found:?}");
            assert!(!found[0].contains("s3cret"), "{found:?}");
        }
    }

    #[test]
    fn lifetimes_are_nested_and_hashes_are_not_cheap() {
        assert!(faults(&[("MINDWEAVE_IDENTITY__ACCESS_TOKEN_LIFETIME", "721h")])[0].contains("longer"));
        assert!(faults(&[("MINDWEAVE_IDENTITY__REFRESH_TOKEN_LIFETIME", "2161h")])[0].contains("longer"));
        assert!(faults(&[("MINDWEAVE_IDENTITY__PASSWORD__MEMORY", "1MiB")])[0].contains("7MiB"));
    }
}
