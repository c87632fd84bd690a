//! Reading a file of named values that may be secrets: every error names the file and the key, and none quotes a value
//! that is not known to be harmless.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cofide_core::{Bundle, ControlPlaneTrust, SpiffeId, TrustDomain, parse_trust_domain};
use cofide_runtime::files;
use serde_json::{Map, Value};

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    File(#[from] files::FileError),
    #[error("{} is not a {what}: {reason}", path.display())]
    Content { path: PathBuf, what: &'static str, reason: String },
}

impl FileError {
    /// Whether there simply is no such file, as opposed to one that cannot be used.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::File(error) if error.is_not_found())
    }

    pub(crate) fn content(path: &Path, what: &'static str) -> impl FnOnce(String) -> Self {
        move |reason| Self::Content { path: path.to_owned(), what, reason }
    }
}

/// The keys that both files share.
pub(crate) const CONNECT_URL: &str = "connect_url";
const CONNECT_TRUST_DOMAIN: &str = "connect_trust_domain";
const CONNECT_SPIFFE_ID: &str = "connect_spiffe_id";
const CONNECT_BUNDLE: &str = "connect_bundle";

/// Named values; the errors of its methods are reasons for a [`FileError`].
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn new(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err("it does not consist of keys and values".to_owned()),
        }
    }

    /// A text; empty counts as absent.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(format!("{key} is not a text")),
        }
    }

    pub(crate) fn required(&self, key: &str) -> Result<&str, String> {
        self.text(key)?.ok_or_else(|| format!("{key} is missing"))
    }

    /// A value that is no secret, of which an error may tell.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, key: &str) -> Result<T, String> {
        parse(key, self.required(key)?)
    }

    pub(crate) fn parse_optional<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>, String> {
        self.text(key)?.map(|text| parse(key, text)).transpose()
    }

    pub(crate) fn trust_domain(&self, key: &str) -> Result<TrustDomain, String> {
        parse_trust_domain(self.required(key)?).map_err(|error| format!("{key} {error}"))
    }

    /// How to recognise Connect; `None` where none of its keys is there.
    pub(crate) fn connect_trust(&self) -> Result<Option<ControlPlaneTrust>, String> {
        if [CONNECT_TRUST_DOMAIN, CONNECT_SPIFFE_ID, CONNECT_BUNDLE].iter().all(|key| !self.0.contains_key(*key)) {
            return Ok(None);
        }
        let trust_domain = self.trust_domain(CONNECT_TRUST_DOMAIN)?;
        let spiffe_id: SpiffeId = self.parse(CONNECT_SPIFFE_ID)?;
        if *spiffe_id.trust_domain() != trust_domain {
            return Err(format!("{CONNECT_SPIFFE_ID} {spiffe_id} is outside of {CONNECT_TRUST_DOMAIN} {trust_domain}"));
        }
        // As a document of its own within the text of a key, or as the value itself.
        let document = match self.0.get(CONNECT_BUNDLE) {
            None | Some(Value::Null) => return Err(format!("{CONNECT_BUNDLE} is missing")),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let bundle =
            cofide_svid::bundle::from_jwks(&trust_domain, document.as_bytes()).map_err(|error| format!("{CONNECT_BUNDLE}: {error}"))?;
        if bundle.x509_authorities.is_empty() {
            return Err(format!("{CONNECT_BUNDLE} has no X.509 authority, so nothing could be verified with it"));
        }
        Ok(Some(ControlPlaneTrust { spiffe_id, bundle }))
    }
}

fn parse<T: FromStr<Err: Display>>(key: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{key}: {error}"))
}

/// The keys of [`Fields::connect_trust`], with the bundle in the shape that the file has.
pub(crate) fn connect_trust_fields(trust: &ControlPlaneTrust, bundle: impl FnOnce(&Bundle) -> Value) -> [(String, Value); 3] {
    [
        (CONNECT_TRUST_DOMAIN.to_owned(), trust.spiffe_id.trust_domain().to_string().into()),
        (CONNECT_SPIFFE_ID.to_owned(), trust.spiffe_id.to_string().into()),
        (CONNECT_BUNDLE.to_owned(), bundle(&trust.bundle)),
    ]
}

#[cfg(test)]
pub(crate) mod test_support {
    use std::time::SystemTime;

    use cofide_svid::authority::{X509CertificateAuthority, X509Settings};

    use super::*;

    /// Trust in a Connect whose bundle is the same within one test process, as two of them are compared.
    pub(crate) fn connect_trust() -> ControlPlaneTrust {
        static BUNDLE: std::sync::LazyLock<Bundle> = std::sync::LazyLock::new(|| {
            let trust_domain = TrustDomain::new("management.local").unwrap();
            let authority = X509CertificateAuthority::create(trust_domain, X509Settings::default(), SystemTime::now()).unwrap();
            cofide_svid::authority::bundle(&authority, None, 60)
        });
        let spiffe_id = "spiffe://management.local/ns/connect/sa/cofide-connect-api".parse().unwrap();
        ControlPlaneTrust { spiffe_id, bundle: BUNDLE.clone() }
    }
}
