//! Proof that whoever is about to change how somebody signs in is that somebody: a session alone may be stolen.

use std::time::Duration;

use mindweave_identity::password::Verified;
use mindweave_identity::recovery::RecoveryCode;
use mindweave_policy::Secret;
use serde_json::{Value, json};

use super::{enabling, store};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::{Connection, Doing, StoreError, Transaction};
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::identity::SignedIn;
use crate::identity::passkeys;
use crate::identity::second_factor::{FactorKind, wanted};
use crate::identity::service::hash_problem;
use crate::identity::throttle::{self, Action, Attempt};
use crate::identity::users::{self, Account};

/// For so long after a sign-in nothing more has to be shown.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// The answer of an authenticator to a challenge of ours.
#[derive(Debug)]
pub(crate) struct PasskeyAnswer {
    /// Of the challenge.
    pub(crate) token: Secret,
    pub(crate) credential: Value,
}

/// Documents [`PasskeyAnswer`].
#[derive(utoipa::ToSchema)]
#[schema(as = PasskeyAnswer)]
#[expect(dead_code, reason = "describes what is read")]
pub(crate) struct PasskeyAnswerBody {
    /// What the start of the ceremony answered.
    #[schema(min_length = 1, max_length = 1024, pattern = "^[!-~]+$", example = "mwo_..")]
    token: String,
    /// What `PublicKeyCredential.toJSON()` gives.
    #[schema(value_type = Object)]
    credential: Value,
}

impl PasskeyAnswer {
    /// Reads both, which must be there.
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let token = fields.required_password("token");
        let credential = fields.document("credential");
        if credential.is_none() {
            fields.require_if_absent("credential");
        }
        Self { token, credential: credential.map(Value::Object).unwrap_or_default() }
    }
}

/// A second factor that somebody shows.
#[derive(Debug)]
pub(super) enum Shown {
    Code(Secret),
    RecoveryCode(Secret),
    Passkey(PasskeyAnswer),
}

impl Shown {
    /// Reads `code`, `recovery_code` or `passkey`: at most one of them.
    pub(super) fn read(fields: &mut Fields) -> Option<Self> {
        let code = optional_secret(fields, "code").map(Self::Code);
        let recovery_code = optional_secret(fields, "recovery_code").map(Self::RecoveryCode);
        let passkey = fields.nested("passkey").map(|mut nested| {
            let answer = PasskeyAnswer::read(&mut nested);
            fields.close(nested);
            Self::Passkey(answer)
        });
        let mut shown = [code, recovery_code, passkey].into_iter().flatten();
        let first = shown.next();
        if shown.next().is_some() {
            fields.refuse("code", "give only one of code, recovery_code and passkey");
        }
        first
    }

    pub(super) fn kind(&self) -> FactorKind {
        match self {
            Self::Code(_) => FactorKind::Totp,
            Self::RecoveryCode(_) => FactorKind::RecoveryCode,
            Self::Passkey(_) => FactorKind::Passkey,
        }
    }

    /// Whether it is somebody's. It is used up by that.
    pub(super) async fn take(&self, tx: &mut Connection, app: &App, user_id: &str) -> Result<bool, Problem> {
        match self {
            Self::Code(code) => enabling::code_take(tx, app, user_id, code, false).await,
            Self::RecoveryCode(text) => {
                let Some(code) = RecoveryCode::read(text.expose_secret()) else { return Ok(false) };
                Ok(store::recovery_use(tx, user_id, &code.fingerprint(), clock::now()).await?)
            }
            Self::Passkey(answer) => {
                let asserted = passkeys::assertion_take(tx, app, answer, Some(user_id)).await?;
                Ok(asserted.is_some())
            }
        }
    }
}

/// A secret that may be there.
pub(super) fn optional_secret(fields: &mut Fields, name: &'static str) -> Option<Secret> {
    match fields.any(name)? {
        Value::String(text) => return Some(Secret::new(text)),
        _ => fields.refuse(name, "must be a text"),
    }
    None
}

