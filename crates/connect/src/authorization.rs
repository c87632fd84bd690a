//! Who may call what: one table over every method.
//!
//! A method that is not in the table does not exist, whatever handlers there are. The table says which kind of caller
//! may call; that an agent reaches only what belongs to its own trust zone and cluster is the business of the rules in
//! [`crate::app`], which know the objects.

/// Which kind of caller a method is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No credential needed.
    Anyone,
    /// No credential on the connection; the message carries a join token, and the rule behind the method checks it.
    JoinToken,
    User,
    Agent,
    UserOrAgent,
}

use Access::{Agent, Anyone, JoinToken, User, UserOrAgent};

/// Service -> method -> who. Services without an implementation are listed too: a caller without a credential does not
/// learn which they are.
pub const TABLE: &[(&str, &[(&str, Access)])] = &[
    (
        "proto.connect.trust_zone_service.v1alpha1.TrustZoneService",
        &[
            ("CreateTrustZone", User),
            ("DestroyTrustZone", User),
            ("GetTrustZone", User),
            ("ListTrustZones", User),
            ("UpdateTrustZone", User),
            ("RegisterAgent", JoinToken),
            ("RegisterTrustZoneServer", User),
            ("UpdateTrustZoneBundle", UserOrAgent),
        ],
    ),
    (
        "proto.connect.cluster_service.v1alpha1.ClusterService",
        &[("CreateCluster", User), ("DestroyCluster", User), ("GetCluster", User), ("ListClusters", User), ("UpdateCluster", User)],
    ),
    (
        "proto.connect.federation_service.v1alpha1.FederationService",
        &[("CreateFederation", User), ("DestroyFederation", User), ("ListFederations", User), ("GetFederation", User)],
    ),
    (
        "proto.connect.attestation_policy_service.v1alpha1.AttestationPolicyService",
        &[
            ("CreateAttestationPolicy", User),
            ("DestroyAttestationPolicy", User),
            ("GetAttestationPolicy", User),
            ("ListAttestationPolicies", User),
            ("UpdateAttestationPolicy", User),
        ],
    ),
    (
        "proto.connect.ap_binding_service.v1alpha1.APBindingService",
        &[
            ("CreateAPBinding", User),
            ("DestroyAPBinding", User),
            ("GetAPBinding", User),
            ("ListAPBindings", User),
            ("UpdateAPBinding", User),
        ],
    ),
    (
        "proto.connect.agent_service.v1alpha1.AgentService",
        &[
            ("CreateAgentJoinToken", User),
            ("UpdateAgentStatus", Agent),
            ("RegisterFederatedService", Agent),
            // A person may take a service away whose agent is gone for good.
            ("DeregisterFederatedService", UserOrAgent),
            ("UpdateFederatedService", Agent),
            ("GetFederatedService", UserOrAgent),
            ("ListFederatedServices", UserOrAgent),
        ],
    ),
    ("proto.connect.organization_service.v1alpha1.OrganizationService", &[("GetOrganization", User), ("ListOrganizations", User)]),
    ("proto.connect.audit_service.v1alpha1.AuditService", &[("ListEvents", User), ("RecordExchange", User)]),
    (
        "proto.connect.receipt_service.v1alpha1.ReceiptService",
        &[
            ("ListReceipts", User),
            ("ListFederationStatuses", User),
            ("GetFederationStatus", User),
            ("ListBindingStatuses", User),
            ("ReportHeldBundles", Agent),
            ("ListAgentStatuses", User),
        ],
    ),
    ("proto.connect.explain_service.v1alpha1.ExplainService", &[("Explain", User)]),
    ("proto.connect.bundle_package_service.v1alpha1.BundlePackageService", &[("ExportBundlePackage", User), ("ImportBundlePackage", User)]),
    ("envoy.service.discovery.v3.AggregatedDiscoveryService", &[("StreamAggregatedResources", Agent), ("DeltaAggregatedResources", Agent)]),
    ("grpc.health.v1.Health", &[("Check", Anyone), ("Watch", Anyone)]),
    ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", User)]),
    (
        "proto.connect.datastore_service.v1alpha1.DataStoreService",
        &[
            ("CountAttestedNodes", User),
            ("CreateAttestedNode", User),
            ("DeleteAttestedNode", User),
            ("FetchAttestedNode", User),
            ("UpdateAttestedNode", User),
            ("ListAttestedNodes", User),
            ("PruneAttestedExpiredNodes", User),
            ("GetNodeSelectors", User),
            ("SetNodeSelectors", User),
            ("ListNodeSelectors", User),
        ],
    ),
    (
        "proto.connect.exchange_policy_service.v1alpha1.ExchangePolicyService",
        &[
            ("CreateExchangePolicy", User),
            ("DestroyExchangePolicy", User),
            ("GetExchangePolicy", User),
            ("ListExchangePolicies", User),
            ("UpdateExchangePolicy", User),
        ],
    ),
    ("proto.connect.identity_service.v1alpha1.IdentityService", &[("GetIdentity", User), ("ListIdentities", User)]),
    (
        "proto.connect.role_binding_service.v1alpha1.RoleBindingService",
        &[
            ("CreateRoleBinding", User),
            ("DestroyRoleBinding", User),
            ("GetRoleBinding", User),
            ("ListRoleBindings", User),
            ("UpdateRoleBinding", User),
        ],
    ),
    (
        "proto.connect.trust_zone_server_service.v1alpha1.TrustZoneServerService",
        &[
            ("CreateTrustZoneServer", User),
            ("DestroyTrustZoneServer", User),
            ("GetTrustZoneServer", User),
            ("ListTrustZoneServers", User),
            ("UpdateTrustZoneServer", User),
            ("UpdateTrustZoneServerStatus", User),
        ],
    ),
    (
        "proto.connect.workload_service.v1alpha1.WorkloadService",
        &[("ListWorkloads", User), ("PublishWorkloads", User), ("ListWorkloadEvents", User), ("PublishWorkloadEvents", User)],
    ),
];

