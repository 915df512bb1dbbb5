//! Mails to people, through the SMTP server of whoever runs this. A request hands a mail over and goes on; a task delivers.

mod address;
mod delivery;
mod message;

pub use address::{SmtpUrl, SmtpUrlFault};
pub use delivery::{MAX_QUEUED_MAILS, MailSettings, MailStartError, Mailer, NotQueued};
pub use message::{Mail, Sender, is_address};

#[cfg(test)]
mod tests;
