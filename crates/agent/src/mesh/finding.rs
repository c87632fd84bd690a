//! How it is said that a setting is not as it has to be.

use std::collections::BTreeSet;
use std::fmt;

use cofide_core::{TlsMode, TrustDomain};

use crate::export::Offer;

/// A setting that is not as it has to be, or of which that is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The key, and where it stands.
    pub key: String,
    pub expected: String,
    pub found: Found,
    /// What to do.
    pub remedy: String,
    pub concerns: Concerns,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    Value(String),
    /// It could not be looked at, and why.
    Unknown(String),
}

/// What does not work while the setting is as it was found; nothing where that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Concerns {
    /// `IstioMtls` services that are exported to one of these.
    pub exports_to: BTreeSet<TrustDomain>,
    /// All that sidecars import.
    pub imports: bool,
}

impl Finding {
    /// The key alone, without where it stands.
    pub fn setting(&self) -> &str {
        self.key.split(' ').next().unwrap_or_default()
    }

    /// Whether it is known that something is wrong.
    pub fn is_wrong(&self) -> bool {
        matches!(self.found, Found::Value(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, expected, found, remedy, .. } = self;
        match found {
            Found::Value(value) => write!(f, "{key} has to be {expected} and is {value}. {remedy}"),
            Found::Unknown(reason) => write!(f, "{key} has to be {expected}; whether it is, is not known: {reason}. {remedy}"),
        }
    }
}

/// All findings, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshFindings(pub BTreeSet<Finding>);

impl MeshFindings {
    /// What keeps an exported service from working.
    pub fn of_export(&self, offer: &Offer) -> Vec<String> {
        // With the other mode nobody of the mesh looks at a certificate.
        let is_verified = offer.service.tls_mode == TlsMode::IstioMtls;
        let exported: BTreeSet<_> = offer.service.exported_trust_domains.iter().collect();
        let is_about = |finding: &&Finding| is_verified && finding.concerns.exports_to.iter().any(|domain| exported.contains(domain));
        self.0.iter().filter(is_about).map(ToString::to_string).collect()
    }

    /// What keeps sidecars from verifying the servers of imported services.
    pub fn of_imports(&self) -> Option<String> {
        let about: Vec<_> = self.0.iter().filter(|finding| finding.concerns.imports).map(ToString::to_string).collect();
        (!about.is_empty()).then(|| about.join(" "))
    }

    /// What is known to be wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.is_wrong())
    }
}
