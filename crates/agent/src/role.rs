//! What a client of the agent's xDS is for.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// The ingress gateway through which remote clients reach exported services
    Gateway,
    /// The proxy through which local clients reach imported services
    Client,
    // The agent writes no bootstrap for those that bring their own.
    #[value(skip)]
    Sidecar,
    #[value(skip)]
    Sdk,
}

impl Role {
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
        let named = [Self::Gateway, Self::Client, Self::Sidecar].into_iter().find(|role| role.node_cluster() == node_cluster);
        named.unwrap_or(Self::Sdk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn the_nodes_cluster_says_the_role() {
        let roles = ["cofide-gateway", "cofide-client", "cluster", "", "node"].map(Role::of);
        assert_eq!(roles, [Role::Gateway, Role::Client, Role::Sidecar, Role::Sdk, Role::Sdk]);
    }

    #[test]
    fn a_bootstrap_is_for_a_role_that_the_agent_recognises() {
        assert_eq!(Role::value_variants(), [Role::Gateway, Role::Client]);
        for role in Role::value_variants() {
            assert_eq!(Role::of(role.node_cluster()), *role);
        }
    }
}
