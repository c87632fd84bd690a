//! Which services of others a zone's clusters may use.

use std::collections::BTreeSet;

use cofide_core::{FederatedService, Hostname, ImportedGateway, ImportedService, SpiffeIdPath, TrustZone};

use crate::Snapshot;

/// A hostname as the clusters of `client` import it; `None` where they may not, or where no gateway leads to it.
pub(crate) fn import(snapshot: &Snapshot, client: &TrustZone, hostname: &Hostname) -> Option<ImportedService> {
    let merged = Merged::of(visible_services(snapshot, client, hostname))?;
    let gateways = merged.gateways();
    if gateways.is_empty() {
        return None;
    }
    let oldest = merged.oldest;
    Some(ImportedService {
        hostname: hostname.clone(),
        port: oldest.port,
        tls_mode: oldest.tls_mode,
        trust_domain: oldest.trust_domain.clone(),
        spiffe_id_paths: paths(oldest).into_iter().cloned().collect(),
        gateways: gateways.into_iter().collect(),
    })
}

/// The services behind a hostname that the client's zone may use: exported to its trust domain by another zone, where each
/// of the two zones trusts the other.
pub(crate) fn visible_services<'a>(
    snapshot: &'a Snapshot,
    client: &TrustZone,
    hostname: &Hostname,
) -> impl Iterator<Item = &'a FederatedService> {
    snapshot.federated_services_named(hostname).filter(|service| {
        service.trust_zone_id != client.id
            && service.exported_trust_domains.contains(&client.trust_domain)
            && snapshot.federates_both_ways(&client.id, &service.trust_zone_id)
    })
}

/// The services of several clusters under one hostname, seen as one.
///
/// The oldest decides the port, the TLS mode and the SPIFFE ID paths; those that say otherwise are left out, because a
/// client cannot speak two ways to one name. The oldest decides even while it has no gateway itself, so that a gateway that
/// comes and goes does not change what clients pin.
pub(crate) struct Merged<'a> {
    pub(crate) oldest: &'a FederatedService,
    /// The oldest and all that say the same.
    pub(crate) agreeing: Vec<&'a FederatedService>,
    pub(crate) left_out: Vec<&'a FederatedService>,
}

impl<'a> Merged<'a> {
    /// `None` where there is nothing to merge.
    pub(crate) fn of(services: impl IntoIterator<Item = &'a FederatedService>) -> Option<Self> {
        let mut services: Vec<_> = services.into_iter().collect();
        // The id breaks the tie between services of the same instant, so that every reader picks the same.
        services.sort_by_key(|service| (service.created_at, &service.id));
        let oldest = *services.first()?;
        let (agreeing, left_out) = services.into_iter().partition(|service| agree(service, oldest));
        Some(Self { oldest, agreeing, left_out })
    }

    /// The ways in, of all clusters.
    pub(crate) fn gateways(&self) -> BTreeSet<ImportedGateway> {
        let of_one = |service: &&'a FederatedService| {
            let imported =
                |gateway: &cofide_core::Gateway| ImportedGateway { gateway: gateway.clone(), cluster_name: service.cluster_name.clone() };
            service.gateways().iter().map(imported).collect::<Vec<_>>()
        };
        self.agreeing.iter().flat_map(of_one).collect()
    }
}

/// Whether a client of the one may be sent to the other.
fn agree(one: &FederatedService, other: &FederatedService) -> bool {
    one.trust_domain == other.trust_domain && one.port == other.port && one.tls_mode == other.tls_mode && paths(one) == paths(other)
}

fn paths(service: &FederatedService) -> BTreeSet<&SpiffeIdPath> {
    service.spiffe_id_paths.iter().collect()
}
