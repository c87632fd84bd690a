//! The rules of each noun, as a client that manages them as code relies on them: what is not there is NOT_FOUND, a
//! reference to it INVALID_ARGUMENT, a name taken twice ALREADY_EXISTS, the wrong order FAILED_PRECONDITION.

use cofide_api::connect::ap_binding_service::{
    CreateApBindingRequest, DestroyApBindingRequest, GetApBindingRequest, ListApBindingsRequest, UpdateApBindingRequest,
};
use cofide_api::connect::attestation_policy_service::{
    CreateAttestationPolicyRequest, DestroyAttestationPolicyRequest, GetAttestationPolicyRequest, ListAttestationPoliciesRequest,
    UpdateAttestationPolicyRequest, list_attestation_policies_request,
};
use cofide_api::connect::cluster_service::{
    CreateClusterRequest, DestroyClusterRequest, GetClusterRequest, ListClustersRequest, UpdateClusterRequest, list_clusters_request,
};
use cofide_api::connect::federation_service::{
    CreateFederationRequest, DestroyFederationRequest, GetFederationRequest, ListFederationsRequest, list_federations_request,
};
use cofide_api::connect::organization_service::{GetOrganizationRequest, ListOrganizationsRequest, list_organizations_request};
use cofide_api::connect::trust_zone_service::{
    CreateTrustZoneRequest, DestroyTrustZoneRequest, GetTrustZoneRequest, ListTrustZonesRequest, UpdateTrustZoneBundleRequest,
    UpdateTrustZoneRequest, list_trust_zones_request,
};
use cofide_api::spire::types::{Bundle, Selector, X509Certificate};
use cofide_api::types::ap_binding::{ApBinding, ApBindingFederation};
use cofide_api::types::attestation_policy::attestation_policy::Policy;
use cofide_api::types::attestation_policy::{ApKubernetes, ApStatic, AptpmNode, AttestationPolicy, TpmAttestation};
use cofide_api::types::cluster::Cluster;
use cofide_api::types::federation::Federation;
use cofide_api::types::trust_zone::{BundleEndpointProfile, TrustZone};
use tonic::Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
use tonic::Status;

use crate::support::{Authority, Client, Plane, Zone, refused};

fn zone(name: &str, trust_domain: &str) -> TrustZone {
    TrustZone { name: name.into(), trust_domain: trust_domain.into(), ..TrustZone::default() }
}

async fn create_zone(client: &Client, trust_zone: TrustZone) -> Result<TrustZone, Status> {
    let request = CreateTrustZoneRequest { trust_zone: Some(trust_zone) };
    Ok(client.trust_zones().create_trust_zone(request).await?.into_inner().trust_zone.unwrap())
}

async fn update_zone(client: &Client, trust_zone: TrustZone) -> Result<TrustZone, Status> {
    let request = UpdateTrustZoneRequest { trust_zone: Some(trust_zone) };
    Ok(client.trust_zones().update_trust_zone(request).await?.into_inner().trust_zone.unwrap())
}

async fn get_zone(client: &Client, id: &str) -> Result<TrustZone, Status> {
    let request = GetTrustZoneRequest { trust_zone_id: Some(id.into()) };
    Ok(client.trust_zones().get_trust_zone(request).await?.into_inner().trust_zone.unwrap())
}

