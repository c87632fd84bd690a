//! What a client of the agent's xDS is for.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// What a client is for, which is what it sees. It says so with the cluster of its node:
///
/// | `node.cluster`   | role        | sees                                                                     |
/// |------------------|-------------|--------------------------------------------------------------------------|
/// | `cofide-gateway` | [`Gateway`] | the zone's ingress gateway                                               |
/// | `cofide-client`  | [`Client`]  | listeners on the imports' addresses                                      |
/// | `cluster`        | [`Sidecar`] | the same for a pod; spiffe-enable gives every Envoy that it injects this |
/// | any other, none  | [`Sdk`]     | clusters and endpoints, for xDS SDKs and for Envoys with other listeners |
///
/// [`Gateway`]: Role::Gateway
/// [`Client`]: Role::Client
/// [`Sidecar`]: Role::Sidecar
/// [`Sdk`]: Role::Sdk
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// The ingress gateway through which remote clients reach exported services
    Gateway,
    /// The proxy through which local clients reach imported services
    Client,
    /// The Envoy of a pod, through which its workloads reach imported services
    Sidecar,
    /// An xDS SDK, or an Envoy with listeners of its own
    Sdk,
}

impl Role {
    /// Every role there is.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Whether the agent writes the bootstrap; the others bring their own.
    fn has_bootstrap(self) -> bool {
        match self {
            Self::Gateway | Self::Client => true,
            Self::Sidecar | Self::Sdk => false,
        }
    }

    /// Takes the roles for which the agent writes a bootstrap, and lists no others.
    pub fn with_bootstrap() -> impl TypedValueParser<Value = Self> {
        let roles = Self::all().iter().filter(|role| role.has_bootstrap());
        PossibleValuesParser::new(roles.filter_map(ValueEnum::to_possible_value)).try_map(|name| Self::from_str(&name, false))
    }

    /// The cluster of the node by which the agent knows the role; empty for the one that needs none.
    pub fn node_cluster(self) -> &'static str {
        match self {
            Self::Gateway => "cofide-gateway",
            Self::Client => "cofide-client",
            Self::Sidecar => "cluster",
            Self::Sdk => "",
        }
    }

    /// The role of a client with this `node.cluster`.
    pub fn of(node_cluster: &str) -> Self {
        Self::all().iter().copied().find(|role| role.node_cluster() == node_cluster).unwrap_or(Self::Sdk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_cluster_says_the_role() {
        let roles = ["cofide-gateway", "cofide-client", "cluster", "", "node"].map(Role::of);
        assert_eq!(roles, [Role::Gateway, Role::Client, Role::Sidecar, Role::Sdk, Role::Sdk]);
    }

    #[test]
    fn every_role_is_recognised_by_its_own_cluster_and_some_have_a_bootstrap() {
        for role in Role::all() {
            assert_eq!(Role::of(role.node_cluster()), *role);
        }
        let names: Vec<_> = Role::with_bootstrap().possible_values().unwrap().map(|value| value.get_name().to_owned()).collect();
        assert_eq!(names, ["gateway", "client"]);
    }
}
