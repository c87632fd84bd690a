//! What is remembered of the bundle packages of a trust zone, so that none is taken twice.

use crate::TrustZoneId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundlePackageRecord {
    pub trust_zone_id: TrustZoneId,
    /// The sequence number of the last package that was signed here; 0 before the first.
    pub exported_sequence: u64,
    /// Absent until a package was taken over.
    pub signer: Option<PinnedSigner>,
}

/// Whose packages are taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedSigner {
    /// DER of the SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// The sequence number of the last package: only higher ones are taken.
    pub sequence: u64,
}