/// Documents [`Proof`].
#[derive(utoipa::ToSchema)]
#[schema(as = Proof)]
#[expect(dead_code, reason = "describes what `Proof` reads")]
pub(crate) struct ProofBody {
    #[schema(format = Password)]
    password: Option<String>,
    /// What the app shows.
    #[schema(example = "123456")]
    code: Option<String>,
    /// In place of a code, once.
    #[schema(example = "7QH2-0VXE-M3ZK-9FTA")]
    recovery_code: Option<String>,
    /// In place of a code; `POST /auth/passkeys/login/start` begins it.
    passkey: Option<PasskeyAnswerBody>,
}

/// What somebody shows to prove who they are.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    password: Option<Secret>,
    shown: Option<Shown>,
}

impl Proof {
    /// Reads `password`, and `code`, `recovery_code` or `passkey`.
    pub(crate) fn read(fields: &mut Fields) -> Self {
        Self { password: optional_secret(fields, "password"), shown: Shown::read(fields) }
    }
}

/// What is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// A sign-in a moment ago, or what [`Self::Always`] takes.
    Fresh,
    /// The password, where there is one, and a second factor, where there is one.
    Always,
}

/// Begins to change how somebody signs in, if what they show is enough.
///
/// # Errors
/// 403 `confirmation_required` when they show too little, 401 `invalid_credentials` when it is wrong, 429 after too many attempts.
pub(crate) async fn confirm(
    app: &App,
    caller: &Caller,
    person: &SignedIn,
    proof: Proof,
    demand: Demand,
) -> Result<Transaction, Problem> {
    let mut tx = app.db.begin_read().await?;
    let account = users::account_by_id(&mut tx, &person.user_id).await?;
    let account = account.ok_or(StoreError::Corrupt { what: "the user of a session" })?;
    let began = store::session_began(&mut tx, &person.session_id).await?;
    let factors = wanted(&mut tx, &person.user_id).await?;
    drop(tx);
    let fresh = began.is_some_and(|began| clock::now().duration_since(began).unsigned_abs() < FRESH);
    if fresh && demand == Demand::Fresh {
        return Ok(app.db.begin_write().await?);
    }
    let bare = account.password_hash.is_none() && factors.is_empty();
    let missing_password = account.password_hash.is_some() && proof.password.is_none();
    if bare || missing_password || (!factors.is_empty() && proof.shown.is_none()) {
        return Err(too_little(demand));
    }
    let attempt = Attempt::new(Action::SecondFactor, Some(&person.user_id), caller.origin());
    throttle::check(&app.db, &attempt).await?;
    let right = password_right(app, &account, proof.password.as_ref()).await?;
    let mut tx = app.db.begin_write().await?;
    let shown = match &proof.shown {
        Some(shown) if right => shown.take(&mut tx, app, &person.user_id).await?,
        Some(_) => false,
        None => right,
    };
    if !shown {
        failed(tx, caller, &person.user_id, "confirmation").await?;
        return Err(wrong());
    }
    throttle::succeeded(&mut tx, &attempt).await?;
    Ok(tx)
}

/// Whether it is the password; of somebody without one there is nothing to show.
async fn password_right(app: &App, account: &Account, password: Option<&Secret>) -> Result<bool, Problem> {
    let (Some(stored), Some(password)) = (account.password_hash.as_deref(), password) else {
        return Ok(account.password_hash.is_none());
    };
    let verified = app.identity.passwords().verify(password, Some(stored)).await.map_err(hash_problem)?;
    Ok(verified != Verified::Wrong)
}

/// Notes an attempt that failed; what it used up stays used.
pub(super) async fn failed(
    mut tx: Transaction,
    caller: &Caller,
    user_id: &str,
    method: &str,
) -> Result<(), Problem> {
    let change = Change::new(Chain::Installation, "user.login_failed", "user", user_id);
    audit::record(&mut tx, caller, change.after(&json!({ "method": method }))).await?;
    tx.commit().await.doing("noting a failed attempt")?;
    Ok(())
}

/// What somebody showed was wrong. It does not say which part of it.
pub(crate) fn wrong() -> Problem {
    Problem::new(Code::InvalidCredentials, "what you have shown is not right, or was used already")
}

fn too_little(demand: Demand) -> Problem {
    let detail = match demand {
        Demand::Fresh => {
            "you have signed in more than ten minutes ago: sign in again, or send your password, and a second factor if you have one"
        }
        Demand::Always => "send your password, if you have one, and a code, a recovery code or a passkey",
    };
    Problem::new(Code::ConfirmationRequired, detail)
}
