//! What agents have read in their SPIRE servers says how each direction of trust stands.
//!
//! ```text
//!  bundle that the remote zone delivered ──┐
//!  what each cluster's SPIRE server holds ─┼──> judge (pure) ──> Healthy, Unhealthy, Waiting, Unknown; reason; since when
//!  whether its agent is there ─────────────┘
//! ```
//!
//! What an agent was sent and acknowledged is no health: only what it has read there is, and only while that is recent.

mod judge;

use std::collections::HashSet;

use cofide_api::convert::plan::FEDERATED_TRUST;
use cofide_core::{FoundBundle, Timestamp, TrustZone, TrustZoneId};
use cofide_plan::Snapshot;
use cofide_store::{
    AgentFilter, Agents, BundleReadingFilter, BundleReadings, FederationFilter, Federations, ReadTransaction, ReceiptFilter, Receipts,
};

use super::App;
use super::audit::now;
use super::trust_zone;
use crate::error::{Error, Result};

pub use self::judge::{ClusterStatus, FederationStatus, Health, STALE_AFTER};
pub(super) use self::judge::{Evidence, clusters, judge};

/// One direction between two zones, whether it is wanted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectionStatus {
    pub trust_zone_id: TrustZoneId,
    pub remote_trust_zone_id: TrustZoneId,
    /// Absent where there is no such federation.
    pub federation: Option<FederationStatus>,
    /// What the remote zone has delivered, and when it was last changed.
    pub delivered: Option<(FoundBundle, Timestamp)>,
    pub clusters: Vec<ClusterStatus>,
}

impl App {
    pub async fn federation_statuses(&self, filter: &FederationFilter) -> Result<Vec<FederationStatus>> {
        let mut transaction = self.read().await?;
        let federations = transaction.federations(filter).await?;
        let snapshot = self.hub.snapshot();
        let pairs = federations.iter().map(|federation| (&federation.trust_zone_id, &federation.remote_trust_zone_id));
        let (evidence, now) = (self.evidence(&mut transaction, &snapshot, pairs).await?, now());
        Ok(federations.iter().map(|federation| judge(&snapshot, federation, &evidence, now)).collect())
    }

    /// The direction from one zone to another, and the one back.
    pub async fn federation_status(&self, zone: &TrustZoneId, remote: &TrustZoneId) -> Result<[DirectionStatus; 2]> {
        let snapshot = self.hub.snapshot();
        let find = |path: &str, id: &TrustZoneId| {
            snapshot.trust_zone(id).ok_or_else(|| Error::unknown_reference(path, trust_zone::NOUN, id.as_str()))
        };
        let (zone, remote) = (find("trust_zone_id", zone)?, find("remote_trust_zone_id", remote)?);
        if zone.id == remote.id {
            let reason = format_args!("{} does not federate with itself; name two trust zones", zone.name);
            return Err(Error::invalid("remote_trust_zone_id", reason));
        }
        let mut transaction = self.read().await?;
        let pairs = [(&zone.id, &remote.id), (&remote.id, &zone.id)];
        let (evidence, now) = (self.evidence(&mut transaction, &snapshot, pairs.into_iter()).await?, now());
        let direction = |zone: &TrustZone, remote: &TrustZone| {
            let federation = snapshot.federations_from(&zone.id).find(|federation| federation.remote_trust_zone_id == remote.id);
            let wanted_since = federation.map_or(now, |federation| federation.created_at);
            let found = |bundle: &cofide_core::Bundle| FoundBundle { digest: bundle.digest(), sequence_number: bundle.sequence_number };
            DirectionStatus {
                trust_zone_id: zone.id.clone(),
                remote_trust_zone_id: remote.id.clone(),
                federation: federation.map(|federation| judge(&snapshot, federation, &evidence, now)),
                delivered: remote.bundle.as_ref().map(|bundle| (found(bundle), remote.updated_at)),
                clusters: clusters(&snapshot, &zone.id, remote, wanted_since, &evidence, now),
            }
        };
        Ok([direction(zone, remote), direction(remote, zone)])
    }

    /// What agents have said of these pairs: who trusts, who is trusted.
    pub(super) async fn evidence<'p>(
        &self,
        transaction: &mut ReadTransaction,
        snapshot: &Snapshot,
        pairs: impl Iterator<Item = (&'p TrustZoneId, &'p TrustZoneId)> + Send,
    ) -> Result<Evidence> {
        let now = now();
        let elsewhere = self.presence.elsewhere(transaction).await?;
        let mut evidence = Evidence { troubles: self.troubles.all(), ..Evidence::default() };
        let mut zones = HashSet::new();
        for (zone, remote) in pairs {
            if zones.insert(zone) {
                let agents = AgentFilter { trust_zone_id: Some(zone.clone()), ..AgentFilter::default() };
                let signed = transaction.agents(&agents).await?.into_iter().map(|agent| {
                    let sign = self.presence.of(&agent, &elsewhere, now);
                    (agent, sign)
                });
                evidence.agents.extend(signed);
                let readings = BundleReadingFilter { trust_zone_id: Some(zone.clone()), ..BundleReadingFilter::default() };
                let readings = transaction.bundle_readings(&readings).await?;
                evidence.readings.extend(readings.into_iter().map(|reading| (reading.cluster_id.clone(), reading)));
            }
            if let Some(remote) = snapshot.trust_zone(remote) {
                let about = ReceiptFilter {
                    trust_zone_id: Some(zone.clone()),
                    type_url: Some(FEDERATED_TRUST.to_owned()),
                    resource_name: Some(remote.trust_domain.to_string()),
                    ..ReceiptFilter::default()
                };
                evidence.add_receipts(transaction.receipts(&about).await?);
            }
        }
        Ok(evidence)
    }
}
