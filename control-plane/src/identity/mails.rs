//! The words of the mails.

use std::time::Duration;

use mindweave_identity::mail::Mail;
use mindweave_policy::Secret;

/// How long the link in a mail about a forgotten password is good: long enough for mail that is slow.
pub(super) const RESET_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long the link that proves an address is good.
pub(super) const VERIFY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

fn link(public_url: &str, path: &str, token: &Secret) -> String {
    format!("{public_url}{path}?token={}", token.expose_secret())
}

/// To somebody who forgot their password.
pub(super) fn reset(public_url: &str, to: &str, token: &Secret) -> Mail {
    let link = link(public_url, "/auth/reset", token);
    mail(
        to,
        "Set a new password for MindWeave",
        &format!(
            "Somebody asked for a new password for your MindWeave account. If it was you, open this link within an hour; it works once:\n\n\
             {link}\n\n\
             If it was not you, there is nothing to do: your password stays as it is."
        ),
    )
}

/// To somebody who forgot the password that they do not have.
pub(super) fn reset_elsewhere(public_url: &str, to: &str) -> Mail {
    mail(
        to,
        "Signing in to MindWeave",
        &format!(
            "Somebody asked for a new password for your MindWeave account at {public_url}. It has none: you sign in through the \
             sign-on of your organisation, or with a passkey."
        ),
    )
}

/// To somebody who registers.
pub(super) fn verify(public_url: &str, to: &str, token: &Secret) -> Mail {
    let link = link(public_url, "/auth/verify-email", token);
    mail(
        to,
        "Confirm your e-mail address for MindWeave",
        &format!(
            "To make your MindWeave account, confirm that this address is yours. Open this link within a day; it works once:\n\n\
             {link}\n\n\
             If you did not register, do not open it: no account is made then."
        ),
    )
}

/// To somebody who wants to use another address.
pub(super) fn verify_change(public_url: &str, to: &str, token: &Secret) -> Mail {
    let link = link(public_url, "/auth/verify-email", token);
    mail(
        to,
        "Confirm your new e-mail address for MindWeave",
        &format!(
            "To use this address for your MindWeave account, open this link within a day; it works once:\n\n{link}\n\n\
             If you do not know of this, do not open it."
        ),
    )
}

/// To somebody who registers and has an account already.
pub(super) fn registered_already(public_url: &str, to: &str) -> Mail {
    mail(
        to,
        "You have a MindWeave account already",
        &format!(
            "Somebody, perhaps you, tried to register at {public_url} with this address. It has an account already: sign in with it, \
             or ask for a new password there. Nothing was changed."
        ),
    )
}

/// To somebody whose password was changed.
pub(super) fn password_changed(public_url: &str, to: &str) -> Mail {
    mail(
        to,
        "Your MindWeave password was changed",
        &format!(
            "The password of your account at {public_url} was changed just now, and other sessions were ended. If it was not you, \
             ask for a new password there at once, and tell your administrators."
        ),
    )
}

fn mail(to: &str, subject: &str, text: &str) -> Mail {
    Mail { to: to.to_owned(), subject: subject.to_owned(), text: format!("{text}\n\n-- \nMindWeave\n") }
}
