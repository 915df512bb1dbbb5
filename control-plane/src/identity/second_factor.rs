//! What somebody has to show besides a password.

use serde::Serialize;

use crate::db::{Connection, Doing, StoreError, sql};

/// A second factor, as a sign-in that waits for one names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FactorKind {
    /// A code that an app shows for half a minute.
    Totp,
    /// One of the codes that were shown once, for when the app or the passkey is lost.
    RecoveryCode,
    Passkey,
}

/// What a sign-in that waits for a second factor began with: the id of a sign-on provider, or `None` for a password. The data of a
/// [`super::one_time::Purpose::SecondFactor`]; the `()` of a password reads as `None`.
pub(crate) type BegunBy = Option<String>;

/// The second factors that somebody may show at a sign-in with a password. None: the password is enough.
pub(crate) async fn wanted(tx: &mut Connection, user_id: &str) -> Result<Vec<FactorKind>, StoreError> {
    const FACTORS: [(FactorKind, &str); 3] = [
        (
            FactorKind::Totp,
            "SELECT EXISTS (SELECT 1 FROM totp_secrets WHERE user_id = ? AND confirmed_at IS NOT NULL)",
        ),
        (FactorKind::Passkey, "SELECT EXISTS (SELECT 1 FROM passkeys WHERE user_id = ?)"),
        (
            FactorKind::RecoveryCode,
            "SELECT EXISTS (SELECT 1 FROM recovery_codes WHERE user_id = ? AND used_at IS NULL)",
        ),
    ];
    let mut wanted = Vec::new();
    for (kind, sql) in FACTORS {
        // A recovery code stands in for a factor; alone it is none.
        if kind == FactorKind::RecoveryCode && wanted.is_empty() {
            break;
        }
        let has: bool = sql::query_scalar(sql)
            .bind(user_id)
            .fetch_one(&mut *tx)
            .await
            .doing("looking for second factors")?;
        if has {
            wanted.push(kind);
        }
    }
    Ok(wanted)
}
