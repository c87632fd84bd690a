use cofide_core::{
    AgentState, AgentStatus, Bundle, BundleEndpoint, BundleEndpointProfile, ConditionKind, Gateway, GatewayAddress, GatewayKind,
    JwtAuthority, KubernetesPolicy, LabelSelector, MatchExpression, Organization, PolicyKind, Profile, SpiffeId, Timestamp, TlsMode,
    TpmNodePolicy, UnmetCondition, X509Authority,
};
use cofide_store::{
    AgentFilter, Agents, AgentsMut, AttestationPolicies, AttestationPoliciesMut, AttestationPolicyBindingFilter, AttestationPolicyBindings,
    AttestationPolicyBindingsMut, AttestationPolicyFilter, ClusterFilter, Clusters, ClustersMut, ControlPlaneSecrets,
    ControlPlaneSecretsMut, Database, FederatedServiceFilter, FederatedServices, FederatedServicesMut, FederationFilter, Federations,
    FederationsMut, JoinTokens, OrganizationFilter, Organizations, OrganizationsMut, Receipts, Replicas, ReplicasMut, StoreError,
    TrustZoneFilter, TrustZones, TrustZonesMut,
};

use crate::builders::{binding, cluster, domain, federation, gateway, id, policy, port, service, zone};
use crate::objects::{agent, attempted, organization, two_zones, written};

fn taken(result: Result<(), StoreError>) -> String {
    match result {
        Err(StoreError::AlreadyExists { noun, what }) => format!("{noun} with {what}"),
        other => panic!("{other:?} does not say that something is taken"),
    }
}

fn used_by(result: Result<(), StoreError>) -> String {
    match result {
        Err(StoreError::InUse { by, .. }) => by,
        other => panic!("{other:?} does not say that something is in use"),
    }
}

