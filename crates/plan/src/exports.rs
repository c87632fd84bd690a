//! What became of each trust domain to which a service is exported.

use cofide_core::{Cluster, Direction, ExportRefusal, ExportTarget, ExportedService, FederatedServiceId, TrustDomain, TrustZone};

use crate::Snapshot;

pub(crate) fn export(snapshot: &Snapshot, cluster: &Cluster, zone: &TrustZone, service: &FederatedServiceId) -> Option<ExportedService> {
    let service = snapshot.federated_service(service).filter(|service| service.cluster_id == cluster.id)?;
    let target = |domain: &TrustDomain| ExportTarget { trust_domain: domain.clone(), refusal: refusal(snapshot, zone, domain) };
    let targets = service.exported_trust_domains.iter().map(target).collect();
    Some(ExportedService { service_id: service.id.clone(), hostname: service.hostname.clone(), targets })
}

fn refusal(snapshot: &Snapshot, zone: &TrustZone, domain: &TrustDomain) -> Option<ExportRefusal> {
    let Some(client) = snapshot.trust_zone_by_domain(domain) else { return Some(ExportRefusal::UnknownTrustDomain) };
    let missing = missing_directions(snapshot, zone, client);
    if missing.is_empty() { None } else { Some(ExportRefusal::FederationMissing(missing)) }
}

/// The federations without which workloads of the two zones cannot verify each other.
pub(crate) fn missing_directions(snapshot: &Snapshot, server: &TrustZone, client: &TrustZone) -> Vec<Direction> {
    [(server, client), (client, server)]
        .into_iter()
        .filter(|(from, to)| !snapshot.federates(&from.id, &to.id))
        .map(|(from, to)| direction(from, to))
        .collect()
}

pub(crate) fn direction(from: &TrustZone, to: &TrustZone) -> Direction {
    Direction { trust_zone: from.name.clone(), remote_trust_zone: to.name.clone() }
}