#[tokio::test]
async fn a_trust_zone_has_a_name_and_a_trust_domain_of_its_own() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let created = create_zone(&admin, zone("a", "a.test")).await.unwrap();
    assert!(created.id().starts_with("tz-"), "{created:?}");
    assert!(created.org_id.is_some() && created.created_at.is_some() && !created.is_management_zone);
    assert_eq!(get_zone(&admin, created.id()).await.unwrap(), created);

    refused(create_zone(&admin, zone("a", "other.test")).await, AlreadyExists, &["name", "a"]);
    refused(create_zone(&admin, zone("other", "a.test")).await, AlreadyExists, &["a.test"]);
    refused(create_zone(&admin, zone("other", "management.local")).await, AlreadyExists, &["management.local"]);
    for (name, trust_domain, path) in [
        ("", "b.test", "trust_zone.name"),
        ("a b", "b.test", "trust_zone.name"),
        ("b", "", "trust_zone.trust_domain"),
        ("b", "B.test", "trust_zone.trust_domain"),
        ("b", "spiffe://b.test", "trust_zone.trust_domain"),
    ] {
        refused(create_zone(&admin, zone(name, trust_domain)).await, InvalidArgument, &[path]);
    }
    let b = || zone("b", "b.test");
    refused(create_zone(&admin, TrustZone { id: Some("tz-mine".into()), ..b() }).await, InvalidArgument, &["trust_zone.id"]);
    refused(
        create_zone(&admin, TrustZone { org_id: Some("org-none".into()), ..b() }).await,
        InvalidArgument,
        &["trust_zone.org_id", "org-none"],
    );
    refused(create_zone(&admin, TrustZone { is_management_zone: true, ..b() }).await, InvalidArgument, &["is_management_zone"]);
    let endpoint = TrustZone { bundle_endpoint_url: Some("http://b.test".into()), ..b() };
    refused(create_zone(&admin, endpoint).await, InvalidArgument, &["trust_zone.bundle_endpoint_url"]);
    let foreign = TrustZone { bundle: Some(Authority::new("a.test").bundle()), ..b() };
    refused(create_zone(&admin, foreign).await, InvalidArgument, &["trust_zone.bundle.trust_domain"]);
    refused(admin.trust_zones().create_trust_zone(CreateTrustZoneRequest::default()).await, InvalidArgument, &["trust_zone"]);
}

#[tokio::test]
async fn a_trust_zone_is_found_by_its_fields_and_missed_when_it_is_gone() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let [a, b] = [plane.zone("a").await.id, plane.zone("b").await.id];
    let list = async |filter: list_trust_zones_request::Filter| {
        let request = ListTrustZonesRequest { filter: Some(filter) };
        let zones = admin.trust_zones().list_trust_zones(request).await.unwrap().into_inner().trust_zones;
        zones.into_iter().filter(|zone| !zone.is_management_zone).map(|zone| zone.id.unwrap()).collect::<Vec<_>>()
    };
    let filter = list_trust_zones_request::Filter::default;
    assert_eq!(list(filter()).await, [a.clone(), b.clone()]);
    assert_eq!(list(list_trust_zones_request::Filter { name: Some("b".into()), ..filter() }).await, std::slice::from_ref(&b));
    assert_eq!(list(list_trust_zones_request::Filter { trust_domain: Some("a.test".into()), ..filter() }).await, std::slice::from_ref(&a));
    let both = list_trust_zones_request::Filter { name: Some("a".into()), trust_domain: Some("b.test".into()), ..filter() };
    assert_eq!(list(both).await, [] as [String; 0], "filters are joined by and");

    let gone = || Some("tz-none".to_owned());
    refused(get_zone(&admin, "tz-none").await, NotFound, &["trust zone", "tz-none"]);
    let request = DestroyTrustZoneRequest { trust_zone_id: gone() };
    refused(admin.trust_zones().destroy_trust_zone(request).await, NotFound, &["tz-none"]);
    refused(update_zone(&admin, TrustZone { id: gone(), ..zone("x", "x.test") }).await, NotFound, &["tz-none"]);
    refused(admin.trust_zones().get_trust_zone(GetTrustZoneRequest::default()).await, InvalidArgument, &["trust_zone_id"]);
}

