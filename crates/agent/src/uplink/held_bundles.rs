//! Tells Connect what the zone's SPIRE server holds of other trust domains.
//!
//! It is read there each time, and not taken from what this agent wrote: the server polls bundle endpoints by itself, and
//! people have hands. While the server cannot be read nothing is told, so that Connect sees the last reading age.

use std::time::Instant;

use cofide_api::convert::bundle_reading::Draft;
use cofide_core::FoundBundle;

use super::connect::{CallError, Connect};
use crate::spire::{SpireClient, SpireError};

#[derive(Debug)]
pub struct HeldBundlesPush {
    spire: SpireClient,
    connect: Connect,
}

#[derive(Debug, thiserror::Error)]
pub enum HeldBundlesError {
    #[error(transparent)]
    Spire(#[from] SpireError),
    #[error("telling Connect which bundles are held: {0}")]
    Call(#[from] CallError),
}

impl HeldBundlesPush {
    pub fn new(spire: SpireClient, connect: Connect) -> Self {
        Self { spire, connect }
    }

    /// Reads and tells, once. Without a socket there is nothing to read, which others report.
    pub async fn reconcile(&self) -> Result<(), HeldBundlesError> {
        if !self.spire.has_socket() {
            return Ok(());
        }
        let began = Instant::now();
        let bundles = self.spire.bundles().await?;
        let found = bundles.into_iter().map(|(trust_domain, bundle)| {
            let found = FoundBundle { digest: bundle.digest(), sequence_number: bundle.sequence_number };
            (trust_domain, found)
        });
        // From before it was read: rather too old than too young.
        let draft = Draft { bundles: found.collect(), age: began.elapsed() };
        Ok(self.connect.report_held_bundles((&draft).into()).await?)
    }
}
