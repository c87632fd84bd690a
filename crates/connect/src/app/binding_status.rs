//! Whether the workloads of each binding have been given the bundles that it names, and for which zone they wait.
//!
//! A partner that is absent holds up nobody: identities are issued without its bundle, and this says so until it is there.

use std::collections::BTreeSet;

use cofide_core::{AttestationPolicyBinding, AttestationPolicyBindingId, Timestamp, TrustZone, TrustZoneId};
use cofide_plan::{Partners, Snapshot, partners};
use cofide_store::{AttestationPolicyBindingFilter, AttestationPolicyBindings};

use super::App;
use super::audit::now;
use super::federation::direction;
use super::federation_status::{ClusterStatus, Evidence, Health, clusters, judge};
use crate::error::Result;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingStatus {
    pub binding_id: AttestationPolicyBindingId,
    /// In the order in which the binding is shown.
    pub partners: Vec<PartnerStatus>,
    /// Zones that its patterns match beyond the bound.
    pub left_out: usize,
}

/// How it stands with the bundle of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerStatus {
    pub trust_zone_id: TrustZoneId,
    pub health: Health,
    pub reason: String,
    pub since: Option<Timestamp>,
}

impl App {
    pub async fn binding_statuses(&self, filter: &AttestationPolicyBindingFilter) -> Result<Vec<BindingStatus>> {
        let mut transaction = self.read().await?;
        let bindings = transaction.attestation_policy_bindings(filter).await?;
        let snapshot = self.hub.snapshot();
        let with_partners: Vec<_> = bindings.iter().map(|binding| (binding, partners(&snapshot, binding))).collect();
        let pairs = with_partners
            .iter()
            .flat_map(|(binding, partners)| partners.all().map(move |partner| (&binding.trust_zone_id, &partner.id)))
            .collect::<BTreeSet<_>>();
        let (evidence, now) = (self.evidence(&mut transaction, &snapshot, pairs.into_iter()).await?, now());
        let status = |(binding, partners): &(&AttestationPolicyBinding, Partners<'_>)| BindingStatus {
            binding_id: binding.id.clone(),
            partners: partners.all().map(|zone| partner(&snapshot, binding, zone, &evidence, now)).collect(),
            left_out: partners.left_out,
        };
        Ok(with_partners.iter().map(status).collect())
    }
}

fn partner(
    snapshot: &Snapshot,
    binding: &AttestationPolicyBinding,
    remote: &TrustZone,
    evidence: &Evidence,
    now: Timestamp,
) -> PartnerStatus {
    let status =
        |health, reason: String, since: Option<Timestamp>| PartnerStatus { trust_zone_id: remote.id.clone(), health, reason, since };
    let federations = snapshot.federations_from(&binding.trust_zone_id);
    let Some(federation) = federations.into_iter().find(|federation| federation.remote_trust_zone_id == remote.id) else {
        let missing = snapshot.trust_zone(&binding.trust_zone_id).map(|zone| direction(zone, remote));
        let reason = missing.map(|missing| format!("there is no federation {missing}; add it again: {}", missing.remedy()));
        return status(Health::Unhealthy, reason.unwrap_or_default(), None);
    };
    // Before the binding there was nobody to wait.
    let not_before = |since: Timestamp| since.max(binding.created_at);
    let judged = judge(snapshot, federation, evidence, now);
    let clusters = clusters(snapshot, &federation.trust_zone_id, remote, federation.created_at, evidence, now);
    let lacks = |cluster: &&ClusterStatus| cluster.health == Health::Unhealthy && cluster.held.is_none();
    let lacking: Vec<_> = clusters.iter().filter(lacks).collect();
    if judged.health == Health::Unhealthy && clusters.iter().all(|cluster| cluster.health != Health::Unhealthy || cluster.held.is_none()) {
        let name = |cluster: &&ClusterStatus| {
            let id = &cluster.cluster_id;
            snapshot.cluster(id).map_or_else(|| id.to_string(), |cluster| cluster.name.to_string())
        };
        let names: Vec<_> = lacking.iter().map(name).collect();
        let reason = format!("the bundle of {} has not arrived in cluster {}", remote.name, names.join(", "));
        return status(Health::Waiting, reason, lacking.iter().filter_map(|cluster| cluster.since).min().map(not_before));
    }
    status(judged.health, judged.reason, judged.since.map(not_before))
}
