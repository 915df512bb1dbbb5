//! Where the master key comes from: the environment, a file, a program, or else the data folder.

use anyhow::{Context, ensure};
use mindweave_control_plane::MasterKey;
use mindweave_policy::Secret;

use super::hook;
use crate::config::{CommandLine, Config, Environment, MASTER_KEY, MASTER_KEY_PREVIOUS};

/// Names of the settings.
const FILE: &str = "control_plane.master_key_file";
const COMMAND: &str = "control_plane.master_key_command";
const PREVIOUS_FILE: &str = "control_plane.master_key_previous_file";
const PREVIOUS_COMMAND: &str = "control_plane.master_key_previous_command";

/// The master key with the keys of before. `otherwise` gives one, and says from where, if none is configured.
///
/// # Errors
/// When one cannot be had or is no key, or comes from two places.
pub(super) fn read(
    config: &Config,
    environment: &Environment,
    otherwise: impl FnOnce() -> anyhow::Result<(Secret, String)>,
) -> anyhow::Result<MasterKey> {
    let current = Sources {
        variable: MASTER_KEY,
        file: (FILE, config.control_plane_master_key_file.as_deref()),
        command: (COMMAND, config.control_plane_master_key_command.as_ref()),
    };
    let (text, source) = match current.text(environment)? {
        Some(found) => found,
        None => otherwise()?,
    };
    let key = MasterKey::from_text(text.expose_secret()).with_context(|| source)?;
    let previous = Sources {
        variable: MASTER_KEY_PREVIOUS,
        file: (PREVIOUS_FILE, config.control_plane_master_key_previous_file.as_deref()),
        command: (PREVIOUS_COMMAND, config.control_plane_master_key_previous_command.as_ref()),
    };
    match previous.text(environment)? {
        Some((text, source)) => key.opening(text.expose_secret()).with_context(|| source),
        None => Ok(key),
    }
}

/// Whether the key comes from elsewhere than the data folder, and from where.
pub(crate) fn configured(config: &Config, environment: &Environment) -> Option<&'static str> {
    if environment.secret(MASTER_KEY).is_some() {
        return Some(MASTER_KEY);
    }
    let file = config.control_plane_master_key_file.is_some().then_some(FILE);
    file.or(config.control_plane_master_key_command.is_some().then_some(COMMAND))
}

/// The three places of a key.
struct Sources<'a> {
    variable: &'static str,
    file: (&'static str, Option<&'a std::path::Path>),
    command: (&'static str, Option<&'a CommandLine>),
}

impl Sources<'_> {
    /// The text, and from where, if one is configured.
    fn text(&self, environment: &Environment) -> anyhow::Result<Option<(Secret, String)>> {
        let given = environment.secret(self.variable);
        let names = [
            given.is_some().then_some(self.variable),
            self.file.1.and(Some(self.file.0)),
            self.command.1.and(Some(self.command.0)),
        ];
        let names: Vec<&str> = names.into_iter().flatten().collect();
        ensure!(names.len() <= 1, "{} are both set: which one holds the key?", names.join(" and "));
        let Some(name) = names.first().map(|name| (*name).to_owned()) else { return Ok(None) };
        let text = match (given, self.file.1, self.command.1) {
            (Some(text), ..) => text,
            (None, Some(file), _) => MasterKey::file_text(file).with_context(|| name.clone())?,
            (None, None, Some(command)) => hook::output_of(command).with_context(|| name.clone())?,
            (None, None, None) => return Ok(None),
        };
        Ok(Some((text, name)))
    }
}
