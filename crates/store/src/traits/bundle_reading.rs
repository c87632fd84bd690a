use async_trait::async_trait;
use cofide_core::BundleReading;

use crate::{BundleReadingFilter, Result};

#[async_trait]
pub trait BundleReadings: Send {
    /// By cluster.
    async fn bundle_readings(&mut self, filter: &BundleReadingFilter) -> Result<Vec<BundleReading>>;
}

#[async_trait]
pub trait BundleReadingsMut: BundleReadings {
    /// Takes the place of the cluster's last one.
    async fn put_bundle_reading(&mut self, reading: &BundleReading) -> Result<()>;
}
