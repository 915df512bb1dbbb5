//! What a mail is.

use lettre::Message;
use lettre::address::Address;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use ring::rand::{SecureRandom, SystemRandom};

/// A mail of plain text.
#[derive(Clone)]
pub struct Mail {
    /// The address that it goes to.
    pub to: String,
    /// One line.
    pub subject: String,
    /// In plain words, with the link in a line of its own. May hold secrets.
    pub text: String,
}

impl std::fmt::Debug for Mail {
    /// Nothing of it: the text has links that let somebody in, the address is a person's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mail(..)")
    }
}

/// Whom mails come from: `MindWeave <mindweave@example.com>` or the bare address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(Mailbox);

impl Sender {
    /// Reads it; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// Whether a text is one e-mail address, without a name.
pub fn is_address(text: &str) -> bool {
    text.parse::<Address>().is_ok()
}

impl Mail {
    /// As it is sent; `None` when the address is none.
    pub(super) fn message(&self, from: &Sender) -> Option<Message> {
        let to: Address = self.to.parse().ok()?;
        // So that no vacation notice answers (RFC 3834, section 5).
        let automatic =
            HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        Message::builder()
            .from(from.0.clone())
            .to(Mailbox::new(None, to))
            .subject(self.subject.clone())
            .message_id(message_id(from.0.email.domain()))
            .raw_header(automatic)
            .header(ContentType::TEXT_PLAIN)
            .body(self.text.clone())
            .ok()
    }
}

/// Lets a mail that is delivered twice be recognised.
fn message_id(domain: &str) -> Option<String> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).ok()?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("<{random}@{domain}>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_cannot_get_more_headers_or_receivers_than_it_has() {
        let from = Sender::parse("MindWeave <mindweave@example.com>").unwrap();
        let mail = |to: &str, subject: &str| Mail {
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: "Hello".to_owned(),
        };
        assert!(mail("a@example.com, b@example.com", "x").message(&from).is_none());
        assert!(mail("a@example.com\r\nBcc: b@example.com", "x").message(&from).is_none());
        let sent = mail("a@example.com", "x\r\nBcc: b@example.com").message(&from).unwrap().formatted();
        let sent = String::from_utf8(sent).unwrap();
        assert!(!sent.lines().any(|line| line.starts_with("Bcc:")), "{sent}");
        assert!(sent.contains("Auto-Submitted: auto-generated") && sent.contains("@example.com>"), "{sent}");
    }

    #[test]
    fn nothing_of_a_mail_is_in_debug_output() {
        let mail =
            Mail { to: "a@example.com".into(), subject: "s".into(), text: "https://x/?token=mwo_1".into() };
        assert_eq!(format!("{mail:?}"), "Mail(..)");
    }
}
