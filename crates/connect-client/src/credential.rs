//! The credential file of a person: an access token, and how to find and recognise Connect.

use std::path::Path;

use cofide_core::{Bundle, ControlPlaneTrust};
use cofide_runtime::files::{self, Mode};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::fields::{CONNECT_URL, Fields, connect_trust_fields};
use crate::{AccessToken, ConnectUrl, FileError};

const WHAT: &str = "credential file";
const ACCESS_TOKEN: &str = "access_token";
/// How older tools wrote the token, on a line of its own.
const OLD_ACCESS_TOKEN: &str = "cofide_access_token=";

/// What a person needs to call Connect. Older files hold a token only; then the rest has to come from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub access_token: AccessToken,
    pub connect_url: Option<ConnectUrl>,
    /// Connect's SPIFFE ID and the authorities of its trust domain.
    pub connect: Option<ControlPlaneTrust>,
}

impl Credential {
    /// Reads the file; refuses one that others may read.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let content = files::read_secret(path)?;
        Self::parse(&content).map_err(FileError::content(path, WHAT))
    }

    /// Writes the file with mode 0600, replacing what is there in one step.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        Ok(files::write_atomic(path, &self.to_json(), Mode::Secret)?)
    }

    fn parse(content: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "it is not a text".to_owned())?;
        if let Some(token) = text.lines().find_map(|line| line.trim().strip_prefix(OLD_ACCESS_TOKEN)) {
            return Ok(Self { access_token: AccessToken::new(token.trim()), connect_url: None, connect: None });
        }
        let value =
            serde_json::from_str(text).map_err(|error| format!("it is not JSON (line {}, column {})", error.line(), error.column()))?;
        let fields = Fields::new(value)?;
        Ok(Self {
            access_token: AccessToken::new(fields.required(ACCESS_TOKEN)?),
            connect_url: fields.parse_optional(CONNECT_URL)?,
            connect: fields.connect_trust()?,
        })
    }

    fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let jwks = |bundle: &Bundle| {
            let document = cofide_svid::bundle::to_jwks(bundle);
            serde_json::from_str(&document).expect("a JWK set is JSON")
        };
        let mut fields: Map<String, Value> = Map::new();
        fields.extend(self.connect_url.as_ref().map(|url| (CONNECT_URL.to_owned(), url.to_string().into())));
        fields.extend(self.connect.iter().flat_map(|trust| connect_trust_fields(trust, jwks)));
        fields.insert(ACCESS_TOKEN.to_owned(), self.access_token.expose().into());
        Zeroizing::new(serde_json::to_vec_pretty(&fields).expect("texts and JSON values are JSON"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::test_support::connect_trust;

    fn credential() -> Credential {
        Credential {
            access_token: AccessToken::new("hunter2"),
            connect_url: Some("127.0.0.1:8443".parse().unwrap()),
            connect: Some(connect_trust()),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        credential().write(&path).unwrap();
        assert_eq!(Credential::read(&path).unwrap(), credential());
        let value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["connect_trust_domain"], "management.local");
        assert!(value["connect_bundle"]["keys"].is_array(), "the bundle is a JWK set, not a text with one in it");
    }

    #[test]
    fn both_older_forms_are_read() {
        for old in [r#"{"access_token": "hunter2", "expires_in": 3600}"#, "# by a script\ncofide_access_token=hunter2\n"] {
            let read = Credential::parse(old.as_bytes()).unwrap();
            assert_eq!(read, Credential { access_token: AccessToken::new("hunter2"), connect_url: None, connect: None }, "{old}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        credential().write(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Credential::read(&path).unwrap_err().to_string();
        assert!(error.contains("644") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn errors_name_the_key_and_never_quote_the_token() {
        let with = |key: &str, value: Value| {
            let mut fields: Map<String, Value> = serde_json::from_slice(&credential().to_json()).unwrap();
            fields.insert(key.to_owned(), value);
            Credential::parse(&serde_json::to_vec(&fields).unwrap()).unwrap_err()
        };
        for (key, value) in [
            ("access_token", Value::Null),
            ("access_token", "".into()),
            ("access_token", vec!["hunter2"].into()),
            ("connect_url", "http://127.0.0.1:1".into()),
            ("connect_trust_domain", "Management".into()),
            ("connect_spiffe_id", "spiffe://other.test/connect".into()),
            ("connect_bundle", Value::Null),
            ("connect_bundle", serde_json::json!({"keys": []})),
        ] {
            let error = with(key, value);
            assert!(error.contains(key) && !error.contains("hunter2"), "{error}");
        }
        for content in [r#""hunter2""#, "hunter2", "{\"access_token\": hunter2}"] {
            let error = Credential::parse(content.as_bytes()).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", credential()).contains("hunter2"));
    }
}
