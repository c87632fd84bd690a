//! Identities and what proves them: SVIDs, the bundles that verify them, the authorities that issue them.
//!
//! ```text
//!            authority                      bundle                              tls
//!   X509CertificateAuthority ──publishes──> Bundle ──held by──> BundleSource ──┐
//!   JwtSigner                                                                  ├──> rustls configurations
//!        └──issues──> X509Svid ──held by──> IdentitySource ────────────────────┘        │
//!                         │                                                             v
//!                         └─────────────── x509::verify (chain, bundles, now) ───> SpiffeId of the peer
//! ```
//!
//! One rule holds everywhere: an identity is verified with the authorities of its own trust domain and no other
//! (SPIFFE Trust Domain and Bundle, section 3.1). The trust domain is read from the certificate or token first, then the
//! bundle of that domain is looked up; there is no pool of certificate authorities that could lend each other names.
//!
//! The time of a check is always an argument; only the TLS verifiers, which rustls tells the time, read none.

pub mod authority;
pub mod bundle;
mod crypto;
pub mod jwt;
pub mod key;
pub mod tls;
pub mod x509;

#[cfg(test)]
mod testing;

pub use bundle::{BundleSet, BundleSource};
pub use crypto::install_crypto_provider;
pub use key::{KeyError, PrivateKey};
pub use rustls_pki_types::CertificateDer;
pub use tls::{Authorizer, ClientAuth, IdentitySlot, IdentitySource};
pub use x509::{KeyUsage, X509Svid, X509SvidError};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Times before 1970 and certificates from there are all the same to us: expired.
fn seconds_since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |duration| duration.as_secs())
}

/// Saturates at both ends: 1970, and the last second that a certificate can name, which is the last of the year 9999.
fn from_seconds_since_epoch(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(253_402_300_799))
}

/// RFC 3339 in UTC, for messages.
pub fn display_time(time: SystemTime) -> String {
    time::OffsetDateTime::from(time)
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_else(|_| format!("{} seconds after the Unix epoch", seconds_since_epoch(time)))
}