#[tokio::test]
async fn an_update_of_a_trust_zone_keeps_what_it_does_not_mention_and_what_cannot_change() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let created = create_zone(&admin, zone("a", "a.test")).await.unwrap();
    let with_endpoint = TrustZone {
        bundle_endpoint_url: Some("https://a.test:8443".into()),
        bundle_endpoint_profile: Some(BundleEndpointProfile::HttpsSpiffe.into()),
        bundle: Some(Authority::new("a.test").bundle()),
        ..created.clone()
    };
    let updated = update_zone(&admin, with_endpoint.clone()).await.unwrap();
    assert_eq!((&updated.bundle_endpoint_url, &updated.bundle), (&with_endpoint.bundle_endpoint_url, &with_endpoint.bundle));
    let silent = TrustZone { jwt_issuer: Some("https://issuer.test".into()), ..created.clone() };
    let updated = update_zone(&admin, silent).await.unwrap();
    assert_eq!((&updated.bundle_endpoint_url, &updated.bundle), (&with_endpoint.bundle_endpoint_url, &with_endpoint.bundle));
    assert_eq!(updated.jwt_issuer(), "https://issuer.test");

    refused(update_zone(&admin, TrustZone { name: "z".into(), ..created.clone() }).await, InvalidArgument, &["trust_zone.name"]);
    refused(update_zone(&admin, TrustZone { trust_domain: "z.test".into(), ..created.clone() }).await, InvalidArgument, &["trust_domain"]);
    refused(update_zone(&admin, TrustZone { is_management_zone: true, ..created.clone() }).await, InvalidArgument, &["is_management_zone"]);
    refused(update_zone(&admin, TrustZone { org_id: Some("org-x".into()), ..created }).await, InvalidArgument, &["trust_zone.org_id"]);
}

#[tokio::test]
async fn a_bundle_is_replaced_by_the_rules_of_bundles() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let a = plane.zone("a").await;
    let update = async |bundle: Bundle| {
        let request = UpdateTrustZoneBundleRequest { bundle: Some(bundle), trust_zone_id: a.id.clone() };
        admin.trust_zones().update_trust_zone_bundle(request).await
    };
    let stored = async || get_zone(&admin, &a.id).await.unwrap().bundle.unwrap();
    let bundle = |sequence_number| Bundle { sequence_number, refresh_hint: 60, ..a.authority.bundle() };

    refused(update(Bundle { x509_authorities: vec![], ..bundle(1) }).await, InvalidArgument, &["bundle.x509_authorities"]);
    update(bundle(5)).await.unwrap();
    assert_eq!(stored().await, bundle(5));
    update(Bundle { x509_authorities: vec![], refresh_hint: 30, ..bundle(6) }).await.unwrap();
    assert_eq!(stored().await, Bundle { refresh_hint: 30, ..bundle(6) }, "absent lists leave what is stored, counters are taken");
    update(bundle(4)).await.unwrap();
    assert_eq!(stored().await, bundle(4), "a user may go back: a rebuilt SPIFFE server counts anew");
    let rebuilt = Bundle { sequence_number: 1, ..Authority::new("a.test").bundle() };
    update(rebuilt.clone()).await.unwrap();
    assert_eq!(stored().await.x509_authorities, rebuilt.x509_authorities, "and replace every authority");
    refused(update(Authority::new("b.test").bundle()).await, InvalidArgument, &["bundle.trust_domain", "a.test", "b.test"]);
    let mut garbage = bundle(7);
    garbage.x509_authorities[0].asn1 = vec![1, 2, 3];
    refused(update(garbage).await, InvalidArgument, &["bundle.x509_authorities[0].asn1"]);

    let request = UpdateTrustZoneBundleRequest { bundle: Some(bundle(8)), trust_zone_id: "tz-none".into() };
    refused(admin.trust_zones().update_trust_zone_bundle(request).await, NotFound, &["tz-none"]);
    let request = UpdateTrustZoneBundleRequest { bundle: Some(bundle(8)), trust_zone_id: String::new() };
    refused(admin.trust_zones().update_trust_zone_bundle(request).await, InvalidArgument, &["trust_zone_id"]);
}

