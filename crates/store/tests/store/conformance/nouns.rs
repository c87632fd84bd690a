//! What holds for every noun alike.

use cofide_store::{
    AgentFilter, Agents, AgentsMut, AttestationPolicies, AttestationPoliciesMut, AttestationPolicyBindingFilter, AttestationPolicyBindings,
    AttestationPolicyBindingsMut, AttestationPolicyFilter, ClusterFilter, Clusters, ClustersMut, Database, FederatedServiceFilter,
    FederatedServices, FederatedServicesMut, FederationFilter, Federations, FederationsMut, StoreError, TrustZoneFilter, TrustZones,
    TrustZonesMut,
};

use crate::builders::{binding, cluster, domain, federation, id, policy, service, zone};
use crate::objects::{agent, attempted, taken, two_zones, written};

pub(crate) async fn lists_follow_their_filters<D: Database>(database: &D) {
    two_zones(database).await;
    let mut read = database.begin_read().await.unwrap();
    let a = || Some(id("a"));
    let (org, nobody) = (Some(id("org")), Some(id("nobody")));

    let filter = |name: Option<&str>, domain_name: Option<&str>, organization_id| TrustZoneFilter {
        organization_id,
        name: name.map(id),
        trust_domain: domain_name.map(domain),
    };
    for (filter, expected) in [
        (filter(Some("a"), None, None), 1),
        (filter(None, Some("b.test"), None), 1),
        (filter(Some("a"), Some("b.test"), None), 0),
        (filter(None, None, org.clone()), 2),
        (filter(None, None, nobody.clone()), 0),
    ] {
        assert_eq!(read.trust_zones(&filter).await.unwrap().len(), expected, "{filter:?}");
    }
    for (filter, expected) in [
        (ClusterFilter { trust_zone_id: a(), ..Default::default() }, 1),
        (ClusterFilter { name: Some(id("two")), ..Default::default() }, 1),
        (ClusterFilter { name: Some(id("two")), trust_zone_id: a(), ..Default::default() }, 0),
        (ClusterFilter { organization_id: org.clone(), ..Default::default() }, 2),
        (ClusterFilter { organization_id: nobody.clone(), ..Default::default() }, 0),
    ] {
        assert_eq!(read.clusters(&filter).await.unwrap().len(), expected, "{filter:?}");
    }
    for (filter, expected) in [
        (AgentFilter { trust_zone_id: a(), ..Default::default() }, 1),
        (AgentFilter { cluster_id: Some(id("two")), ..Default::default() }, 1),
        (AgentFilter::default(), 2),
    ] {
        assert_eq!(read.agents(&filter).await.unwrap().len(), expected, "{filter:?}");
    }
    for (filter, expected) in [
        (FederationFilter { trust_zone_id: a(), ..Default::default() }, 1),
        (FederationFilter { remote_trust_zone_id: a(), ..Default::default() }, 1),
        (FederationFilter { trust_zone_id: a(), remote_trust_zone_id: a(), ..Default::default() }, 0),
        (FederationFilter { organization_id: org.clone(), ..Default::default() }, 2),
    ] {
        assert_eq!(read.federations(&filter).await.unwrap().len(), expected, "{filter:?}");
    }
    for (filter, expected) in [
        (AttestationPolicyFilter { name: Some(id("ping-pong")), ..Default::default() }, 1),
        (AttestationPolicyFilter { name: Some(id("a")), ..Default::default() }, 0),
        (AttestationPolicyFilter { organization_id: org.clone(), ..Default::default() }, 1),
        (AttestationPolicyFilter { kind: Some("static"), ..Default::default() }, 1),
        (AttestationPolicyFilter { kind: Some("kubernetes"), ..Default::default() }, 0),
    ] {
        assert_eq!(read.attestation_policies(&filter).await.unwrap().len(), expected, "{filter:?}");
    }
    for (filter, expected) in [
        (AttestationPolicyBindingFilter { trust_zone_id: a(), ..Default::default() }, 1),
        (AttestationPolicyBindingFilter { policy_id: Some(id("ping-pong")), ..Default::default() }, 2),
        (AttestationPolicyBindingFilter { policy_id: Some(id("other")), ..Default::default() }, 0),
        (AttestationPolicyBindingFilter { organization_id: org.clone(), ..Default::default() }, 2),
    ] {
        assert_eq!(read.attestation_policy_bindings(&filter).await.unwrap().len(), expected, "{filter:?}");
    }
    for (filter, expected) in [
        (FederatedServiceFilter { trust_zone_id: a(), ..Default::default() }, 1),
        (FederatedServiceFilter { cluster_id: Some(id("two")), ..Default::default() }, 0),
        (FederatedServiceFilter { hostname: Some(id("server.demo.a.test")), ..Default::default() }, 1),
        (FederatedServiceFilter { organization_id: org, ..Default::default() }, 1),
        (FederatedServiceFilter { organization_id: nobody, ..Default::default() }, 0),
    ] {
        assert_eq!(read.federated_services(&filter).await.unwrap().len(), expected, "{filter:?}");
    }
}

