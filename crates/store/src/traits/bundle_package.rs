use async_trait::async_trait;
use cofide_core::{BundlePackageRecord, TrustZoneId};

use crate::Result;

#[async_trait]
pub trait BundlePackages: Send {
    async fn bundle_package_record(&mut self, zone: &TrustZoneId) -> Result<Option<BundlePackageRecord>>;
}

#[async_trait]
pub trait BundlePackagesMut: BundlePackages {
    /// Takes the place of the zone's last one. Sequence numbers are at most 2^63 - 1.
    async fn put_bundle_package_record(&mut self, record: &BundlePackageRecord) -> Result<()>;
}
