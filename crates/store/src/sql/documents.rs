//! The written form of nouns that have no serde form of their own.

use std::collections::BTreeMap;

use cofide_core::{
    Bundle, BundleDigest, FoundBundle, HeldBundle, JwtAuthority, Timestamp, TrustDomain, TrustDomainError, X509Authority,
    parse_trust_domain,
};
use serde::{Deserialize, Serialize};

/// A bundle without its trust domain, which is that of the zone it is stored with. Binary parts are hexadecimal.
#[derive(Serialize, Deserialize)]
pub(super) struct BundleDocument {
    x509_authorities: Vec<X509Document>,
    jwt_authorities: Vec<JwtDocument>,
    refresh_hint: u64,
    sequence_number: u64,
}

#[derive(Serialize, Deserialize)]
struct X509Document {
    der: String,
    tainted: bool,
}

#[derive(Serialize, Deserialize)]
struct JwtDocument {
    key_id: String,
    public_key: String,
    expires_at: i64,
    tainted: bool,
}

impl From<&Bundle> for BundleDocument {
    fn from(bundle: &Bundle) -> Self {
        let x509 = |authority: &X509Authority| X509Document { der: hex::encode(&authority.der), tainted: authority.tainted };
        let jwt = |authority: &JwtAuthority| JwtDocument {
            key_id: authority.key_id.clone(),
            public_key: hex::encode(&authority.public_key),
            expires_at: authority.expires_at,
            tainted: authority.tainted,
        };
        Self {
            x509_authorities: bundle.x509_authorities.iter().map(x509).collect(),
            jwt_authorities: bundle.jwt_authorities.iter().map(jwt).collect(),
            refresh_hint: bundle.refresh_hint,
            sequence_number: bundle.sequence_number,
        }
    }
}

impl BundleDocument {
    pub(super) fn into_bundle(self, trust_domain: TrustDomain) -> Result<Bundle, hex::FromHexError> {
        let x509 = |document: X509Document| Ok(X509Authority { der: hex::decode(document.der)?, tainted: document.tainted });
        let jwt = |document: JwtDocument| {
            Ok(JwtAuthority {
                key_id: document.key_id,
                public_key: hex::decode(document.public_key)?,
                expires_at: document.expires_at,
                tainted: document.tainted,
            })
        };
        Ok(Bundle {
            trust_domain,
            x509_authorities: self.x509_authorities.into_iter().map(x509).collect::<Result<_, _>>()?,
            jwt_authorities: self.jwt_authorities.into_iter().map(jwt).collect::<Result<_, _>>()?,
            refresh_hint: self.refresh_hint,
            sequence_number: self.sequence_number,
        })
    }
}

/// One trust domain of a bundle reading.
#[derive(Serialize, Deserialize)]
pub(super) struct HeldBundleDocument {
    trust_domain: String,
    /// Absent where the bundle is gone.
    digest: Option<BundleDigest>,
    sequence_number: u64,
    since: Timestamp,
}

impl From<(&TrustDomain, &HeldBundle)> for HeldBundleDocument {
    fn from((trust_domain, held): (&TrustDomain, &HeldBundle)) -> Self {
        Self {
            trust_domain: trust_domain.to_string(),
            digest: held.found.as_ref().map(|found| found.digest.clone()),
            sequence_number: held.found.as_ref().map_or(0, |found| found.sequence_number),
            since: held.since,
        }
    }
}

pub(super) fn held_bundles(documents: Vec<HeldBundleDocument>) -> Result<BTreeMap<TrustDomain, HeldBundle>, TrustDomainError> {
    let held = |document: HeldBundleDocument| {
        let found = document.digest.map(|digest| FoundBundle { digest, sequence_number: document.sequence_number });
        Ok((parse_trust_domain(&document.trust_domain)?, HeldBundle { found, since: document.since }))
    };
    documents.into_iter().map(held).collect()
}
