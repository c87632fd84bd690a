//! The one-time credential with which an agent first introduces itself.

use std::fmt;

use crate::{ClusterId, Timestamp, TrustZoneId};

/// A join token as it is kept: the hash of the secret, bound to one trust zone and cluster. Using it deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    pub hash: JoinTokenHash,
    pub trust_zone_id: TrustZoneId,
    pub cluster_id: ClusterId,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

/// SHA-256 of the secret. The secret has 256 random bits, so a plain hash cannot be searched backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JoinTokenHash(pub [u8; 32]);

/// The secret itself; it exists in the answer that hands it out, in the bootstrap file, and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinTokenSecret(String);

impl JoinTokenSecret {
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret in clear. Name the place where it goes before calling this.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JoinTokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinTokenSecret(..)")
    }
}
