//! The types of resource that Envoy knows, and how the protocol treats each.

use prost::Message;

use crate::Resource;
use crate::envoy::envoy::config::cluster::v3::{Cluster, cluster};

pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
pub const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// What sets one type apart from another; a type that is not Envoy's gets [`TypeRules::FREE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypeRules {
    /// The place in make-before-break order; types without one depend on nothing and wait for nobody.
    pub(crate) rank: Option<u8>,
    /// Always asked for by name: an empty list asks for nothing instead of everything, a response in the state-of-the-
    /// world protocol holds what changed instead of all, and an answer overtakes the order, because a name is asked
    /// for when whatever mentions it is there already.
    pub(crate) by_name: bool,
    /// Whether a client is told at once that a name it asks for does not exist. Envoy rejects an empty answer to a
    /// question for a secret, so there silence is better: the secret is sent when it comes into being.
    pub(crate) tells_absence: bool,
}

impl TypeRules {
    const FREE: Self = Self { rank: None, by_name: false, tells_absence: true };

    pub(crate) fn of(type_url: &str) -> Self {
        let ordered = |rank, by_name| Self { rank: Some(rank), by_name, tells_absence: true };
        match type_url {
            CLUSTER => ordered(0, false),
            ENDPOINT => ordered(1, true),
            LISTENER => ordered(2, false),
            ROUTE => ordered(3, true),
            SECRET => Self { rank: None, by_name: true, tells_absence: false },
            _ => Self::FREE,
        }
    }

    /// Whether an answer may go out although the types before it in the order are still being delivered.
    pub(crate) fn overtakes(self) -> bool {
        self.by_name || self.rank.is_none()
    }
}

/// The name under which a cluster asks for its endpoints, where it does.
pub(crate) fn endpoints_of(cluster: &Resource) -> Option<String> {
    let cluster = Cluster::decode(cluster.body().value.as_slice()).ok()?;
    let is_eds = cluster.cluster_discovery_type == Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into()));
    let service_name = cluster.eds_cluster_config.map(|config| config.service_name).filter(|name| !name.is_empty());
    is_eds.then(|| service_name.unwrap_or(cluster.name))
}
