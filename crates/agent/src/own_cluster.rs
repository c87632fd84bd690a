//! The cluster that this agent acts for.

use cofide_core::{AgentIdentity, ClusterId, FederatedServiceId, Name, ServiceName, TrustDomain, TrustZoneId};
use uuid::Uuid;

/// The one cluster that this agent acts for, and the trust zone to which it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCluster {
    pub trust_domain: TrustDomain,
    pub trust_zone_id: TrustZoneId,
    pub cluster_id: ClusterId,
    pub cluster_name: Name,
}

impl OwnCluster {
    /// As whom the agent speaks.
    pub fn agent_identity(&self) -> AgentIdentity {
        AgentIdentity { trust_domain: self.trust_domain.clone(), cluster_name: Some(self.cluster_name.clone()) }
    }

    /// The id under which this cluster registers a service: the same whenever it is computed, so that registering twice
    /// is registering once, also by an agent that has lost its memory.
    pub fn service_id(&self, service: &ServiceName) -> FederatedServiceId {
        let Self { trust_domain, cluster_id, .. } = self;
        let text = format!("{trust_domain}/{cluster_id}/{}/{}", service.namespace, service.name);
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()).to_string();
        id.parse().expect("a UUID is a valid id")
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::OwnCluster;

    /// Cluster `one` of a trust zone with this trust domain.
    pub(crate) fn own_cluster(trust_domain: &str) -> OwnCluster {
        OwnCluster {
            trust_domain: cofide_test_objects::domain(trust_domain),
            trust_zone_id: "tz-a".parse().unwrap(),
            cluster_id: "c-a".parse().unwrap(),
            cluster_name: "one".parse().unwrap(),
        }
    }
}