/// The certificate of an authority, as one that names no trust domain: `spiffe` becomes a scheme that means nothing.
fn nameless(authority: &Authority) -> Vec<u8> {
    let mut der = authority.bundle().x509_authorities.remove(0).asn1;
    let place = der.windows(9).position(|bytes| bytes == b"spiffe://").unwrap();
    der[place..place + 6].copy_from_slice(b"spoffe");
    der
}

#[tokio::test]
async fn the_bundle_of_another_zone_is_not_taken_for_this_ones() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let update = async |zone: &Zone, x509_authorities: Vec<Vec<u8>>| {
        let x509_authorities = x509_authorities.into_iter().map(|asn1| X509Certificate { asn1, tainted: false }).collect();
        let bundle = Bundle { x509_authorities, ..zone.authority.bundle() };
        let request = UpdateTrustZoneBundleRequest { bundle: Some(bundle), trust_zone_id: zone.id.clone() };
        admin.trust_zones().update_trust_zone_bundle(request).await
    };
    let own = |zone: &Zone| zone.authority.bundle().x509_authorities.remove(0).asn1;

    let names = ["bundle.x509_authorities[1]", "spiffe://b.test", "a.test"];
    refused(update(&a, vec![own(&a), own(&b)]).await, InvalidArgument, &names);
    // An upstream authority need not name the trust domain; then only the zone that has it tells.
    let upstream = nameless(&b.authority);
    update(&b, vec![upstream.clone()]).await.unwrap();
    let names = ["bundle.x509_authorities[0]", "trust zone b (b.test)", "take the bundle of a.test"];
    refused(update(&a, vec![upstream.clone()]).await, InvalidArgument, &names);
    update(&b, vec![upstream.clone(), own(&b)]).await.expect("it stays with the zone that has it");

    let bundle = Bundle { x509_authorities: vec![X509Certificate { asn1: upstream, tainted: false }], ..Authority::new("c.test").bundle() };
    let zone = TrustZone { name: "c".into(), trust_domain: "c.test".into(), bundle: Some(bundle), ..TrustZone::default() };
    let created = admin.trust_zones().create_trust_zone(CreateTrustZoneRequest { trust_zone: Some(zone) }).await;
    refused(created, InvalidArgument, &["trust_zone.bundle.x509_authorities[0]", "trust zone b"]);
}

#[tokio::test]
async fn the_control_planes_own_zone_is_not_for_others() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let zones = admin.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await.unwrap().into_inner().trust_zones;
    let [own] = zones.try_into().unwrap();
    let TrustZone { id: Some(id), .. } = &own else { panic!("{own:?}") };
    assert!(own.is_management_zone && own.trust_domain == "management.local" && own.bundle.is_some());

    let destroyed = admin.trust_zones().destroy_trust_zone(DestroyTrustZoneRequest { trust_zone_id: Some(id.clone()) }).await;
    refused(destroyed, FailedPrecondition, &["management"]);
    let usurper = Authority::new("management.local").bundle();
    let request = UpdateTrustZoneBundleRequest { bundle: Some(usurper.clone()), trust_zone_id: id.clone() };
    refused(admin.trust_zones().update_trust_zone_bundle(request).await, FailedPrecondition, &["management"]);
    refused(update_zone(&admin, TrustZone { bundle: Some(usurper), ..own.clone() }).await, FailedPrecondition, &["management"]);
    let cluster = Cluster { name: Some("c".into()), trust_zone_id: Some(id.clone()), ..Cluster::default() };
    refused(create_cluster(&admin, cluster).await, FailedPrecondition, &["management"]);
    update_zone(&admin, own).await.expect("saying what is so already is no change");
}

async fn create_cluster(client: &Client, cluster: Cluster) -> Result<Cluster, Status> {
    let request = CreateClusterRequest { cluster: Some(cluster) };
    Ok(client.clusters().create_cluster(request).await?.into_inner().cluster.unwrap())
}

