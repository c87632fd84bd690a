//! Partners outside of this control plane: the bundles that it publishes for them, those that it fetches from them, and those
//! that are carried.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofide_api::connect::bundle_package_service::{ExportBundlePackageRequest, ImportBundlePackageRequest, ImportBundlePackageResponse};
use cofide_api::connect::federation_service::{CreateFederationRequest, ListFederationsRequest};
use cofide_api::connect::receipt_service::federation_status::State;
use cofide_api::connect::receipt_service::{FederationStatus, ListFederationStatusesRequest};
use cofide_api::connect::trust_zone_service::{CreateTrustZoneRequest, GetTrustZoneRequest, UpdateTrustZoneBundleRequest};
use cofide_api::types::federation::Federation;
use cofide_api::types::trust_zone::{BundleEndpointProfile, TrustZone};
use cofide_bundle_endpoint::{BundleClient, BundleEndpoint, Profile, WebRoots};
use cofide_core::{Bundle, TrustDomain};
use cofide_svid::BundleSet;
use cofide_svid::bundle::to_jwks;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Status};

use crate::support::{Authority, Plane, eventually, refused};

/// A certificate for 127.0.0.1 that signs itself, and its key.
fn web_certificate(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf, Arc<rustls::ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
    let (certificate_file, key_file) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    cofide_runtime::files::write_atomic(&key_file, key.serialize_pem().as_bytes(), cofide_runtime::files::Mode::Secret).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (certificate_file, key_file, Arc::new(config))
}

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

fn numbered(authority: &Authority, sequence_number: u64) -> Bundle {
    Bundle { sequence_number, ..authority.bundle().try_into().unwrap() }
}

async fn get_zone(plane: &Plane, id: &str) -> TrustZone {
    let request = GetTrustZoneRequest { trust_zone_id: Some(id.to_owned()) };
    plane.admin().await.trust_zones().get_trust_zone(request).await.unwrap().into_inner().trust_zone.unwrap()
}

#[tokio::test]
async fn every_zones_bundle_is_served_to_whoever_asks_and_kept_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key, _) = web_certificate(folder.path());
    let published = folder.path().join("published");
    let plane = Plane::start_with(|config| {
        config.bundle_endpoint_address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.bundle_endpoint_certificate_file = Some(certificate.clone());
        config.bundle_endpoint_key_file = Some(key);
        config.bundle_endpoint_url = Some("https://bundles.example.com/".into());
        config.bundle_folder = Some(published.clone());
    })
    .await;
    let a = plane.zone("a").await;
    let zone = get_zone(&plane, &a.id).await;
    assert_eq!(zone.bundle_endpoint_url.as_deref(), Some("https://bundles.example.com/a/bundle"));
    assert_eq!(zone.bundle_endpoint_profile(), BundleEndpointProfile::HttpsWeb);

    let address = plane.bundle_endpoint_address();
    let client = BundleClient {
        bundles: Arc::new(BundleSet::new()),
        timeout: Duration::from_secs(10),
        web_roots: WebRoots::new(Some(certificate), "web_roots"),
    };
    let fetch = async |zone: &str| {
        let url = format!("https://{address}/{zone}/bundle").parse().unwrap();
        client.fetch(&BundleEndpoint { trust_domain: domain("a.test"), url, profile: Profile::HttpsWeb }).await
    };
    assert!(fetch("a").await.unwrap_err().to_string().contains("404"), "it has no bundle yet");
    assert!(fetch("b").await.unwrap_err().to_string().contains("404"));
    let request = UpdateTrustZoneBundleRequest { bundle: Some((&numbered(&a.authority, 7)).into()), trust_zone_id: a.id.clone() };
    plane.admin().await.trust_zones().update_trust_zone_bundle(request).await.unwrap();
    let served = fetch("a").await.unwrap();
    assert!(served.same_authorities(&numbered(&a.authority, 7)));
    assert_eq!((served.sequence_number, served.refresh_hint), (7, 300));

    let file = published.join("a/bundle");
    let written = eventually(async || std::fs::read(&file).unwrap_or_default(), |written| !written.is_empty()).await;
    assert_eq!(cofide_svid::bundle::from_jwks(&domain("a.test"), &written).unwrap(), served);
    // Somebody else's, in the same folder.
    std::fs::create_dir(published.join("other")).unwrap();
    std::fs::write(published.join("other/bundle"), "mine").unwrap();
    let request = cofide_api::connect::trust_zone_service::DestroyTrustZoneRequest { trust_zone_id: Some(a.id.clone()) };
    plane.admin().await.trust_zones().destroy_trust_zone(request).await.unwrap();
    eventually(async || file.exists(), |exists| !exists).await;
    assert!(published.join("other/bundle").exists(), "what is not this program's is left alone");
    assert!(fetch("a").await.unwrap_err().to_string().contains("404"));
}

