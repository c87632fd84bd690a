//! The authorities of a trust domain, and their rotation.
//!
//! ```text
//!   prepare            activate             retire
//!      |                  |                    |
//!   [prepared] ----> [active] ----> [retired] ----> gone
//!   published        signs          published       no longer verified
//! ```
//!
//! An authority is published before it signs and stays published after its last signature, until what it signed has
//! expired: so a verifier that follows the bundle never meets a certificate that it cannot verify, and no handshake
//! fails because of a rotation.
//!
//! Everything here is a value: methods take the time and change the value they are called on, nothing else. Whoever owns
//! an authority saves it before acting on a change:
//!
//! ```no_run
//! # use cofide_svid::authority::*;
//! # fn rotate(current: &mut X509CertificateAuthority, path: &std::path::Path, now: std::time::SystemTime) -> Result<(), Box<dyn std::error::Error>> {
//! let mut next = current.clone();
//! next.prepare(now)?;
//! next.save(path)?;
//! *current = next;
//! # Ok(()) }
//! ```

mod generic;
mod jwt;
mod rotation;
mod x509;

use std::path::PathBuf;

use cofide_core::{Bundle, SpiffeId, TrustDomain};
use cofide_runtime::files::FileError;

pub use generic::Authority;
pub use jwt::{JwtSettings, JwtSigner};
pub use rotation::{AuthorityInfo, AuthorityState, RotationChange, RotationError};
pub use x509::{X509CertificateAuthority, X509Settings};

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "{} is not a usable key file: {reason}; it was left as it is: put back a copy, or move it away to begin with a new authority \
         that nobody trusts yet",
        path.display()
    )]
    Content { path: PathBuf, reason: String },
    #[error("{} belongs to trust domain {found}, expected {expected}; use another file or another trust domain", path.display())]
    OtherTrustDomain { path: PathBuf, expected: TrustDomain, found: String },
    #[error("cannot create the key or certificate: {0}")]
    Crypto(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    #[error("{id} is outside of trust domain {trust_domain}")]
    ForeignTrustDomain { id: SpiffeId, trust_domain: TrustDomain },
    #[error("{0} names a trust domain and no workload; an SVID needs a SPIFFE ID with a path")]
    NoPath(SpiffeId),
    #[error("{name:?} cannot be a DNS name of a certificate: {reason}")]
    DnsName { name: String, reason: String },
    #[error("the active authority of trust domain {trust_domain} is not valid now; rotate it")]
    AuthorityNotValid { trust_domain: TrustDomain },
    #[error("a JWT-SVID needs an audience")]
    NoAudience,
    #[error("cannot sign for {id}: {reason}")]
    Crypto { id: SpiffeId, reason: String },
}

/// The bundle that the two authorities publish together. Its sequence number is the sum of their revisions, so it grows
/// whenever one of them does.
pub fn bundle(x509: &X509CertificateAuthority, jwt: Option<&JwtSigner>, refresh_hint: u64) -> Bundle {
    Bundle {
        trust_domain: x509.trust_domain().clone(),
        x509_authorities: x509.authorities(),
        jwt_authorities: jwt.map(JwtSigner::authorities).unwrap_or_default(),
        refresh_hint,
        sequence_number: x509.revision() + jwt.map_or(0, JwtSigner::revision),
    }
}

#[cfg(test)]
mod tests;
