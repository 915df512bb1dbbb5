//! Recovery codes of a person.

use mindweave_identity::recovery::{RECOVERY_CODE_BYTES, RECOVERY_CODES, RecoveryCode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::store;
use crate::db::Connection;
use crate::entropy;
use crate::http::problem::Problem;
use crate::identity::second_factor::wanted;

/// Codes that are shown this once.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RecoveryCodes {
    /// Each stands in for a second factor, once. Keep them where the phone is not; those of before are not good any more.
    #[schema(min_items = 10, max_items = 10, example = json!(["7QH2-0VXE-M3ZK-9FTA"]))]
    pub(crate) recovery_codes: Vec<String>,
}

/// Makes new codes; those of before are over.
pub(crate) async fn codes_make(tx: &mut Connection, user_id: &str) -> Result<RecoveryCodes, Problem> {
    let mut codes = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        let random = entropy::bytes::<RECOVERY_CODE_BYTES>().map_err(|error| Problem::internal(&error))?;
        codes.push(RecoveryCode::new(&Zeroizing::new(random)));
    }
    let fingerprints: Vec<_> = codes.iter().map(RecoveryCode::fingerprint).collect();
    store::recovery_put(tx, user_id, &fingerprints).await?;
    let recovery_codes = codes.iter().map(|code| code.text().expose_secret().to_owned()).collect();
    Ok(RecoveryCodes { recovery_codes })
}

/// Makes codes for somebody who has none left.
pub(crate) async fn codes_make_if_none(
    tx: &mut Connection,
    user_id: &str,
) -> Result<Option<RecoveryCodes>, Problem> {
    if store::recovery_left(tx, user_id).await? > 0 {
        return Ok(None);
    }
    codes_make(tx, user_id).await.map(Some)
}

/// Ends the codes of somebody who has no second factor any more for which they could stand in.
pub(crate) async fn codes_end_if_useless(tx: &mut Connection, user_id: &str) -> Result<(), Problem> {
    if wanted(tx, user_id).await?.is_empty() {
        store::recovery_delete(tx, user_id).await?;
    }
    Ok(())
}
