//! What agents read in their SPIRE servers.

use cofide_api::convert::bundle_reading::Draft;
use cofide_core::{BundleReading, Timestamp};
use cofide_store::{BundleReadingFilter, BundleReadings, BundleReadingsMut};

use super::App;
use super::audit::now;
use crate::caller::CallContext;
use crate::error::{Error, Result};

impl App {
    /// An agent tells what the SPIRE server of its own cluster holds; its certificate says which cluster that is.
    ///
    /// Domains of no trust zone are passed over: nobody can ask for them, and so an agent cannot fill the database.
    pub async fn report_held_bundles(&self, context: &CallContext, draft: Draft) -> Result<()> {
        let agent = context.agent().ok_or_else(|| Error::PermissionDenied("what is held is reported by an agent".into()))?;
        let age = i64::try_from(draft.age.as_micros()).unwrap_or(i64::MAX);
        let read_at = Timestamp(now().0.saturating_sub(age));
        let snapshot = self.hub.snapshot();
        let is_known = |trust_domain: &_| snapshot.trust_zone_by_domain(trust_domain).is_some();
        let mut transaction = self.write().await?;
        let filter = BundleReadingFilter { cluster_id: Some(agent.cluster_id.clone()), ..BundleReadingFilter::default() };
        let before = transaction.bundle_readings(&filter).await?.pop();
        let reading = BundleReading::after(before.as_ref(), agent.cluster_id.clone(), read_at, draft.bundles, is_known);
        if let Some(reading) = reading {
            transaction.put_bundle_reading(&reading).await?;
        }
        // As with a status: neither revision nor event.
        transaction.commit(None, Vec::new()).await?;
        Ok(())
    }
}
