//! The servers that a person is signed in at: `$XDG_CONFIG_HOME/mindweave/profiles.toml`, for its owner only.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mindweave_policy::Secret;
use serde::{Deserialize, Serialize};

use crate::cli::ProfileAction;
use crate::listing::{self, Column, Kind};

/// The columns of `profiles list`.
const COLUMNS: [Column; 4] = [
    ("PROFILE", "name", Kind::Plain),
    ("SERVER", "server", Kind::Plain),
    ("SIGNED IN AS", "holder", Kind::Plain),
    ("CURRENT", "current", Kind::Plain),
];

/// A server, and the token for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// URL of the control plane.
    pub(crate) server: String,
    /// An access token.
    #[serde(with = "in_clear")]
    pub(crate) token: Secret,
    /// Its id, so that it can be revoked.
    pub(crate) token_id: Option<String>,
    /// Whose it is, for people.
    pub(crate) holder: Option<String>,
    /// Certificate authorities to trust in front of it.
    pub(crate) ca_file: Option<PathBuf>,
}

/// A token as it stands in the file, which is for its owner only.
mod in_clear {
    use mindweave_policy::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose_secret())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

/// All of them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    /// The one that is used when none is named.
    current: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// Where they are kept; `None` where there is no home folder.
fn file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")))?;
    Some(folder.join("mindweave").join("profiles.toml"))
}

impl Profiles {
    /// Reads them; none where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or is none of ours.
    pub(crate) fn read() -> anyhow::Result<Self> {
        file().map_or_else(|| Ok(Self::default()), |path| Self::read_from(&path))
    }

    fn read_from(path: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| anyhow::anyhow!(error.message().to_owned())) // without the line, which may be a token
                .with_context(|| {
                    format!("{} is damaged: correct it, or remove it and sign in again", path.display())
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes them, wholly or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let path = file().context("there is no home folder to remember this in: set XDG_CONFIG_HOME")?;
        self.write_to(&path).with_context(|| format!("cannot write {}", path.display()))
    }

    fn write_to(&self, path: &Path) -> anyhow::Result<()> {
        let folder = path.parent().context("it has no folder")?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let beside = folder.join(format!(".profiles-{}.toml", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(toml::to_string(self)?.as_bytes())?;
        file.sync_all()?;
        Ok(fs::rename(&beside, path)?)
    }

    /// The profile of this name, or the current one.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(crate) fn chosen(&self, name: Option<&str>) -> anyhow::Result<Option<&Profile>> {
        match name {
            None => Ok(self.current.as_ref().and_then(|current| self.profiles.get(current))),
            Some(name) => match self.profiles.get(name) {
                Some(profile) => Ok(Some(profile)),
                None => {
                    bail!("there is no profile {name:?}: sign in with `mindweave login --profile {name}`")
                }
            },
        }
    }

    /// Remembers one, which is the current one from then on.
    pub(crate) fn set(&mut self, name: &str, profile: Profile) {
        self.current = Some(name.to_owned());
        self.profiles.insert(name.to_owned(), profile);
    }

    /// Forgets one. Without a name, the current one. Returns it with its name.
    pub(crate) fn remove(&mut self, name: Option<&str>) -> Option<(String, Profile)> {
        let name = name.or(self.current.as_deref())?.to_owned();
        let profile = self.profiles.remove(&name)?;
        if self.current.as_ref() == Some(&name) {
            self.current = None;
        }
        Some((name, profile))
    }
}

/// Does what was asked for.
///
/// # Errors
/// When the file or the terminal fails.
pub(crate) fn run(action: &ProfileAction, out: &mut impl Write) -> anyhow::Result<()> {
    let mut profiles = Profiles::read()?;
    match action {
        ProfileAction::List { json } => {
            let entry = |(name, profile): (&String, &Profile)| {
                serde_json::json!({
                    "name": name,
                    "server": profile.server,
                    "holder": profile.holder,
                    "current": if profiles.current.as_ref() == Some(name) { "yes" } else { "" },
                })
            };
            listing::list(profiles.profiles.iter().map(entry).collect(), &COLUMNS, *json, out)?;
        }
        ProfileAction::Use { name } => {
            profiles.chosen(Some(name))?;
            profiles.current = Some(name.clone());
            profiles.write()?;
            writeln!(out, "commands use the profile {name} from now on")?;
        }
        ProfileAction::Remove { name } => {
            profiles.chosen(Some(name))?;
            profiles.remove(Some(name));
            profiles.write()?;
            writeln!(out, "forgot the profile {name}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn profile(server: &str) -> Profile {
        let token = Secret::new("mwp_secret".to_owned());
        Profile { server: server.to_owned(), token, token_id: None, holder: None, ca_file: None }
    }

    #[test]
    fn what_was_remembered_is_read_again_and_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/profiles.toml");
        let mut profiles = Profiles::read_from(&path).unwrap();
        profiles.set("home", profile("http://a"));
        profiles.set("work", profile("http://b"));
        profiles.write_to(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut read = Profiles::read_from(&path).unwrap();
        assert_eq!(read.chosen(None).unwrap().unwrap().server, "http://b");
        assert_eq!(read.chosen(Some("home")).unwrap().unwrap().token.expose_secret(), "mwp_secret");
        assert!(
            read.chosen(Some("nowhere"))
                .unwrap_err()
                .to_string()
                .contains("mindweave login --profile nowhere")
        );
        assert_eq!(read.remove(None).unwrap().0, "work");
        assert!(read.chosen(None).unwrap().is_none());
    }

    #[test]
    fn a_damaged_file_is_named_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles.toml");
        fs::write(&path, "current = mwp_secret").unwrap();
        let error = format!("{:#}", Profiles::read_from(&path).unwrap_err());
        assert!(error.contains("profiles.toml is damaged") && !error.contains("mwp_secret"), "{error}");
    }
}