/// A partner's bundle endpoint: whatever it is told to say.
async fn partner(config: Arc<rustls::ServerConfig>, document: Arc<Mutex<String>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, document) = (TlsAcceptor::from(config.clone()), document.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read(&mut [0; 4096]).await;
                let body = document.lock().unwrap().clone();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

async fn trusts(plane: &Plane, zone: &str, remote: &str) -> FederationStatus {
    let request = ListFederationStatusesRequest::default();
    let statuses = plane.admin().await.receipts().list_federation_statuses(request).await.unwrap().into_inner().statuses;
    statuses.into_iter().find(|status| status.trust_zone_id == zone && status.remote_trust_zone_id == remote).unwrap()
}

#[tokio::test]
async fn the_bundle_of_a_partner_without_clusters_is_fetched_again_and_again_and_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, _, server) = web_certificate(folder.path());
    let plane = Plane::start_with(|config| {
        config.web_roots_file = Some(certificate);
        config.bundle_poll_interval = Duration::from_secs(1);
    })
    .await;
    let a = plane.zone("a").await;
    let authority = Authority::new("partner.test");
    // A hint of one second: it is polled as often as the configuration allows.
    let document = |bundle: &Bundle| to_jwks(&Bundle { refresh_hint: 1, ..bundle.clone() });
    let says = Arc::new(Mutex::new(document(&numbered(&authority, 5))));
    let address = partner(server, says.clone()).await;
    let zone = TrustZone {
        name: "partner".into(),
        trust_domain: "partner.test".into(),
        bundle_endpoint_url: Some(format!("https://{address}/bundle")),
        bundle_endpoint_profile: Some(BundleEndpointProfile::HttpsWeb.into()),
        ..TrustZone::default()
    };
    let request = CreateTrustZoneRequest { trust_zone: Some(zone) };
    let zone = plane.admin().await.trust_zones().create_trust_zone(request).await.unwrap().into_inner().trust_zone.unwrap();
    let federation = Federation { trust_zone_id: Some(a.id.clone()), remote_trust_zone_id: zone.id.clone(), ..Federation::default() };
    let request = CreateFederationRequest { federation: Some(federation) };
    plane.admin().await.federations().create_federation(request).await.unwrap();
    let sequence = async || get_zone(&plane, zone.id()).await.bundle.map_or(0, |bundle| bundle.sequence_number);
    eventually(sequence, |sequence| *sequence == 5).await;

    let mut rotated = authority.clone();
    rotated.0.prepare(std::time::SystemTime::now()).unwrap();
    *says.lock().unwrap() = document(&numbered(&rotated, 6));
    eventually(sequence, |sequence| *sequence == 6).await;

    // What is older, empty, of somebody else or no bundle at all harms nobody, and is told.
    let reason = async || trusts(&plane, &a.id, zone.id()).await.reason;
    for (bad, expected) in [
        (document(&numbered(&authority, 5)), "older than 6"),
        ("{\"keys\": []}".to_owned(), "without authorities"),
        (document(&numbered(&Authority::new("other.test"), 9)), "other.test"),
        ("<html>".to_owned(), "no JWK set"),
    ] {
        *says.lock().unwrap() = bad;
        let said = eventually(reason, |reason| reason.contains(expected)).await;
        assert!(said.contains("its bundle endpoint fails since"), "{said}");
        assert_eq!(sequence().await, 6, "{expected}");
    }
    // A partner may begin anew with other authorities, as long as it counts on.
    *says.lock().unwrap() = document(&numbered(&Authority::new("partner.test"), 7));
    eventually(sequence, |sequence| *sequence == 7).await;
    let well = eventually(async || trusts(&plane, &a.id, zone.id()).await, |status| !status.reason.contains("fails")).await;
    assert_eq!(well.state(), State::Unknown, "no agent of a has joined");
}