/// Who may call the method with this path (`/package.Service/Method`); `None` where there is no such method.
pub fn access(path: &str) -> Option<Access> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, methods) = TABLE.iter().find(|(name, _)| *name == service)?;
    methods.iter().find(|(name, _)| *name == method).map(|(_, access)| *access)
}

impl Access {
    /// The kinds of caller in words, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            Anyone => "anyone",
            JoinToken => "an agent with a join token",
            User => "a user",
            Agent => "an agent",
            UserOrAgent => "a user or an agent",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_has_every_method_of_the_api_once() {
        let descriptors = prost_types::FileDescriptorSet::decode(cofide_api::FILE_DESCRIPTOR_SET).unwrap();
        let mut defined = BTreeSet::new();
        for file in &descriptors.file {
            for service in file.service.iter().filter(|_| file.package().starts_with("proto.connect.")) {
                defined.extend(service.method.iter().map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
            }
        }
        let paths = || TABLE.iter().flat_map(|(service, methods)| methods.iter().map(move |(method, _)| format!("/{service}/{method}")));
        let listed: BTreeSet<_> = paths().filter(|path| path.starts_with("/proto.connect.")).collect();
        assert_eq!(listed, defined);
        assert_eq!(paths().count(), paths().collect::<BTreeSet<_>>().len(), "a method is listed twice");
    }

    #[test]
    fn the_page_says_the_same_in_words() {
        let row = |service: &str, method: &str, access: Access| format!("| `{service}/{method}` | {} |", access.describe());
        let table = TABLE.iter().flat_map(|(service, methods)| methods.iter().map(move |(method, access)| row(service, method, *access)));
        let page = include_str!("../../../docs/authorization.md");
        let written = page.lines().filter(|line| line.starts_with("| `"));
        assert_eq!(
            written.collect::<Vec<_>>(),
            table.collect::<Vec<_>>(),
            "whoever changes who may call writes it down in docs/authorization.md"
        );
    }

    #[test]
    fn what_is_not_listed_does_not_exist() {
        for path in ["", "/", "/x", "/grpc.health.v1.Health/Other", "/grpc.health.v1.Health/Check/", "//grpc.health.v1.Health/Check"] {
            assert_eq!(access(path), None, "{path}");
        }
        assert_eq!(access("/grpc.health.v1.Health/Check"), Some(Anyone));
    }
}