async fn update_cluster(client: &Client, cluster: Cluster) -> Result<Cluster, Status> {
    let request = UpdateClusterRequest { cluster: Some(cluster) };
    Ok(client.clusters().update_cluster(request).await?.into_inner().cluster.unwrap())
}

#[tokio::test]
async fn a_cluster_has_a_name_of_its_own_within_its_zone() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let cluster = |zone: &Zone, name: &str| Cluster { name: Some(name.into()), trust_zone_id: Some(zone.id.clone()), ..Cluster::default() };
    let created = create_cluster(&admin, cluster(&a, "one")).await.unwrap();
    create_cluster(&admin, cluster(&b, "one")).await.expect("the same name in another zone is another name");

    refused(create_cluster(&admin, cluster(&a, "one")).await, AlreadyExists, &["one"]);
    refused(create_cluster(&admin, cluster(&a, "")).await, InvalidArgument, &["cluster.name"]);
    let unknown = Cluster { trust_zone_id: Some("tz-none".into()), ..cluster(&a, "two") };
    refused(create_cluster(&admin, unknown).await, InvalidArgument, &["cluster.trust_zone_id", "tz-none"]);
    let profile = Cluster { profile: Some("windows".into()), ..cluster(&a, "two") };
    refused(create_cluster(&admin, profile).await, InvalidArgument, &["cluster.profile", "windows", "host"]);
    let issuer = Cluster { oidc_issuer_url: Some("http://issuer.test".into()), ..cluster(&a, "two") };
    refused(create_cluster(&admin, issuer).await, InvalidArgument, &["cluster.oidc_issuer_url"]);
    refused(create_cluster(&admin, Cluster { id: Some("cl-mine".into()), ..cluster(&a, "two") }).await, InvalidArgument, &["cluster.id"]);

    let changed = Cluster { external_server: Some(true), oidc_issuer_url: Some("https://issuer.test/".into()), ..created.clone() };
    let changed = update_cluster(&admin, changed).await.unwrap();
    assert_eq!((changed.external_server(), changed.oidc_issuer_url()), (true, "https://issuer.test"));
    let cleared = update_cluster(&admin, created.clone()).await.unwrap();
    assert_eq!((cleared.external_server(), &cleared.oidc_issuer_url), (false, &None), "an update replaces everything that can change");
    refused(update_cluster(&admin, Cluster { name: Some("x".into()), ..created.clone() }).await, InvalidArgument, &["cluster.name"]);
    refused(
        update_cluster(&admin, Cluster { profile: Some("istio".into()), ..created.clone() }).await,
        InvalidArgument,
        &["cluster.profile"],
    );
    refused(
        update_cluster(&admin, Cluster { trust_zone_id: Some(b.id.clone()), ..created.clone() }).await,
        InvalidArgument,
        &["trust_zone_id"],
    );
    refused(update_cluster(&admin, Cluster { id: Some("cl-none".into()), ..created.clone() }).await, NotFound, &["cl-none"]);

    let list =
        ListClustersRequest { filter: Some(list_clusters_request::Filter { trust_zone_id: Some(a.id.clone()), ..Default::default() }) };
    assert_eq!(admin.clusters().list_clusters(list).await.unwrap().into_inner().clusters.len(), 1);
    let request = DestroyClusterRequest { cluster_id: created.id.clone() };
    admin.clusters().destroy_cluster(request.clone()).await.unwrap();
    refused(admin.clusters().destroy_cluster(request).await, NotFound, &["cluster"]);
    refused(admin.clusters().get_cluster(GetClusterRequest { cluster_id: created.id }).await, NotFound, &["cluster"]);
}

