//! Trust zones.

use cofide_core::{Bundle, BundleEndpoint, BundleEndpointProfile, JwtAuthority, SpiffeId, Timestamp, X509Authority};
use cofide_store::{
    AttestationPolicyBindingFilter, AttestationPolicyBindings, ClustersMut, Database, FederationFilter, Federations, OrganizationsMut,
    TrustZoneFilter, TrustZones, TrustZonesMut,
};

use crate::builders::{binding, domain, id, zone};
use crate::objects::{attempted, organization, taken, two_zones, used_by, written};

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
