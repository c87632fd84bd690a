//! What the agent asks of the Kubernetes API, resource by resource: exactly that is in the roles of its chart.
//!
//! A request that is not in this table is refused (403) under the chart's RBAC. Whoever adds one adds it here and in
//! `charts/cofide-agent/templates/rbac.yaml`; a test compares the two. Which kinds a cluster has is asked of API discovery,
//! which every authenticated caller may use.

/// Verbs of what is only looked at.
const WATCH: &[&str] = &["get", "list", "watch"];
/// Verbs of what is written by server-side apply, which creates by `patch` where `create` is allowed too.
const KEEP: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// Where a permission holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In all namespaces: a ClusterRole.
    Cluster,
    /// In the agent's own namespace: a Role.
    OwnNamespace,
    /// In the agent's own namespace, for the object of this name alone.
    OwnObject(&'static str),
    /// In the namespace of istiod, for the object of this name alone; with profile `istio`.
    MeshObject(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    pub scope: Scope,
    /// API group; empty for the core.
    pub group: &'static str,
    /// Plural, with its subresource after a slash.
    pub resource: &'static str,
    pub verbs: &'static [&'static str],
}

const fn cluster(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Permission {
    Permission { scope: Scope::Cluster, group, resource, verbs }
}

/// The ConfigMap that belongs to the agent and goes with the release.
pub const STATE_CONFIG_MAP: &str = "cofide-agent-state";
/// The Lease whose holder writes.
pub const LEASE: &str = "cofide-agent";
/// From which istiod reads its mesh configuration, and istiod itself, where the operator says nothing else.
pub const MESH_CONFIG_MAP: &str = "istio";
pub const ISTIOD: &str = "istiod";

/// Everything, each resource once for each scope.
pub const PERMISSIONS: [Permission; 22] = [
    // Backends and gateways of exported services.
    cluster("", "services", WATCH),
    cluster("discovery.k8s.io", "endpointslices", WATCH),
    // Transitions of FederatedServices, told where their owners look.
    cluster("events.k8s.io", "events", &["create", "patch"]),
    // What is rendered for Istio, next to its FederatedService or in the agent's namespace.
    cluster("networking.istio.io", "destinationrules", KEEP),
    cluster("networking.istio.io", "envoyfilters", KEEP),
    cluster("networking.istio.io", "gateways", KEEP),
    cluster("networking.istio.io", "serviceentries", KEEP),
    cluster("networking.istio.io", "virtualservices", KEEP),
    cluster("networking.istio.io", "workloadentries", KEEP),
    cluster("security.istio.io", "authorizationpolicies", KEEP),
    cluster("security.istio.io", "peerauthentications", KEEP),
    cluster("registry.cofide.io", "federatedservices", WATCH),
    // An owner reference that blocks deletion asks for this where OwnerReferencesPermissionEnforcement is on.
    cluster("registry.cofide.io", "federatedservices/finalizers", &["update"]),
    cluster("registry.cofide.io", "federatedservices/status", &["patch"]),
    // What a SPIRE server should hold, for spire-controller-manager. Their status is read with the objects.
    cluster("spire.spiffe.io", "clusterfederatedtrustdomains", KEEP),
    cluster("spire.spiffe.io", "clusterspiffeids", KEEP),
    cluster("spire.spiffe.io", "clusterstaticentries", KEEP),
    Permission { scope: Scope::OwnObject(STATE_CONFIG_MAP), group: "", resource: "configmaps", verbs: &["get", "patch"] },
    // A Lease that does not exist yet has no name that a rule could go by.
    Permission { scope: Scope::OwnNamespace, group: "coordination.k8s.io", resource: "leases", verbs: &["create"] },
    Permission { scope: Scope::OwnObject(LEASE), group: "coordination.k8s.io", resource: "leases", verbs: &["get", "update"] },
    // Whether Istio can verify federated trust domains; `patch` where the agent is to see to that.
    Permission { scope: Scope::MeshObject(MESH_CONFIG_MAP), group: "", resource: "configmaps", verbs: &["get", "patch"] },
    Permission { scope: Scope::MeshObject(ISTIOD), group: "apps", resource: "deployments", verbs: &["get"] },
];

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_k8s_api::{istio, spire};

    #[test]
    fn every_kind_of_others_that_is_written_is_permitted() {
        for kind in istio::kinds().into_iter().chain(spire::kinds()) {
            let permitted = |permission: &&Permission| permission.group == kind.group && permission.resource == kind.plural;
            assert_eq!(PERMISSIONS.iter().find(permitted).map(|permission| permission.verbs), Some(KEEP), "{}", kind.plural);
        }
        let of_istio = PERMISSIONS.iter().filter(|permission| permission.group.ends_with("istio.io"));
        assert_eq!(of_istio.count(), istio::kinds().len(), "and nothing else of Istio is");
        let of_spire = PERMISSIONS.iter().filter(|permission| permission.group == "spire.spiffe.io");
        assert_eq!(of_spire.count(), spire::kinds().len());
    }

    #[test]
    fn nothing_is_permitted_by_a_wildcard_and_nothing_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for permission in PERMISSIONS {
            let words = [permission.group, permission.resource].into_iter().chain(permission.verbs.iter().copied());
            assert!(words.into_iter().all(|word| !word.contains('*')), "{permission:?}");
            assert!(seen.insert((permission.scope, permission.group, permission.resource)), "{permission:?}");
        }
    }
}