#[tokio::test]
async fn a_trust_zone_goes_after_its_clusters_and_takes_the_rest_along() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let cluster = plane.cluster(&a, "one").await;
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    let policy = create_policy(&admin, static_policy("p")).await.unwrap();
    create_binding(&admin, binding(&a, &policy, &[&b.id])).await.unwrap();

    let destroy = DestroyTrustZoneRequest { trust_zone_id: Some(a.id.clone()) };
    let answer = admin.trust_zones().destroy_trust_zone(destroy.clone()).await;
    refused(answer, FailedPrecondition, &["one", "cofidectl cluster del one --trust-zone a"]);
    admin.clusters().destroy_cluster(DestroyClusterRequest { cluster_id: Some(cluster) }).await.unwrap();
    admin.trust_zones().destroy_trust_zone(destroy).await.unwrap();
    let federations = admin.federations().list_federations(ListFederationsRequest::default()).await.unwrap().into_inner().federations;
    let bindings = admin.bindings().list_ap_bindings(ListApBindingsRequest::default()).await.unwrap().into_inner().bindings;
    assert_eq!((federations.len(), bindings.len()), (0, 0));
}

#[tokio::test]
async fn a_federation_is_one_direction_between_two_zones() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let create = async |from: &str, to: &str| {
        let federation = Federation { trust_zone_id: Some(from.into()), remote_trust_zone_id: Some(to.into()), ..Federation::default() };
        let request = CreateFederationRequest { federation: Some(federation) };
        Ok::<_, Status>(admin.federations().create_federation(request).await?.into_inner().federation.unwrap())
    };
    let there = create(&a.id, &b.id).await.unwrap();
    create(&b.id, &a.id).await.expect("the way back is another federation");
    refused(create(&a.id, &b.id).await, AlreadyExists, &["federation already exists between a and b"]);
    refused(create(&a.id, &a.id).await, InvalidArgument, &["cannot federate trust zone a with itself"]);
    refused(create("tz-none", &b.id).await, InvalidArgument, &["federation.trust_zone_id", "tz-none"]);
    refused(create(&a.id, "tz-none").await, InvalidArgument, &["federation.remote_trust_zone_id", "tz-none"]);
    refused(create(&a.id, "").await, InvalidArgument, &["federation.remote_trust_zone_id"]);

    let filter = list_federations_request::Filter { remote_trust_zone_id: Some(b.id.clone()), ..Default::default() };
    let listed = admin.federations().list_federations(ListFederationsRequest { filter: Some(filter) }).await.unwrap().into_inner();
    assert_eq!(listed.federations, std::slice::from_ref(&there));
    let id = there.id.unwrap();
    admin.federations().get_federation(GetFederationRequest { federation_id: id.clone() }).await.unwrap();
    let destroy = DestroyFederationRequest { federation_id: Some(id.clone()) };
    admin.federations().destroy_federation(destroy.clone()).await.unwrap();
    refused(admin.federations().destroy_federation(destroy).await, NotFound, &["federation"]);
    refused(admin.federations().get_federation(GetFederationRequest { federation_id: id }).await, NotFound, &["federation"]);
}