async fn export(plane: &Plane, zone: &str, ttl: Option<Duration>) -> Result<(String, String, u64), Status> {
    let ttl = ttl.map(|ttl| ttl.try_into().unwrap());
    let request = ExportBundlePackageRequest { trust_zone_id: zone.to_owned(), ttl };
    let answer = plane.admin().await.bundle_packages().export_bundle_package(request).await?.into_inner();
    Ok((answer.package, answer.signer_public_key, answer.sequence_number))
}

async fn import(plane: &Plane, package: &str, signer: Option<&str>) -> Result<ImportBundlePackageResponse, Status> {
    let request = ImportBundlePackageRequest { package: package.to_owned(), signer_public_key: signer.map(str::to_owned), name: None };
    Ok(plane.admin().await.bundle_packages().import_bundle_package(request).await?.into_inner())
}

#[tokio::test]
async fn a_package_carries_trust_once_forward_and_from_its_signer_alone() {
    let (from, to) = (Plane::start().await, Plane::start().await);
    let a = from.zone("a").await;
    refused(export(&from, &a.id, None).await, Code::FailedPrecondition, &["has not delivered its bundle"]);
    from.joined(&a, "one").await;
    let (first, signer, sequence) = export(&from, &a.id, None).await.unwrap();
    assert_eq!(sequence, 1);
    let (second, ..) = export(&from, &a.id, None).await.unwrap();

    refused(import(&to, &first, None).await, Code::InvalidArgument, &["signer_public_key", "needed with the first package of a.test"]);
    let imported = import(&to, &first, Some(&signer)).await.unwrap();
    let zone = imported.trust_zone.unwrap();
    assert_eq!((zone.name.as_str(), zone.trust_domain.as_str(), imported.sequence_number), ("a.test", "a.test", 1));
    let held: Bundle = zone.bundle.clone().unwrap().try_into().unwrap();
    assert!(held.same_authorities(&a.authority.bundle().try_into().unwrap()));

    // Once, and forward: the signer is known by now.
    refused(import(&to, &first, None).await, Code::FailedPrecondition, &["sequence number 1", "package 1 of a.test was imported already"]);
    assert_eq!(import(&to, &second, None).await.unwrap().sequence_number, 2);
    refused(import(&to, &first, None).await, Code::FailedPrecondition, &["package 2 of a.test was imported already"]);

    // Another Connect that speaks for the same trust domain.
    let impostor = Plane::start().await;
    let theirs = impostor.zone("a").await;
    impostor.joined(&theirs, "one").await;
    for _ in 0..3 {
        export(&impostor, &theirs.id, None).await.unwrap();
    }
    let (forged, other_signer, sequence) = export(&impostor, &theirs.id, None).await.unwrap();
    assert_eq!(sequence, 4);
    refused(import(&to, &forged, None).await, Code::InvalidArgument, &["signed by key"]);
    refused(import(&to, &forged, Some(&other_signer)).await, Code::FailedPrecondition, &["this is another"]);

    // What is one's own is nobody else's to say.
    let (own, own_signer, _) = export(&from, &a.id, None).await.unwrap();
    refused(import(&from, &own, Some(&own_signer)).await, Code::FailedPrecondition, &["has clusters here"]);
    for (ttl, expected) in [(Duration::ZERO, "more than nothing"), (Duration::from_secs(366 * 24 * 3600), "at most 365 days")] {
        refused(export(&from, &a.id, Some(ttl)).await, Code::InvalidArgument, &[expected]);
    }
    let (short, ..) = export(&from, &a.id, Some(Duration::from_secs(1))).await.unwrap();
    let expired = async || import(&to, &short, None).await.err().map(|status| status.message().to_owned()).unwrap_or_default();
    // It is taken while it is good, and from then on it is a replay; the expiry is told first.
    eventually(expired, |message| message.contains("expired")).await;
    let federations = to.admin().await.federations().list_federations(ListFederationsRequest::default()).await.unwrap();
    assert!(federations.into_inner().federations.is_empty(), "an import alone makes nobody trust it");
}

#[tokio::test]
async fn the_key_of_packages_is_kept_and_the_numbers_too() {
    let plane = Plane::start().await;
    let a = plane.zone("a").await;
    plane.joined(&a, "one").await;
    let (_, signer, sequence) = export(&plane, &a.id, None).await.unwrap();
    let plane = Plane::start_in(plane.stop().await, |_| {}).await;
    let (_, again, next) = export(&plane, &a.id, None).await.unwrap();
    assert_eq!((again, next), (signer, sequence + 1));
}
