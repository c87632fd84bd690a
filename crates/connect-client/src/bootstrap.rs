//! The bootstrap file of an agent: a join token, what it is for, and how to find and recognise Connect.

use std::path::Path;

use cofide_core::{ClusterId, ControlPlaneTrust, JoinTokenSecret, Name, TrustDomain, TrustZoneId};
use cofide_runtime::files::{self, Mode};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::fields::{CONNECT_URL, Fields, connect_trust_fields};
use crate::{ConnectUrl, FileError};

const WHAT: &str = "bootstrap file";
const TRUST_ZONE_ID: &str = "trust_zone_id";
const TRUST_DOMAIN: &str = "trust_domain";
const CLUSTER_ID: &str = "cluster_id";
const CLUSTER_NAME: &str = "cluster_name";
const AGENT_TOKEN: &str = "agent_token";

/// All that an agent needs to join. `cofidectl agent join-token create --output-file` writes it, the agent reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    pub connect_url: ConnectUrl,
    /// Connect's SPIFFE ID and the authorities of its trust domain.
    pub connect: ControlPlaneTrust,
    pub trust_zone_id: TrustZoneId,
    pub trust_domain: TrustDomain,
    pub cluster_id: ClusterId,
    pub cluster_name: Name,
    /// Good for one join.
    pub agent_token: JoinTokenSecret,
}

impl Bootstrap {
    /// Reads the file; refuses one that others may read.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let content = files::read_secret(path)?;
        Self::parse(&content).map_err(FileError::content(path, WHAT))
    }

    /// Writes the file with mode 0600, replacing what is there in one step.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        Ok(files::write_atomic(path, self.to_yaml().as_bytes(), Mode::Secret)?)
    }

    fn parse(content: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "it is not a text".to_owned())?;
        // The parser's own words quote the lines around a mistake, and one of these lines is the token.
        let value = serde_saphyr::from_str(text).map_err(|error| match error.location() {
            Some(location) => format!("it is not YAML (line {}, column {})", location.line(), location.column()),
            None => "it is not YAML".to_owned(),
        })?;
        let fields = Fields::new(value)?;
        Ok(Self {
            connect_url: fields.parse(CONNECT_URL)?,
            connect: fields.connect_trust()?.ok_or("connect_trust_domain is missing")?,
            trust_zone_id: fields.parse(TRUST_ZONE_ID)?,
            trust_domain: fields.trust_domain(TRUST_DOMAIN)?,
            cluster_id: fields.parse(CLUSTER_ID)?,
            cluster_name: fields.parse(CLUSTER_NAME)?,
            agent_token: JoinTokenSecret::new(fields.required(AGENT_TOKEN)?.to_owned()),
        })
    }

    /// The content of the file, for a writer that is no file. It holds the token.
    pub fn to_yaml(&self) -> Zeroizing<String> {
        let mut fields: Map<String, Value> = Map::new();
        let mut put = |key: &str, value: &str| fields.insert(key.to_owned(), value.into());
        put(CONNECT_URL, &self.connect_url.to_string());
        put(TRUST_ZONE_ID, self.trust_zone_id.as_str());
        put(TRUST_DOMAIN, self.trust_domain.as_str());
        put(CLUSTER_ID, self.cluster_id.as_str());
        put(CLUSTER_NAME, self.cluster_name.as_str());
        put(AGENT_TOKEN, self.agent_token.expose());
        fields.extend(connect_trust_fields(&self.connect, |bundle| cofide_svid::bundle::to_jwks(bundle).into()));
        Zeroizing::new(serde_saphyr::to_string(&fields).expect("texts are YAML"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::test_support::connect_trust;

    fn bootstrap() -> Bootstrap {
        Bootstrap {
            connect_url: "127.0.0.1:8443".parse().unwrap(),
            connect: connect_trust(),
            trust_zone_id: "zone-1".parse().unwrap(),
            trust_domain: TrustDomain::new("a.test").unwrap(),
            // An id that YAML would take for a number, had it no quotes.
            cluster_id: "0123".parse().unwrap(),
            cluster_name: "one".parse().unwrap(),
            agent_token: JoinTokenSecret::new("hunter2".to_owned()),
        }
    }

    #[test]
    fn what_is_written_is_read_and_only_by_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bootstrap.yaml");
        bootstrap().write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Bootstrap::read(&path).unwrap(), bootstrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Bootstrap::read(&path).unwrap_err().to_string();
        assert!(error.contains("640") && error.contains("chmod 600"), "{error}");
        assert!(Bootstrap::read(&folder.path().join("none")).unwrap_err().is_not_found());
    }

    #[test]
    fn every_key_is_needed_and_named_when_it_is_missing() {
        let fields: Map<String, Value> = serde_saphyr::from_str(&bootstrap().to_yaml()).unwrap();
        assert_eq!(fields.len(), 9);
        for key in fields.keys() {
            let mut without = fields.clone();
            without.remove(key);
            let error = Bootstrap::parse(serde_saphyr::to_string(&without).unwrap().as_bytes()).unwrap_err();
            assert!(error.contains(key.as_str()) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn neither_errors_nor_debug_quote_the_token() {
        for content in ["agent_token: hunter2\n  x: [", "- hunter2", "agent_token: [hunter2]", "\"hunter2"] {
            let error = Bootstrap::parse(content.as_bytes()).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", bootstrap()).contains("hunter2"));
    }
}