pub(crate) async fn organizations_are_kept_and_have_unique_names<D: Database>(database: &D) {
    let other = Organization { id: id("org-2"), name: id("other") };
    written(database, async |write| {
        write.insert_organization(&other).await?;
        write.insert_organization(&organization()).await
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.organization(&id("org")).await.unwrap(), Some(organization()));
    assert_eq!(read.organization(&id("nobody")).await.unwrap(), None);
    assert_eq!(read.organizations(&OrganizationFilter::default()).await.unwrap(), [organization(), other.clone()], "by name");
    assert_eq!(read.organizations(&OrganizationFilter { name: Some(id("other")) }).await.unwrap(), [other]);
    drop(read);
    let same_name = Organization { id: id("org-3"), name: id("default") };
    let refused = attempted(database, async |write| write.insert_organization(&same_name).await).await;
    assert_eq!(taken(refused), "organization with name \"default\"");
}

pub(crate) async fn trust_zones_are_kept_in_full_and_in_part<D: Database>(database: &D) {
    let mut full = zone("full");
    full.bundle = Some(Bundle {
        x509_authorities: vec![X509Authority { der: vec![0, 1, 255], tainted: true }, X509Authority { der: Vec::new(), tainted: false }],
        jwt_authorities: vec![JwtAuthority { key_id: "key".to_owned(), public_key: vec![7, 8], expires_at: -1, tainted: true }],
        refresh_hint: u64::MAX,
        sequence_number: u64::MAX,
        ..Bundle::empty(domain("full.test"))
    });
    full.bundle_endpoint = Some(BundleEndpoint {
        url: "https://full.example/bundle".to_owned(),
        profile: BundleEndpointProfile::HttpsSpiffe,
        spiffe_id: Some(SpiffeId::new("spiffe://full.test/bundle/server").unwrap()),
    });
    full.jwt_issuer = Some("https://issuer.example".to_owned());
    full.is_management_zone = true;
    (full.created_at, full.updated_at) = (Timestamp(-5), Timestamp(i64::MAX));
    let mut bare = zone("bare");
    (bare.bundle, bare.bundle_endpoint) = (None, None);
    written(database, async |write| {
        write.insert_organization(&organization()).await?;
        write.insert_trust_zone(&full).await?;
        write.insert_trust_zone(&bare).await
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.trust_zone(&full.id).await.unwrap().as_ref(), Some(&full));
    assert_eq!(read.trust_zones(&TrustZoneFilter::default()).await.unwrap(), [bare.clone(), full.clone()], "by name");
    drop(read);
    std::mem::swap(&mut full.bundle_endpoint, &mut bare.bundle_endpoint);
    std::mem::swap(&mut full.jwt_issuer, &mut bare.jwt_issuer);
    full.bundle = None;
    written(database, async |write| {
        write.update_trust_zone(&full).await?;
        write.update_trust_zone(&bare).await
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.trust_zones(&TrustZoneFilter::default()).await.unwrap(), [bare, full]);
}

pub(crate) async fn trust_zones_are_unique_by_name_and_by_trust_domain<D: Database>(database: &D) {
    two_zones(database).await;
    let attempt = async |change: fn(&mut cofide_core::TrustZone)| {
        let mut new = zone("c");
        change(&mut new);
        taken(attempted(database, async |write| write.insert_trust_zone(&new).await).await)
    };
    assert_eq!(attempt(|zone| zone.id = id("a")).await, "trust zone with id a");
    assert_eq!(attempt(|zone| zone.name = id("a")).await, "trust zone with name \"a\"");
    assert_eq!(attempt(|zone| zone.trust_domain = domain("a.test")).await, "trust zone with trust domain a.test");
}

pub(crate) async fn a_trust_zone_is_not_deleted_while_it_has_clusters<D: Database>(database: &D) {
    two_zones(database).await;
    assert_eq!(used_by(attempted(database, async |write| write.delete_trust_zone(&id("a")).await).await), "cluster one");
}

pub(crate) async fn deleting_a_trust_zone_takes_what_belongs_to_it<D: Database>(database: &D) {
    two_zones(database).await;
    written(database, async |write| {
        write.delete_cluster(&id("one")).await?;
        write.delete_trust_zone(&id("a")).await
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.trust_zone(&id("a")).await.unwrap(), None);
    assert_eq!(read.federations(&FederationFilter::default()).await.unwrap(), [], "on either side");
    let mut left = binding("b", "ping-pong", &[]);
    left.federates_with.clear();
    assert_eq!(read.attestation_policy_bindings(&AttestationPolicyBindingFilter::default()).await.unwrap(), [left]);
}

pub(crate) async fn clusters_are_kept_in_full_and_in_part<D: Database>(database: &D) {
    two_zones(database).await;
    let mut full = cluster("full", "a");
    full.profile = Profile::Istio;
    full.kubernetes_context = Some("kind-a".to_owned());
    full.external_server = true;
    full.oidc_issuer_url = Some("https://issuer.example".to_owned());
    full.oidc_issuer_ca_cert = Some(vec![0, 159, 146, 150]);
    full.trust_provider = Some(Vec::new());
    full.extra_helm_values = Some(vec![1]);
    (full.created_at, full.updated_at) = (Timestamp(3), Timestamp(4));
    written(database, async |write| write.insert_cluster(&full).await).await;
    assert_eq!(database.begin_read().await.unwrap().cluster(&full.id).await.unwrap(), Some(full.clone()));
    let bare = cofide_core::Cluster { id: full.id.clone(), profile: Profile::Kubernetes, ..cluster("full", "a") };
    written(database, async |write| write.update_cluster(&bare).await).await;
    assert_eq!(database.begin_read().await.unwrap().cluster(&full.id).await.unwrap(), Some(bare));
}

pub(crate) async fn cluster_names_are_unique_within_their_zone_only<D: Database>(database: &D) {
    two_zones(database).await;
    let mut same_name = cluster("one", "a");
    same_name.id = id("other");
    let refused = attempted(database, async |write| write.insert_cluster(&same_name).await).await;
    assert_eq!(taken(refused), "cluster with name \"one\" in the same trust zone");
    same_name.trust_zone_id = id("b");
    written(database, async |write| write.insert_cluster(&same_name).await).await;
}

pub(crate) async fn deleting_a_cluster_takes_what_belongs_to_it<D: Database>(database: &D) {
    two_zones(database).await;
    crate::conformance::join_tokens::put(database, 1, "one", "a", 10).await;
    crate::conformance::receipts::put(database, "agent-one", "one", "x").await;
    written(database, async |write| write.delete_cluster(&id("one")).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.agent(&id("agent-one")).await.unwrap(), None);
    assert_eq!(read.join_token_of_cluster(&id("one")).await.unwrap(), None);
    assert_eq!(read.receipts(&Default::default()).await.unwrap(), []);
    assert_eq!(read.federated_services(&Default::default()).await.unwrap(), []);
    assert_eq!(read.agents(&AgentFilter::default()).await.unwrap().len(), 1, "the other cluster keeps its own");
}

pub(crate) async fn a_cluster_has_one_agent<D: Database>(database: &D) {
    two_zones(database).await;
    let refused = attempted(database, async |write| write.insert_agent(&agent("second", "one", "a")).await).await;
    assert_eq!(taken(refused), "agent with cluster one");
    let refused = attempted(database, async |write| write.insert_agent(&agent("agent-one", "two", "b")).await).await;
    assert_eq!(taken(refused), "agent with id agent-one");

    let mut first = agent("agent-one", "one", "a");
    first.status = Some(AgentStatus {
        state: AgentState::Error,
        message: "no gateway".to_owned(),
        unmet_conditions: vec![UnmetCondition {
            hostname: id("server.demo.a.test"),
            kind: ConditionKind::GatewayReady,
            reason: "NoGateway".to_owned(),
            message: "no address is known".to_owned(),
        }],
        updated_at: Timestamp(9),
    });
    written(database, async |write| write.update_agent(&first).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.agent(&first.id).await.unwrap().as_ref(), Some(&first));
    assert_eq!(read.agent_of_cluster(&id("one")).await.unwrap().as_ref(), Some(&first));
    assert_eq!(read.agent_of_cluster(&id("nowhere")).await.unwrap(), None);
    drop(read);
    written(database, async |write| write.delete_agent(&first.id).await).await;
    written(database, async |write| write.insert_agent(&agent("second", "one", "a")).await).await;
}

pub(crate) async fn an_agent_cannot_name_another_zone_than_its_cluster<D: Database>(database: &D) {
    two_zones(database).await;
    let refused = attempted(database, async |write| {
        write.delete_agent(&id("agent-one")).await?;
        write.insert_agent(&agent("stranger", "one", "b")).await
    })
    .await;
    assert!(matches!(refused, Err(StoreError::DanglingReference { noun: "agent", .. })), "{refused:?}");
    let mut stranger = service("other", &cluster("one", "a"), &["b.test"]);
    stranger.trust_zone_id = id("b");
    let refused = attempted(database, async |write| write.insert_federated_service(&stranger).await).await;
    assert!(matches!(refused, Err(StoreError::DanglingReference { noun: "federated service", .. })), "{refused:?}");
}

pub(crate) async fn federations_are_directed_pairs<D: Database>(database: &D) {
    two_zones(database).await;
    let mut again = federation("a", "b");
    again.id = id("again");
    assert_eq!(
        taken(attempted(database, async |write| write.insert_federation(&again).await).await),
        "federation with the direction a -> b"
    );
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.federation(&id("a-b")).await.unwrap(), Some(federation("a", "b")));
    assert_eq!(read.federations(&FederationFilter::default()).await.unwrap().len(), 2, "the way back is another");
    drop(read);
    written(database, async |write| write.delete_federation(&id("a-b")).await).await;
    assert_eq!(database.begin_read().await.unwrap().federations(&FederationFilter::default()).await.unwrap(), [federation("b", "a")]);
}

pub(crate) async fn a_zone_does_not_federate_with_itself<D: Database>(database: &D) {
    two_zones(database).await;
    assert!(attempted(database, async |write| write.insert_federation(&federation("a", "a")).await).await.is_err());
}

pub(crate) async fn policies_of_every_kind_are_kept<D: Database>(database: &D) {
    let labels = LabelSelector {
        match_labels: [("app".to_owned(), "server".to_owned())].into(),
        match_expressions: vec![MatchExpression {
            key: "tier".to_owned(),
            operator: "In".to_owned(),
            values: vec!["a".to_owned(), "b".to_owned()],
        }],
    };
    let mut kubernetes = policy("kubernetes");
    kubernetes.kind = PolicyKind::Kubernetes(KubernetesPolicy {
        namespace_selector: Some(labels.clone()),
        pod_selector: Some(labels),
        dns_name_templates: vec!["{{ .PodMeta.Name }}".to_owned()],
        spiffe_id_path_template: Some("ns/{{ .PodMeta.Namespace }}".to_owned()),
    });
    kubernetes.trust_zone_id = Some(id("kept-as-given"));
    kubernetes.federations = vec![id("b"), id("a")];
    let mut tpm = policy("tpm");
    tpm.kind = PolicyKind::TpmNode(TpmNodePolicy { ek_hash: Some("ab".repeat(32)), selector_values: vec!["x".to_owned()] });
    let all = [kubernetes.clone(), policy("static"), tpm.clone()];
    written(database, async |write| {
        write.insert_organization(&organization()).await?;
        for policy in &all {
            write.insert_attestation_policy(policy).await?;
        }
        Ok(())
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    let mut listed = async |filter: AttestationPolicyFilter| read.attestation_policies(&filter).await.unwrap();
    assert_eq!(listed(AttestationPolicyFilter::default()).await, all, "by name");
    assert_eq!(listed(AttestationPolicyFilter { kind: Some("tpm-node"), ..Default::default() }).await, [tpm.clone()]);
    assert_eq!(listed(AttestationPolicyFilter { ek_hash: Some("ab".repeat(32)), ..Default::default() }).await, [tpm.clone()]);
    assert_eq!(listed(AttestationPolicyFilter { trust_zone_id: Some(id("kept-as-given")), ..Default::default() }).await, [kubernetes]);
    drop(read);
    tpm.kind = policy("tpm").kind;
    written(database, async |write| write.update_attestation_policy(&tpm).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.attestation_policy(&tpm.id).await.unwrap(), Some(tpm));
    let by_hash = AttestationPolicyFilter { ek_hash: Some("ab".repeat(32)), ..Default::default() };
    assert_eq!(read.attestation_policies(&by_hash).await.unwrap(), []);
}

pub(crate) async fn policy_names_are_unique<D: Database>(database: &D) {
    two_zones(database).await;
    let mut same_name = policy("ping-pong");
    same_name.id = id("other");
    let refused = attempted(database, async |write| write.insert_attestation_policy(&same_name).await).await;
    assert_eq!(taken(refused), "attestation policy with name \"ping-pong\"");
}

pub(crate) async fn a_policy_is_not_deleted_while_it_is_bound<D: Database>(database: &D) {
    two_zones(database).await;
    let refused = attempted(database, async |write| write.delete_attestation_policy(&id("ping-pong")).await).await;
    assert_eq!(used_by(refused), "a binding in trust zone a");
    written(database, async |write| {
        write.delete_attestation_policy_binding(&id("a-ping-pong")).await?;
        write.delete_attestation_policy_binding(&id("b-ping-pong")).await?;
        write.delete_attestation_policy(&id("ping-pong")).await
    })
    .await;
    assert_eq!(database.begin_read().await.unwrap().attestation_policies(&Default::default()).await.unwrap(), []);
}

pub(crate) async fn bindings_keep_the_order_of_their_federations<D: Database>(database: &D) {
    two_zones(database).await;
    let mut kept = binding("a", "ping-pong", &["z", "b", "m"]);
    written(database, async |write| {
        write.insert_trust_zone(&zone("m")).await?;
        write.insert_trust_zone(&zone("z")).await?;
        write.update_attestation_policy_binding(&kept).await
    })
    .await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.attestation_policy_binding(&kept.id).await.unwrap().as_ref(), Some(&kept));
    let all = read.attestation_policy_bindings(&AttestationPolicyBindingFilter::default()).await.unwrap();
    assert_eq!(all, [kept.clone(), binding("b", "ping-pong", &["a"])]);
    drop(read);
    kept.federates_with.clear();
    kept.updated_at = Timestamp(7);
    written(database, async |write| write.update_attestation_policy_binding(&kept).await).await;
    assert_eq!(database.begin_read().await.unwrap().attestation_policy_binding(&kept.id).await.unwrap(), Some(kept));
}

pub(crate) async fn a_policy_is_bound_once_in_a_zone<D: Database>(database: &D) {
    two_zones(database).await;
    let mut again = binding("a", "ping-pong", &[]);
    again.id = id("again");
    let refused = attempted(database, async |write| write.insert_attestation_policy_binding(&again).await).await;
    assert_eq!(taken(refused), "attestation policy binding with policy ping-pong in trust zone a");
}

pub(crate) async fn deleting_a_federation_leaves_bindings_alone<D: Database>(database: &D) {
    two_zones(database).await;
    written(database, async |write| write.delete_federation(&id("a-b")).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.attestation_policy_binding(&id("a-ping-pong")).await.unwrap(), Some(binding("a", "ping-pong", &["b"])));
}

pub(crate) async fn federated_services_are_kept_in_full_and_in_part<D: Database>(database: &D) {
    two_zones(database).await;
    let mut full = service("full", &cluster("one", "a"), &["b.test", "other.test", "under_score"]);
    full.workload_labels.insert("tier \"1\"".to_owned(), "ä".to_owned());
    full.port = port(65535);
    full.tls_mode = TlsMode::IstioMtls;
    let named = Gateway { kind: GatewayKind::Ingress, address: GatewayAddress::Hostname(id("gw.example.com")), port: port(1) };
    full.gateway_entries = vec![named, gateway(GatewayKind::EastWest, "2001:db8::1", 15443)];
    full.gateway_specs = vec![gateway(GatewayKind::EastWest, "192.0.2.7", 1)];
    full.spiffe_id_paths = vec![id("/ns/demo/sa/z"), id("/ns/demo/sa/a")];
    (full.created_at, full.updated_at) = (Timestamp(3), Timestamp(4));
    written(database, async |write| write.insert_federated_service(&full).await).await;
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.federated_service(&full.id).await.unwrap().as_ref(), Some(&full));
    drop(read);
    let bare = cofide_core::FederatedService { gateway_entries: Vec::new(), ..service("full", &cluster("one", "a"), &["b.test"]) };
    written(database, async |write| write.update_federated_service(&bare).await).await;
    assert_eq!(database.begin_read().await.unwrap().federated_service(&full.id).await.unwrap(), Some(bare));
    written(database, async |write| write.delete_federated_service(&full.id).await).await;
    assert_eq!(database.begin_read().await.unwrap().federated_service(&full.id).await.unwrap(), None);
}

pub(crate) async fn a_hostname_is_taken_once_in_a_cluster<D: Database>(database: &D) {
    two_zones(database).await;
    let mut again = service("server", &cluster("one", "a"), &["b.test"]);
    again.id = id("again");
    let refused = attempted(database, async |write| write.insert_federated_service(&again).await).await;
    assert_eq!(taken(refused), "federated service with hostname server.demo.a.test in cluster one");
    let third = cluster("three", "a");
    written(database, async |write| {
        write.insert_cluster(&third).await?;
        write.insert_federated_service(&service("server", &third, &["b.test"])).await
    })
    .await;
}

pub(crate) async fn a_service_id_is_taken_once<D: Database>(database: &D) {
    two_zones(database).await;
    let mut again = service("other", &cluster("two", "b"), &["a.test"]);
    again.id = id("one-server");
    let refused = attempted(database, async |write| write.insert_federated_service(&again).await).await;
    assert_eq!(taken(refused), "federated service with id one-server");
}

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

/// Postgres could not keep it, and what one agent says must not fail what is written together with it.
pub(crate) async fn a_text_with_a_nul_is_kept_without_it<D: Database>(database: &D) {
    two_zones(database).await;
    let said = |message: &str| {
        let status =
            AgentStatus { state: AgentState::Running, message: message.to_owned(), unmet_conditions: Vec::new(), updated_at: Timestamp(1) };
        cofide_core::Agent { status: Some(status), ..agent("agent-one", "one", "a") }
    };
    written(database, async |write| write.update_agent(&said("a\0b")).await).await;
    assert_eq!(database.begin_read().await.unwrap().agent(&id("agent-one")).await.unwrap(), Some(said("a\u{fffd}b")));
}

pub(crate) async fn secrets_of_the_control_plane_are_kept_by_name<D: Database>(database: &D) {
    for (name, content) in [("one", "first"), ("two", "other"), ("one", "second")] {
        written(database, async |write| write.put_control_plane_secret(name, content).await).await;
    }
    let mut read = database.begin_read().await.unwrap();
    assert_eq!(read.control_plane_secret("one").await.unwrap().as_deref(), Some("second"));
    assert_eq!(read.control_plane_secret("two").await.unwrap().as_deref(), Some("other"));
    assert_eq!(read.control_plane_secret("three").await.unwrap(), None);
}

pub(crate) async fn an_agent_is_followed_where_a_replica_says_so_for_as_long_as_it_is_there<D: Database>(database: &D) {
    two_zones(database).await;
    let (one, two) = (id("agent-one"), id("agent-two"));
    written(database, async |write| {
        assert!(write.put_replica("x").await? && write.put_replica("y").await?, "new");
        assert!(!write.put_replica("x").await?, "known");
        write.put_agent_stream("x", &one).await?;
        write.put_agent_stream("x", &one).await?;
        write.put_agent_stream("y", &one).await?;
        write.put_agent_stream("y", &two).await
    })
    .await;
    let elsewhere = async |replica: &str| {
        let found = database.begin_read().await.unwrap().agents_followed_elsewhere(replica).await.unwrap();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(elsewhere("x").await, ["agent-one", "agent-two"]);
    assert_eq!(elsewhere("y").await, ["agent-one"]);
    assert_eq!(elsewhere("z").await, ["agent-one", "agent-two"]);
    written(database, async |write| {
        write.purge_replicas().await?;
        write.delete_agent_stream("y", &one).await?;
        write.delete_agent_stream("y", &one).await?;
        write.delete_replica("x").await
    })
    .await;
    assert_eq!(elsewhere("z").await, ["agent-two"], "nobody is purged who was there just now");
    written(database, async |write| write.delete_agent(&two).await).await;
    assert!(elsewhere("z").await.is_empty(), "with the agent its stream goes");
}
