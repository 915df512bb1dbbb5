//! The secrets of a process: from the environment, else from the data folder.

mod command;
mod hook;
mod master_key;

use anyhow::{Context, ensure};
use mindweave_control_plane::MasterKey;
use mindweave_policy::Secret;

use crate::config::{ADMIN_TOKEN, Config, Environment, MASTER_KEY, PROXY_TOKEN};
use crate::data_dir::{self, DataDir, PROXY_TOKEN_FILE};

pub(crate) use command::run;
pub(crate) use master_key::configured as configured_master_key;

/// A proxy token seals Claude keys on disk. One that is shorter than this many characters can be guessed.
const LEAST_TOKEN_CHARS: usize = 16;

/// What a control plane needs.
pub(crate) struct ControlPlaneSecrets {
    /// Opens the API.
    pub(crate) admin_token: Secret,
    /// Seals what is stored.
    pub(crate) master_key: MasterKey,
    /// Opens the way in for proxies; without it there is none.
    pub(crate) proxy_token: Option<Secret>,
}

/// Whether proxies of other processes are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RemoteProxies {
    /// A proxy token is made where there is none.
    Expected,
    /// They may come where there is a proxy token.
    Possible,
}

/// The secrets of a control plane, made in the folder where they are missing.
///
/// # Errors
/// When one cannot be read, made or used.
pub(crate) fn of_control_plane(
    config: &Config,
    data_dir: &DataDir,
    environment: &Environment,
    remote: RemoteProxies,
) -> anyhow::Result<ControlPlaneSecrets> {
    let admin_token = match environment.secret(ADMIN_TOKEN) {
        Some(token) => token,
        None => data_dir.admin_token()?,
    };
    let master_key = master_key::read(config, environment, || {
        Ok((data_dir.master_key()?, data_dir.master_key_file().display().to_string()))
    })?;
    let proxy_token = match (given_proxy_token(data_dir, environment)?, remote) {
        (None, RemoteProxies::Expected) => Some(data_dir.proxy_token()?),
        (given, RemoteProxies::Expected | RemoteProxies::Possible) => given,
    };
    ensure!(
        proxy_token.as_ref() != Some(&admin_token),
        "{PROXY_TOKEN} and {ADMIN_TOKEN} are the same: every proxy would be an admin; make one of them anew"
    );
    Ok(ControlPlaneSecrets { admin_token, master_key, proxy_token })
}

/// The master key of a control plane that ran here, for commands beside it.
///
/// # Errors
/// When there is none, or it cannot be had.
pub(crate) fn stored_master_key(config: &Config, environment: &Environment) -> anyhow::Result<MasterKey> {
    master_key::read(config, environment, || {
        let file = config.data_dir.join(data_dir::MASTER_KEY_FILE);
        let text = MasterKey::file_text(&file).with_context(|| {
            format!("there is no master key: set {MASTER_KEY}, or run this where it lies")
        })?;
        Ok((text, file.display().to_string()))
    })
}

/// The token with which a proxy calls its control plane.
///
/// # Errors
/// When there is none.
pub(crate) fn of_proxy(data_dir: &DataDir, environment: &Environment) -> anyhow::Result<Secret> {
    given_proxy_token(data_dir, environment)?.with_context(|| {
        format!(
            "there is no proxy token: set {PROXY_TOKEN} to the one of the control plane (there in its data folder, file `{}`), or copy that file to {}",
            PROXY_TOKEN_FILE,
            data_dir.proxy_token_file().display()
        )
    })
}

fn given_proxy_token(data_dir: &DataDir, environment: &Environment) -> anyhow::Result<Option<Secret>> {
    let token = match environment.secret(PROXY_TOKEN) {
        Some(token) => Some(token),
        None => data_dir.stored_proxy_token()?,
    };
    if token.as_ref().is_some_and(|token| token.expose_secret().chars().count() < LEAST_TOKEN_CHARS) {
        tracing::warn!(
            "the proxy token is short enough to be guessed; make one with `openssl rand -hex 32`, for example"
        );
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(variables: &[(&str, &str)], remote: RemoteProxies) -> anyhow::Result<ControlPlaneSecrets> {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::load(None, &Environment::default()).unwrap();
        of_control_plane(
            &config,
            &DataDir::open(folder.path()).unwrap(),
            &Environment::with(variables),
            remote,
        )
    }

    #[test]
    fn a_proxy_token_is_made_where_proxies_are_expected_and_only_there() {
        assert!(secrets(&[], RemoteProxies::Expected).unwrap().proxy_token.is_some());
        assert!(secrets(&[], RemoteProxies::Possible).unwrap().proxy_token.is_none());
        let given = secrets(&[(PROXY_TOKEN, "given-to-the-proxies")], RemoteProxies::Possible).unwrap();
        assert_eq!(given.proxy_token.unwrap().expose_secret(), "given-to-the-proxies");
    }

    #[test]
    fn a_proxy_token_that_is_the_admin_token_is_refused() {
        let refused = secrets(&[(PROXY_TOKEN, "same"), (ADMIN_TOKEN, "same")], RemoteProxies::Expected);
        assert!(refused.err().unwrap().to_string().contains("every proxy would be an admin"));
    }

    #[test]
    fn a_proxy_without_token_says_where_to_get_one() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path()).unwrap();
        let error = of_proxy(&data_dir, &Environment::default()).unwrap_err().to_string();
        assert!(error.contains(PROXY_TOKEN) && error.contains("proxy-token"), "{error}");
        let made = data_dir.proxy_token().unwrap();
        assert!(of_proxy(&data_dir, &Environment::default()).unwrap() == made);
    }
}