pub(crate) fn static_policy(name: &str) -> AttestationPolicy {
    let policy = ApStatic {
        spiffe_id_path: Some("ns/demo/sa/server".into()),
        parent_id_path: Some("agent".into()),
        selectors: vec![Selector { r#type: "unix".into(), value: "uid:1000".into() }],
        ..ApStatic::default()
    };
    AttestationPolicy { name: name.into(), policy: Some(Policy::Static(policy)), ..AttestationPolicy::default() }
}

pub(crate) async fn create_policy(client: &Client, policy: AttestationPolicy) -> Result<AttestationPolicy, Status> {
    let request = CreateAttestationPolicyRequest { policy: Some(policy) };
    Ok(client.policies().create_attestation_policy(request).await?.into_inner().policy.unwrap())
}

#[tokio::test]
async fn policies_of_all_three_kinds_are_kept_under_names_of_their_own() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let kubernetes = ApKubernetes { spiffe_id_path_template: Some("ns/{{ .PodMeta.Namespace }}".into()), ..ApKubernetes::default() };
    let tpm = AptpmNode { attestation: Some(TpmAttestation { ek_hash: Some("ab".repeat(32)) }), selector_values: vec!["x".into()] };
    let of = |name: &str, policy| AttestationPolicy { name: name.into(), policy: Some(policy), ..AttestationPolicy::default() };
    let all = [static_policy("s"), of("k", Policy::Kubernetes(kubernetes)), of("t", Policy::TpmNode(tpm))];
    for policy in all.clone() {
        let created = create_policy(&admin, policy).await.unwrap();
        let get = GetAttestationPolicyRequest { policy_id: created.id.clone() };
        assert_eq!(admin.policies().get_attestation_policy(get).await.unwrap().into_inner().policy.unwrap(), created);
    }
    for (kind, name) in [(1, "k"), (2, "s"), (3, "t")] {
        let filter = list_attestation_policies_request::Filter { kind: Some(kind), ..Default::default() };
        let request = ListAttestationPoliciesRequest { filter: Some(filter) };
        let listed = admin.policies().list_attestation_policies(request).await.unwrap().into_inner().policies;
        assert_eq!(listed.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), [name]);
    }

    refused(create_policy(&admin, static_policy("s")).await, AlreadyExists, &["s"]);
    refused(create_policy(&admin, AttestationPolicy { policy: None, ..static_policy("x") }).await, InvalidArgument, &["policy"]);
    refused(create_policy(&admin, AttestationPolicy { name: String::new(), ..static_policy("x") }).await, InvalidArgument, &["name"]);
    let zone = AttestationPolicy { trust_zone_id: "tz-none".into(), ..static_policy("x") };
    refused(create_policy(&admin, zone).await, InvalidArgument, &["attestation_policy.trust_zone_id", "tz-none"]);

    let request = UpdateAttestationPolicyRequest { policy: Some(AttestationPolicy { id: Some("ap-none".into()), ..static_policy("x") }) };
    refused(admin.policies().update_attestation_policy(request).await, NotFound, &["ap-none"]);
    let request = DestroyAttestationPolicyRequest { policy_id: Some("ap-none".into()) };
    refused(admin.policies().destroy_attestation_policy(request).await, NotFound, &["ap-none"]);
    let request = GetAttestationPolicyRequest { policy_id: Some("ap-none".into()) };
    refused(admin.policies().get_attestation_policy(request).await, NotFound, &["ap-none"]);
}

fn binding(zone: &Zone, policy: &AttestationPolicy, federates_with: &[&str]) -> ApBinding {
    ApBinding {
        trust_zone_id: Some(zone.id.clone()),
        policy_id: policy.id.clone(),
        federations: federates_with.iter().map(|id| ApBindingFederation { trust_zone_id: Some((*id).into()) }).collect(),
        ..ApBinding::default()
    }
}

async fn create_binding(client: &Client, binding: ApBinding) -> Result<ApBinding, Status> {
    let request = CreateApBindingRequest { binding: Some(binding) };
    Ok(client.bindings().create_ap_binding(request).await?.into_inner().binding.unwrap())
}

async fn update_binding(client: &Client, binding: ApBinding) -> Result<ApBinding, Status> {
    let request = UpdateApBindingRequest { binding: Some(binding) };
    Ok(client.bindings().update_ap_binding(request).await?.into_inner().binding.unwrap())
}

