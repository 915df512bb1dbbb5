//! What is done after its answer: whether an address is known must not show in how long the answer takes.

use std::sync::Arc;

use mindweave_identity::mail::Mail;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::mails::{self, RESET_LIFETIME, VERIFY_LIFETIME};
use super::one_time::{self, Purpose};
use super::service::Identity;
use super::users::{self, NewUser};
use crate::access::Caller;
use crate::audit::{self, Chain, Change};
use crate::db::{Db, Doing};
use crate::http::problem::{Code, Problem};
use crate::tasks::Stop;

/// Most that wait to be done; each takes milliseconds. More are told to come back.
const MAX_WAITING: usize = 256;

/// Somebody who wants an account.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Registration {
    pub(super) email: String,
    pub(super) name: String,
    /// PHC string.
    pub(super) password_hash: String,
}

/// What is to be done.
pub(super) enum Request {
    /// Somebody forgot the password of this address.
    Forgot { email: String, caller: Caller },
    /// Somebody wants an account.
    Register { registration: Registration, caller: Caller },
    /// This user wants to use this address.
    ChangeEmail { user_id: String, email: String, caller: Caller },
}

/// Where handlers leave requests.
#[derive(Clone, Debug)]
pub(super) struct Requests(mpsc::Sender<Request>);

/// The other end.
pub(super) struct Waiting(mpsc::Receiver<Request>);

impl Requests {
    pub(super) fn new() -> (Self, Waiting) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), Waiting(receiver))
    }

    /// Leaves a request.
    ///
    /// # Errors
    /// 503 `busy`.
    pub(super) fn leave(&self, request: Request) -> Result<(), Problem> {
        let busy = |_| {
            Problem::new(Code::Busy, "too many people ask for this at this moment; try again in a second")
        };
        self.0.try_send(request).map_err(busy)
    }
}

impl Waiting {
    /// Does one after the other, until the stop.
    pub(super) async fn run(mut self, db: Db, identity: Arc<Identity>, mut stop: Stop) {
        loop {
            let request = tokio::select! {
                () = stop.stopped() => return,
                request = self.0.recv() => request,
            };
            let Some(request) = request else { return };
            if let Err(problem) = done(&db, &identity, request).await {
                tracing::error!(code = ?problem.code(), "a request for a mail was not fulfilled");
            }
        }
    }
}

async fn done(db: &Db, identity: &Identity, request: Request) -> Result<(), Problem> {
    match request {
        Request::Forgot { email, caller } => forgot(db, identity, &email, &caller).await,
        Request::Register { registration, caller } => register(db, identity, &registration, &caller).await,
        Request::ChangeEmail { user_id, email, caller } => {
            change_email(db, identity, (&user_id, &email), &caller).await
        }
    }
}

async fn forgot(db: &Db, identity: &Identity, email: &str, caller: &Caller) -> Result<(), Problem> {
    let mut tx = db.begin_write().await?;
    let Some(account) = users::user_by_email(&mut tx, email).await?.filter(|account| !account.disabled)
    else {
        return Ok(());
    };
    let (url, user) = (identity.public_url(), account.user);
    if account.password_hash.is_none() {
        send(identity, mails::reset_elsewhere(url, &user.email));
        return Ok(());
    }
    one_time::revoke(&mut tx, Purpose::PasswordReset, Some(&user.id)).await?;
    let token = one_time::issue(&mut tx, Purpose::PasswordReset, Some(&user.id), &(), RESET_LIFETIME).await?;
    let change = Change::new(Chain::Installation, "user.password_reset_requested", "user", &user.id);
    audit::record(&mut tx, caller, change).await?;
    tx.commit().await.doing("noting a forgotten password")?;
    send(identity, mails::reset(url, &user.email, &token));
    Ok(())
}

async fn register(db: &Db, identity: &Identity, new: &Registration, caller: &Caller) -> Result<(), Problem> {
    let url = identity.public_url();
    let mut tx = db.begin_write().await?;
    if users::user_by_email(&mut tx, &new.email).await?.is_some() {
        send(identity, mails::registered_already(url, &new.email));
        return Ok(());
    }
    if identity.mailer().is_configured() {
        // There is no user before the address is proved: nobody's address can be taken by somebody else.
        let token = one_time::issue(&mut tx, Purpose::Registration, None, new, VERIFY_LIFETIME).await?;
        tx.commit().await.doing("noting a registration")?;
        send(identity, mails::verify(url, &new.email, &token));
        return Ok(());
    }
    let user = NewUser {
        email: &new.email,
        email_verified: false,
        name: &new.name,
        password_hash: Some(&new.password_hash),
        installation_admin: false,
    };
    users::user_create(&mut tx, caller, user).await?;
    tx.commit().await.doing("making a user")?;
    Ok(())
}

async fn change_email(
    db: &Db,
    identity: &Identity,
    (user_id, email): (&str, &str),
    caller: &Caller,
) -> Result<(), Problem> {
    let url = identity.public_url();
    let mut tx = db.begin_write().await?;
    if users::user_by_email(&mut tx, email).await?.is_some() {
        send(identity, mails::registered_already(url, email));
        return Ok(());
    }
    one_time::revoke(&mut tx, Purpose::EmailChange, Some(user_id)).await?;
    let wanted = EmailWanted { email: email.to_owned() };
    let token =
        one_time::issue(&mut tx, Purpose::EmailChange, Some(user_id), &wanted, VERIFY_LIFETIME).await?;
    let change = Change::new(Chain::Installation, "user.email_change_requested", "user", user_id);
    audit::record(&mut tx, caller, change.after(&wanted).identifying()).await?;
    tx.commit().await.doing("noting a new address")?;
    send(identity, mails::verify_change(url, email, &token));
    Ok(())
}

/// The address that somebody wants to use.
#[derive(Serialize, Deserialize)]
pub(super) struct EmailWanted {
    pub(super) email: String,
}

/// Hands a mail over. One that finds no room is counted, and asked for again by whoever waits for it.
pub(super) fn send(identity: &Identity, mail: Mail) {
    if let Err(error) = identity.mailer().send(mail) {
        tracing::debug!(%error, "a mail was not taken");
    }
}
