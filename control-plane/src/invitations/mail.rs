//! The words of an invitation.

use mindweave_identity::mail::Mail;
use mindweave_policy::Secret;

/// The link by which an invitation is accepted.
pub(super) fn link(public_url: &str, token: &Secret) -> String {
    format!("{public_url}/invitations/accept?token={}", token.expose_secret())
}

/// To somebody who is invited.
pub(super) fn mail(to: &str, (org, role): (&str, &str), link: &str) -> Mail {
    let text = format!(
        "You are invited to the organisation \"{org}\" on MindWeave, with the role {role}. To accept, open this link within seven days and \
         sign in, or register, with this e-mail address; it works once:\n\n\
         {link}\n\n\
         If you do not know the organisation, there is nothing to do."
    );
    Mail { to: to.to_owned(), subject: "You are invited to an organisation on MindWeave".to_owned(), text }
}
