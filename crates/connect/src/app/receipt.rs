//! What agents made of what they were sent.

use std::collections::{BTreeMap, HashMap};

use cofide_api::convert::plan_resource;
use cofide_core::{ClusterId, Receipt};
use cofide_plan::Snapshot;
use cofide_store::{ReceiptFilter, Receipts};

use super::App;
use crate::error::Result;
use crate::hub;

/// The version of each resource, by type and name.
pub(super) type Versions = BTreeMap<(String, String), String>;

impl App {
    /// The last receipt of each resource and cluster, and whether it is about what the cluster is meant to have now.
    pub async fn receipts(&self, filter: &ReceiptFilter) -> Result<Vec<(Receipt, bool)>> {
        let receipts = self.read().await?.receipts(filter).await?;
        let snapshot = self.hub.snapshot();
        let mut wanted: HashMap<ClusterId, Versions> = HashMap::new();
        let mut answer = Vec::new();
        for receipt in receipts {
            let versions = wanted.entry(receipt.cluster_id.clone()).or_insert_with(|| wanted_versions(&snapshot, &receipt.cluster_id));
            let version = versions.get(&(receipt.type_url.clone(), receipt.resource_name.clone()));
            let is_current = version.is_some_and(|version| *version == receipt.version);
            answer.push((receipt, is_current));
        }
        Ok(answer)
    }
}

/// What a cluster is meant to have.
pub(super) fn wanted_versions(snapshot: &Snapshot, cluster: &ClusterId) -> Versions {
    let plan = cofide_plan::plan(snapshot, cluster);
    let versions = plan
        .iter()
        .map(|(key, resource)| ((plan_resource::type_url(key).to_owned(), plan_resource::name_of(resource)), hub::version(resource)));
    versions.collect()
}
