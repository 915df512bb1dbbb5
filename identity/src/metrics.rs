//! Every metric of this crate: names, units, labels.

/// Mails by what became of them. Label `result`: `sent`; `retried`, an attempt that failed and is made again; `failed`, given up;
/// `refused`, by the server for good or by a full queue; `undeliverable`, not to an address.
const MAILS: &str = "mindweave_control_plane_mails_total";
/// Mails that wait or are being sent.
const MAILS_QUEUED: &str = "mindweave_control_plane_queued_mails";

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MailResult {
    Sent,
    Retried,
    Failed,
    Refused,
    Undeliverable,
}

impl MailResult {
    const ALL: [Self; 5] = [Self::Sent, Self::Retried, Self::Failed, Self::Refused, Self::Undeliverable];

    fn text(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Undeliverable => "undeliverable",
        }
    }
}

/// Describes the metrics and starts each at zero.
pub fn register() {
    use ::metrics::{describe_counter, describe_gauge};
    describe_counter!(MAILS, "Mails, by what became of them.");
    describe_gauge!(MAILS_QUEUED, "Mails that wait or are being sent.");
    for result in MailResult::ALL {
        ::metrics::counter!(MAILS, "result" => result.text()).increment(0);
    }
    ::metrics::gauge!(MAILS_QUEUED).set(0.0);
}

/// Counts a mail.
pub(crate) fn mail(result: MailResult) {
    ::metrics::counter!(MAILS, "result" => result.text()).increment(1);
}

/// Changes how many wait.
pub(crate) fn mail_queued(by: f64) {
    ::metrics::gauge!(MAILS_QUEUED).increment(by);
}
