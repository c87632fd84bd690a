//! What this cluster offers to others. Pure: the view and who the cluster is in, decisions out.
//!
//! ```text
//!  FederatedService ─┐                      ┌─ registration ──> Connect
//!  WorkloadEntry ────┼─> export ─> Export ──┼─ route ─────────> gateway
//!  gateways ─────────┘                      └─ conditions ────> status beside the manifest
//! ```
//!
//! Everything here follows from the local objects: with Connect gone, the gateway goes on serving what the manifests say.
//! What Connect answers appears in the conditions ([`conditions`]), and takes from a route the trust domains of which
//! Connect has said that they cannot import the service ([`Offer::route`]).

mod backends;
pub mod conditions;
pub mod reasons;
mod registration;

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{ExportTarget, FederatedService, Gateway, Hostname, Timestamp};
use cofide_k8s_api::ServiceSpec;

use crate::desired::{Backend, GatewayRoute};
use crate::own_cluster::OwnCluster;
use crate::view::{Backing, ClusterView, ObjectKey, Origin, ServiceObject};

pub use registration::ServiceRegistration;

/// The decision about one FederatedService.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    pub key: ObjectKey,
    pub origin: Origin,
    pub generation: u64,
    /// What is wrong with the present text. If the service is offered all the same, it is its last valid version.
    pub problems: Vec<String>,
    pub decision: Decision,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Offered(Box<Offer>),
    /// There is no valid version of it.
    Invalid,
    /// An older service of this cluster has the hostname.
    Conflict {
        hostname: Hostname,
        with: ObjectKey,
    },
}

/// A service that remote clients may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// As Connect should know it. The times are Connect's and zero here.
    pub service: FederatedService,
    pub backends: BTreeSet<Backend>,
    /// Workloads that carry the labels but cannot be used, and why.
    pub unusable: Vec<String>,
    /// What the cluster has behind the service; absent on a host.
    pub backing: Option<Backing>,
}

impl Offer {
    /// Whether remote clients could get to a workload. In a cluster that is waited for before Connect is told: a gateway gets
    /// its address, and pods become ready, in their own time. On a host both are written by hand.
    pub fn is_reachable(&self) -> bool {
        let has_gateway = !self.service.gateway_specs.is_empty() || !self.service.gateway_entries.is_empty();
        self.backing.is_none() || (has_gateway && !self.backends.is_empty())
    }

    /// As the gateway serves it. `targets` is what Connect said of the trust domains that the service is exported to: one
    /// that cannot import it, because a federation has ended for example, is not admitted. Where Connect has not said so,
    /// the manifest decides: not to know is no reason to cut anybody off.
    pub fn route(&self, targets: Option<&[ExportTarget]>) -> GatewayRoute {
        let refused: BTreeSet<_> =
            targets.into_iter().flatten().filter(|target| target.refusal.is_some()).map(|target| &target.trust_domain).collect();
        let exported = self.service.exported_trust_domains.iter();
        GatewayRoute {
            hostname: self.service.hostname.clone(),
            port: self.service.port,
            mode: self.service.tls_mode,
            admitted: exported.filter(|trust_domain| !refused.contains(trust_domain)).cloned().collect(),
            backends: self.backends.clone(),
        }
    }
}

impl Export {
    pub fn offer(&self) -> Option<&Offer> {
        match &self.decision {
            Decision::Offered(offer) => Some(offer),
            _ => None,
        }
    }
}

/// Decides about every FederatedService of the view; the result is in the view's order, oldest first.
///
/// `gateways` are those that the configuration names, beside which are those of the view; they are what clients use unless the
/// service names its own.
pub fn export(cluster: &OwnCluster, gateways: &[Gateway], view: &ClusterView) -> Vec<Export> {
    let mut taken: BTreeMap<Hostname, ObjectKey> = BTreeMap::new();
    let discovered = view.gateways.iter().flat_map(|gateway| &gateway.entries);
    let gateways: Vec<Gateway> = gateways.iter().chain(discovered).cloned().collect();
    view.services
        .iter()
        .map(|object| Export {
            key: object.key.clone(),
            origin: object.origin.clone(),
            generation: object.generation,
            problems: object.problems.clone(),
            decision: decide(cluster, &gateways, view, object, &mut taken),
        })
        .collect()
}

fn decide(
    cluster: &OwnCluster,
    gateways: &[Gateway],
    view: &ClusterView,
    object: &ServiceObject,
    taken: &mut BTreeMap<Hostname, ObjectKey>,
) -> Decision {
    let Some(spec) = &object.spec else { return Decision::Invalid };
    if let Some(with) = taken.get(&spec.hostname) {
        return Decision::Conflict { hostname: spec.hostname.clone(), with: with.clone() };
    }
    taken.insert(spec.hostname.clone(), object.key.clone());
    let (backends, unusable) = match &object.backing {
        Some(backing) => (backing.backends.clone(), Vec::new()),
        None => backends::backends(spec, &view.workloads),
    };
    let backing = object.backing.clone();
    Decision::Offered(Box::new(Offer { service: service(cluster, gateways, spec), backends, unusable, backing }))
}

fn service(cluster: &OwnCluster, gateways: &[Gateway], spec: &ServiceSpec) -> FederatedService {
    let sorted = |gateways: &[Gateway]| {
        let mut gateways = gateways.to_vec();
        gateways.sort();
        gateways.dedup();
        gateways
    };
    FederatedService {
        id: cluster.service_id(&spec.name),
        name: spec.name.clone(),
        trust_zone_id: cluster.trust_zone_id.clone(),
        cluster_id: cluster.cluster_id.clone(),
        cluster_name: cluster.cluster_name.clone(),
        trust_domain: cluster.trust_domain.clone(),
        hostname: spec.hostname.clone(),
        workload_labels: spec.workload_labels.clone(),
        exported_trust_domains: spec.exported_trust_domains.clone(),
        port: spec.port,
        tls_mode: spec.tls_mode,
        // Connect is told of both, and gives clients the manual ones where there are any; so does the status.
        gateway_entries: sorted(gateways),
        gateway_specs: sorted(&spec.gateways),
        spiffe_id_paths: spec.spiffe_id_paths.clone(),
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
    }
}

#[cfg(test)]
mod tests;