#[tokio::test]
async fn a_binding_federates_only_with_zones_that_its_zone_trusts_already() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let policy = create_policy(&admin, static_policy("p")).await.unwrap();

    let path = "ap_binding.federations[0].trust_zone_id";
    let remedy = "cofidectl federation add --trust-zone a --remote-trust-zone b";
    refused(create_binding(&admin, binding(&a, &policy, &[&b.id])).await, FailedPrecondition, &[path, remedy]);
    plane.federate(&b, &a).await;
    refused(create_binding(&admin, binding(&a, &policy, &[&b.id])).await, FailedPrecondition, &[remedy]);
    refused(create_binding(&admin, binding(&a, &policy, &[&a.id])).await, InvalidArgument, &[path, "own trust zone"]);
    refused(create_binding(&admin, binding(&a, &policy, &["tz-none"])).await, InvalidArgument, &[path, "tz-none"]);
    let unknown = AttestationPolicy { id: Some("ap-none".into()), ..policy.clone() };
    refused(create_binding(&admin, binding(&a, &unknown, &[])).await, InvalidArgument, &["ap_binding.policy_id", "ap-none"]);
    let zone = ApBinding { trust_zone_id: Some("tz-none".into()), ..binding(&a, &policy, &[]) };
    refused(create_binding(&admin, zone).await, InvalidArgument, &["ap_binding.trust_zone_id", "tz-none"]);

    let created = create_binding(&admin, binding(&a, &policy, &[])).await.unwrap();
    refused(create_binding(&admin, binding(&a, &policy, &[])).await, AlreadyExists, &["p", "a"]);
    let wider = ApBinding { id: created.id.clone(), ..binding(&a, &policy, &[&b.id]) };
    refused(update_binding(&admin, wider.clone()).await, FailedPrecondition, &[remedy]);
    let federation = plane.federate(&a, &b).await;
    assert_eq!(update_binding(&admin, wider.clone()).await.unwrap().federations.len(), 1);
    let moved = ApBinding { trust_zone_id: Some(b.id.clone()), ..wider.clone() };
    refused(update_binding(&admin, moved).await, InvalidArgument, &["ap_binding.trust_zone_id"]);
    refused(update_binding(&admin, ApBinding { id: Some("apb-none".into()), ..wider.clone() }).await, NotFound, &["apb-none"]);

    let destroy = DestroyAttestationPolicyRequest { policy_id: policy.id.clone() };
    let answer = admin.policies().destroy_attestation_policy(destroy.clone()).await;
    refused(answer, FailedPrecondition, &["cofidectl attestation-policy-binding del --trust-zone a --attestation-policy p"]);
    admin.federations().destroy_federation(DestroyFederationRequest { federation_id: Some(federation) }).await.unwrap();
    let get = GetApBindingRequest { binding_id: created.id.clone() };
    let kept = admin.bindings().get_ap_binding(get.clone()).await.unwrap().into_inner().binding.unwrap();
    assert_eq!(kept.federations.len(), 1, "taking a federation away touches no binding");

    let destroy_binding = DestroyApBindingRequest { binding_id: created.id };
    admin.bindings().destroy_ap_binding(destroy_binding.clone()).await.unwrap();
    refused(admin.bindings().destroy_ap_binding(destroy_binding).await, NotFound, &["binding"]);
    refused(admin.bindings().get_ap_binding(get).await, NotFound, &["binding"]);
    admin.policies().destroy_attestation_policy(destroy).await.expect("nothing binds it any more");
}

#[tokio::test]
async fn there_is_one_organization_and_it_has_the_configured_name() {
    let plane = Plane::start_with(|config| config.organization = "acme".into()).await;
    let admin = plane.admin().await;
    let listed = admin.organizations().list_organizations(ListOrganizationsRequest::default()).await.unwrap().into_inner().organizations;
    let [organization] = listed.try_into().unwrap();
    assert_eq!(organization.name, "acme");
    let request = GetOrganizationRequest { org_id: Some(organization.id.clone()) };
    assert_eq!(admin.organizations().get_organization(request).await.unwrap().into_inner().organization, Some(organization));
    let filter = list_organizations_request::Filter { name: Some("other".into()) };
    let request = ListOrganizationsRequest { filter: Some(filter) };
    assert!(admin.organizations().list_organizations(request).await.unwrap().into_inner().organizations.is_empty());
    let request = GetOrganizationRequest { org_id: Some("org-none".into()) };
    refused(admin.organizations().get_organization(request).await, NotFound, &["organization", "org-none"]);
}