pub(crate) async fn what_is_not_there_is_not_updated_or_deleted<D: Database>(database: &D) {
    two_zones(database).await;
    let missing = |result: Result<(), StoreError>, noun: &str| match result {
        Err(StoreError::NotFound { noun: found, .. }) => assert_eq!(found, noun),
        other => panic!("{other:?} for {noun}"),
    };
    let mut write = database.begin_write().await.unwrap();
    missing(write.update_trust_zone(&zone("x")).await, "trust zone");
    missing(write.delete_trust_zone(&id("x")).await, "trust zone");
    missing(write.update_cluster(&cluster("x", "a")).await, "cluster");
    missing(write.delete_cluster(&id("x")).await, "cluster");
    missing(write.update_agent(&agent("x", "one", "a")).await, "agent");
    missing(write.delete_agent(&id("x")).await, "agent");
    missing(write.delete_federation(&id("x")).await, "federation");
    missing(write.update_attestation_policy(&policy("x")).await, "attestation policy");
    missing(write.delete_attestation_policy(&id("x")).await, "attestation policy");
    missing(write.update_attestation_policy_binding(&binding("x", "x", &[])).await, "attestation policy binding");
    missing(write.delete_attestation_policy_binding(&id("x")).await, "attestation policy binding");
    missing(write.update_federated_service(&service("x", &cluster("one", "a"), &[])).await, "federated service");
    missing(write.delete_federated_service(&id("x")).await, "federated service");
}

pub(crate) async fn references_to_nothing_are_refused<D: Database>(database: &D) {
    two_zones(database).await;
    let dangling = |result: Result<(), StoreError>, noun: &str| match result {
        Err(StoreError::DanglingReference { noun: found, .. }) => assert_eq!(found, noun),
        other => panic!("{other:?} for {noun}"),
    };
    let mut stray = zone("c");
    stray.organization_id = id("nobody");
    dangling(attempted(database, async |write| write.insert_trust_zone(&stray).await).await, "trust zone");
    dangling(attempted(database, async |write| write.insert_cluster(&cluster("x", "x")).await).await, "cluster");
    dangling(attempted(database, async |write| write.insert_federation(&federation("a", "x")).await).await, "federation");
    let bound = attempted(database, async |write| write.insert_attestation_policy_binding(&binding("a", "x", &[])).await).await;
    dangling(bound, "attestation policy binding");
    let federated = binding("a", "ping-pong", &["x"]);
    let bound = attempted(database, async |write| write.update_attestation_policy_binding(&federated).await).await;
    dangling(bound, "attestation policy binding");
}

/// An update looks nothing up first; it is the schema that refuses what is taken.
pub(crate) async fn constraints_hold_where_no_check_looks<D: Database>(database: &D) {
    two_zones(database).await;
    let third = cluster("three", "a");
    written(database, async |write| {
        write.insert_cluster(&third).await?;
        write.insert_attestation_policy(&policy("other")).await?;
        write.insert_attestation_policy_binding(&binding("a", "other", &[])).await?;
        write.insert_federated_service(&service("other", &cluster("one", "a"), &["b.test"])).await?;
        write.insert_agent(&agent("agent-three", "three", "a")).await
    })
    .await;
    let mut by_name = zone("b");
    by_name.name = id("a");
    assert_eq!(taken(attempted(database, async |write| write.update_trust_zone(&by_name).await).await), "trust zone with the same name");
    let mut by_domain = zone("b");
    by_domain.trust_domain = domain("a.test");
    let refused = attempted(database, async |write| write.update_trust_zone(&by_domain).await).await;
    assert_eq!(taken(refused), "trust zone with the same trust_domain");
    let mut by_name = third.clone();
    by_name.name = id("one");
    let refused = attempted(database, async |write| write.update_cluster(&by_name).await).await;
    assert_eq!(taken(refused), "cluster with the same trust_zone_id, name");
    let mut by_name = policy("other");
    by_name.name = id("ping-pong");
    let refused = attempted(database, async |write| write.update_attestation_policy(&by_name).await).await;
    assert_eq!(taken(refused), "attestation policy with the same name");
    let mut by_policy = binding("a", "other", &[]);
    by_policy.policy_id = id("ping-pong");
    let refused = attempted(database, async |write| write.update_attestation_policy_binding(&by_policy).await).await;
    assert_eq!(taken(refused), "attestation policy binding with the same policy_id, trust_zone_id");
    let mut by_hostname = service("other", &cluster("one", "a"), &["b.test"]);
    by_hostname.hostname = id("server.demo.a.test");
    let refused = attempted(database, async |write| write.update_federated_service(&by_hostname).await).await;
    assert_eq!(taken(refused), "federated service with the same hostname, cluster_id");
    let by_cluster = agent("agent-three", "one", "a");
    let refused = attempted(database, async |write| write.update_agent(&by_cluster).await).await;
    assert_eq!(taken(refused), "agent with the same cluster_id");
}
