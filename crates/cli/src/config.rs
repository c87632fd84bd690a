//! The configuration file under the environment under the flags.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::args::GlobalArgs;
use crate::error::{Error, Result};
use crate::printer::Format;

/// What a configuration file can say; every key has a flag that wins over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub output: Format,
    pub connect_url: Option<String>,
    pub credentials: Option<PathBuf>,
    pub log_level: Option<String>,
}

impl Config {
    /// `home` is the person's home folder, where the two files lie unless they are named.
    pub fn load(global: &GlobalArgs, home: Option<&Path>) -> Result<Self> {
        let by_default = home.map(|home| home.join(".cofide/config.yaml")).filter(|path| path.exists());
        let file = global.config.clone().or(by_default);
        let mut config: Self = cofide_runtime::config::load(file.as_deref(), global).map_err(|error| Error::failed(error.to_string()))?;
        if let Some(level) = &config.log_level {
            // A flag was checked where it was read, so this one is from the file.
            let origin = file.as_deref().unwrap_or(Path::new("flags and environment")).display();
            let wrong = |reason| Error::failed(format!("the configuration from {origin} is not valid: log_level: {reason}"));
            config.log_level = Some(crate::args::log_level(level).map_err(wrong)?);
        }
        if config.credentials.is_none() {
            config.credentials = home.map(|home| home.join(".cofide/credentials"));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_home_folder_has_the_defaults() {
        let home = tempfile::tempdir().unwrap();
        let load = |global: &GlobalArgs| Config::load(global, Some(home.path()));
        let defaults = load(&GlobalArgs::default()).unwrap();
        assert_eq!(defaults, Config { credentials: Some(home.path().join(".cofide/credentials")), ..Config::default() });

        std::fs::create_dir(home.path().join(".cofide")).unwrap();
        std::fs::write(home.path().join(".cofide/config.yaml"), "output: json\nconnect_url: connect.test:8443\nlog_level: DEBUG\n")
            .unwrap();
        let flags = GlobalArgs { output: Some(Format::Yaml), credentials: Some("mine.json".into()), ..GlobalArgs::default() };
        let expected = Config {
            output: Format::Yaml,
            connect_url: Some("connect.test:8443".into()),
            credentials: Some("mine.json".into()),
            log_level: Some("debug".into()),
        };
        assert_eq!(load(&flags).unwrap(), expected);
    }

    #[test]
    fn a_file_that_is_named_must_be_there_and_right() {
        let home = tempfile::tempdir().unwrap();
        let named = |path: &Path| Config::load(&GlobalArgs { config: Some(path.to_owned()), ..GlobalArgs::default() }, None);
        let missing = home.path().join("missing.yaml");
        assert!(named(&missing).unwrap_err().to_string().contains("missing.yaml"));
        let wrong = home.path().join("wrong.yaml");
        std::fs::write(&wrong, "ouput: json\n").unwrap();
        assert!(named(&wrong).unwrap_err().to_string().contains("ouput"));
        std::fs::write(&wrong, "log_level: loud\n").unwrap();
        let error = named(&wrong).unwrap_err().to_string();
        assert!(
            error.contains("wrong.yaml") && error.ends_with("log_level: unexpected log level loud, valid levels: debug, warn, info, error")
        );
    }
}
