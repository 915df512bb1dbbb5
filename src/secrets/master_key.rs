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

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0101010101010101010101010101010101010101010101010101010101010101";
    const TWO: &str = "0202020202020202020202020202020202020202020202020202020202020202";

    fn key(settings: &[(&str, &str)]) -> anyhow::Result<MasterKey> {
        let environment = Environment::with(settings);
        let config = Config::load(None, &environment).unwrap();
        read(&config, &environment, || Ok((Secret::new(TWO.to_owned()), "the data folder".to_owned())))
    }

    fn id(text: &str) -> String {
        MasterKey::from_text(text).unwrap().id()
    }

    #[test]
    fn a_key_comes_from_one_place_and_else_from_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, format!("{ONE}\n")).unwrap();
        let file = file.to_str().unwrap();
        let command = format!("cat {file}");
        assert_eq!(key(&[]).unwrap().id(), id(TWO));
        for source in [
            ("MINDWEAVE_MASTER_KEY", ONE),
            ("MINDWEAVE_CONTROL_PLANE__MASTER_KEY_FILE", file),
            ("MINDWEAVE_CONTROL_PLANE__MASTER_KEY_COMMAND", &command),
        ] {
            assert_eq!(key(&[source]).unwrap().id(), id(ONE), "{}", source.0);
        }
        for source in [
            ("MINDWEAVE_MASTER_KEY_PREVIOUS", ONE),
            ("MINDWEAVE_CONTROL_PLANE__MASTER_KEY_PREVIOUS_FILE", file),
            ("MINDWEAVE_CONTROL_PLANE__MASTER_KEY_PREVIOUS_COMMAND", &command),
        ] {
            let found = key(&[source]).unwrap();
            assert_eq!((found.id(), found.previous_ids()), (id(TWO), vec![id(ONE)]), "{}", source.0);
        }
        let both = key(&[("MINDWEAVE_MASTER_KEY", ONE), ("MINDWEAVE_CONTROL_PLANE__MASTER_KEY_FILE", file)]);
        assert!(both.unwrap_err().to_string().contains("which one holds the key"));
    }

    #[test]
    fn a_key_that_cannot_be_had_or_is_none_is_refused_by_its_place_and_not_repeated() {
        for (name, value) in [
            ("MINDWEAVE_MASTER_KEY", "not-a-key"),
            ("MINDWEAVE_MASTER_KEY_PREVIOUS", "not-a-key"),
            ("MINDWEAVE_CONTROL_PLANE__MASTER_KEY_FILE", "/no/such/file"),
            ("MINDWEAVE_CONTROL_PLANE__MASTER_KEY_COMMAND", "echo not-a-key"),
            ("MINDWEAVE_CONTROL_PLANE__MASTER_KEY_COMMAND", "/no/such/program"),
        ] {
            let error = format!("{:#}", key(&[(name, value)]).unwrap_err());
            let place = name.rsplit("__").next().unwrap().to_lowercase();
            assert!(error.to_lowercase().contains(&place), "{error}");
            assert!(!error.contains("not-a-key"), "{error}");
        }
    }
}
