//! Whether what is sealed in the database opens with the master key that a start would have.

use mindweave_control_plane::{Database, SchemaState, SchemaStatus, SecretsReport, secrets_check};

use super::Check;
use crate::config::{Config, Environment};
use crate::secrets::stored_master_key;

const NAME: &str = "stored secrets";

/// Looks, where there is a database to look into and a key; what is wrong with those, other checks say.
pub(super) fn checks(config: &Config, environment: &Environment) -> Option<Check> {
    let database = config.ledger();
    if let Database::Sqlite(file) = &database
        && !file.is_file()
    {
        return None;
    }
    let key = match stored_master_key(config, environment) {
        Ok(key) => key,
        Err(error) => {
            let advice = "docs/secrets.md says where it may come from";
            return Some(Check::fail(NAME, crate::chain(&error), advice));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let report = runtime.block_on(async {
        let status = SchemaStatus::read(&database).await.ok()?;
        match status.state {
            SchemaState::UpToDate => Some(secrets_check(&database, &key).await),
            SchemaState::Pending | SchemaState::Unusable => None,
        }
    })?;
    Some(match report {
        Ok(report) => judge(&report),
        Err(error) => Check::fail(NAME, crate::chain(&error.into()), "look at the database"),
    })
}

fn judge(report: &SecretsReport) -> Check {
    let sum =
        |of: fn(&mindweave_control_plane::SecretsTable) -> u64| report.tables.iter().map(of).sum::<u64>();
    let (current, previous) = (sum(|table| table.current), sum(|table| table.previous));
    if report.unreadable() > 0 {
        return Check::fail(
            NAME,
            format!("{} do not open with the master key ({})", report.unreadable(), report.key_id),
            "`mindweave secrets rotate --check` names them; set the master key that they were stored with, or store them anew",
        );
    }
    if previous > 0 {
        return Check::warn(
            NAME,
            format!(
                "{previous} of {} are under a previous master key, or in an older form",
                current.saturating_add(previous)
            ),
            "run `mindweave secrets rotate`",
        );
    }
    Check::ok(NAME, format!("all {current} open with the master key ({})", report.key_id))
}
