//! Configuration in three layers: a YAML file, environment variables above it, flags above those.
//!
//! The program declares its flags (and, through clap, the environment variables behind them) as a struct of `Option`s
//! that serialises to the same keys as the file. What is set there replaces what the file says; the result is read into
//! the configuration type, whose defaults fill the rest. An unknown key is an error, never ignored: a misspelt security
//! setting must not pass silently.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {path}: {source}; check the path given with --config")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration file {path} is not valid YAML: {reason}")]
    Yaml { path: PathBuf, reason: String },
    #[error("the configuration {origin} is not valid: {reason}")]
    Invalid { origin: String, reason: String },
}

/// What is wrong with a configuration that is well-formed: the key, the reason and the way out.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("configuration key {key}: {reason}")]
pub struct InvalidKey {
    /// As in `federation.timeout` or `entries[0].selectors`.
    pub key: String,
    pub reason: String,
}

impl InvalidKey {
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}

/// Reads `file` (where given), lays `overrides` over it and checks the whole as a `T`.
///
/// `T` should carry `#[serde(deny_unknown_fields, default)]`. In `overrides`, a null counts as unset.
pub fn load<T: DeserializeOwned>(file: Option<&Path>, overrides: &impl Serialize) -> Result<T, ConfigError> {
    let origin = match file {
        Some(path) => format!("from {} with flags and environment", path.display()),
        None => "from flags and environment".to_owned(),
    };
    let mut value = match file {
        Some(path) => read(path)?,
        None => Value::Object(serde_json::Map::new()),
    };
    let invalid = |reason: String| ConfigError::Invalid { origin: origin.clone(), reason };
    let overrides = serde_json::to_value(overrides).map_err(|error| invalid(error.to_string()))?;
    let flags: Vec<String> = overrides.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    merge(&mut value, overrides);
    // Its message begins with the key, which the reason alone would not tell.
    serde_path_to_error::deserialize(value).map_err(|error| {
        let reason = error.to_string();
        // Of a key inside another one the message begins with the path.
        match flags.iter().find(|key| reason == format!("missing field `{key}`")) {
            Some(key) => invalid(format!("{reason}; set it with --{}, or in a file given with --config", key.replace('_', "-"))),
            None => invalid(reason),
        }
    })
}

fn read(path: &Path) -> Result<Value, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let yaml = |reason: String| ConfigError::Yaml { path: path.to_owned(), reason };
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_saphyr::from_str(&text).map_err(|error| yaml(error.to_string()))? {
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        Value::Object(map) => Ok(Value::Object(map)),
        _ => Err(yaml("the file must be a mapping of keys to values".to_owned())),
    }
}

/// Lays `over` onto `under`: mappings merge key by key, anything else replaces, a null leaves as it was.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                match under.get_mut(&key) {
                    Some(existing) => merge(existing, value),
                    None if value.is_null() => {}
                    None => {
                        let mut fresh = Value::Null;
                        merge(&mut fresh, value);
                        if !fresh.is_null() {
                            under.insert(key, fresh);
                        }
                    }
                }
            }
        }
        // A mapping laid on nothing: keep only what it really sets.
        (under @ Value::Null, Value::Object(over)) => {
            let mut fresh = Value::Object(serde_json::Map::new());
            let sets_something = over.values().any(|value| !value.is_null());
            merge(&mut fresh, Value::Object(over));
            if sets_something {
                *under = fresh;
            }
        }
        (under, over) => *under = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Debug, PartialEq, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Example {
        address: Option<String>,
        ttl: u32,
        tls: Tls,
    }

    #[derive(Deserialize, Debug, PartialEq, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Tls {
        certificate: Option<String>,
        key: Option<String>,
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = file("address: from-file\nttl: 7\ntls: {certificate: a, key: b}\n");
        let flags = serde_json::json!({"address": "from-flag", "ttl": null, "tls": {"key": "c", "certificate": null}});
        let loaded: Example = load(Some(file.path()), &flags).unwrap();
        let tls = Tls { certificate: Some("a".into()), key: Some("c".into()) };
        assert_eq!(loaded, Example { address: Some("from-flag".into()), ttl: 7, tls });
        assert_eq!(load::<Example>(None, &serde_json::json!({"address": null, "tls": {"key": null}})).unwrap(), Example::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file() {
        let file = file("adress: typo\n");
        let error = load::<Example>(Some(file.path()), &serde_json::json!({})).unwrap_err().to_string();
        assert!(error.contains("adress") && error.contains(&file.path().display().to_string()), "{error}");
    }

    #[test]
    fn a_key_that_must_be_there_is_named_with_its_flag() {
        #[derive(Deserialize, Debug)]
        struct Needy {
            #[allow(dead_code, reason = "it is what is missing")]
            trust_domain: String,
        }
        let told = |flags| load::<Needy>(None, &flags).unwrap_err().to_string();
        assert!(
            told(serde_json::json!({"trust_domain": null})).ends_with("; set it with --trust-domain, or in a file given with --config")
        );
        assert!(told(serde_json::json!({})).ends_with("missing field `trust_domain`"), "there is no such flag");
    }

    #[test]
    fn a_wrong_value_is_named_by_its_key() {
        for (text, key) in [("ttl: soon\n", "ttl: "), ("tls: {key: [1]}\n", "tls.key: ")] {
            let error = load::<Example>(Some(file(text).path()), &serde_json::json!({})).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn an_empty_or_commented_file_is_an_empty_configuration() {
        for text in ["", "# nothing yet\n", "---\n"] {
            assert_eq!(load::<Example>(Some(file(text).path()), &serde_json::json!({})).unwrap(), Example::default(), "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_no_mapping_says_so() {
        let missing = load::<Example>(Some(Path::new("/nonexistent/config.yaml")), &serde_json::json!({})).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/config.yaml"));
        assert!(load::<Example>(Some(file("- a\n- b\n").path()), &serde_json::json!({})).unwrap_err().to_string().contains("mapping"));
    }
}
